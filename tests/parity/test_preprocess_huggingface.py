"""Sizes and pixels equal those of Hugging Face's image processor of DETR."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import DetrImageProcessor
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.image_utils import get_image_size_for_max_height_width

from sleuth.errors import UserError
from sleuth.tasks.preprocess import Preprocess, preprocess_images
from sleuth.weights.checkpoint import preprocess_from
from sleuth.weights.processors import read_processor, write_processor

SIDES = st.integers(1, 4000)
SHAPES = [(48, 64), (64, 48), (50, 50), (3, 2), (31, 120), (120, 13)]

CONFIGS = {
    "published": {"size": {"shortest_edge": 800, "longest_edge": 1333}},
    "limited": {"size": {"shortest_edge": 60, "longest_edge": 90}},
    "old style": {"size": 50, "max_size": 70, "feature_extractor_type": "DetrFeatureExtractor"},
    "fixed": {"size": {"height": 40, "width": 56}},
    "within": {"size": {"max_height": 40, "max_width": 56}},
    "as they are": {"do_resize": False},
    "nearest": {"size": {"shortest_edge": 37, "longest_edge": 99}, "resample": 0},
    "bicubic": {"size": {"shortest_edge": 37, "longest_edge": 99}, "resample": 3},
    "lanczos": {"size": {"shortest_edge": 37, "longest_edge": 99}, "resample": 1},
    "other colours": {"do_resize": False, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.1, 0.2, 0.3]},
    "other scale": {"do_resize": False, "rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
    "not normalised": {"do_resize": False, "do_normalize": False},
    "not rescaled": {"do_resize": False, "do_rescale": False, "image_mean": [99.0] * 3, "image_std": [50.0] * 3},
    "padded": {"size": {"shortest_edge": 37, "longest_edge": 60}, "pad_size": {"height": 64, "width": 72}},
}


def noise(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def as_tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


@settings(max_examples=400, deadline=None)
@given(SIDES, SIDES, st.integers(1, 1000), st.integers(1, 1500))
@example(103, 1000, 800, 1333)
@example(1333, 800, 800, 1333)
@example(3000, 1750, 800, 1333)
def test_sizes_are_theirs(height: int, width: int, shortest: int, longest: int) -> None:
    theirs = get_size_with_aspect_ratio((height, width), shortest, longest)
    ours = Preprocess(shortest=shortest, longest=longest, rounding="huggingface").size_for((height, width))
    if min(theirs) >= 1:  # they make no picture at all of a line thinner than a pixel
        assert ours == theirs
    assert min(ours) >= 1


@settings(max_examples=200, deadline=None)
@given(SIDES, SIDES, st.integers(1, 1500), st.integers(1, 1500))
def test_sizes_within_bounds_are_theirs(height: int, width: int, max_height: int, max_width: int) -> None:
    theirs = get_image_size_for_max_height_width((height, width), max_height, max_width)
    ours = Preprocess(resize="within", size_hw=(max_height, max_width)).size_for((height, width))
    assert ours == tuple(max(1, side) for side in theirs)


def test_the_originals_rounding_is_another() -> None:
    """Where the limit binds, the original rounds the shorter side first."""
    seen = {(h, w) for h in range(100, 200, 3) for w in range(1000, 1100, 7)}
    original, theirs = Preprocess(), Preprocess(rounding="huggingface")
    differ = [size for size in seen if original.size_for(size) != theirs.size_for(size)]
    assert differ
    assert all(original.size_for(size)[0] == theirs.size_for(size)[0] for size in seen)
    assert all(abs(original.size_for(size)[1] - theirs.size_for(size)[1]) <= 7 for size in seen)


@pytest.mark.parametrize("name", CONFIGS)
def test_pixels_are_theirs(name: str) -> None:
    theirs = DetrImageProcessor(**CONFIGS[name])
    ours = read_processor(CONFIGS[name])
    for shape in SHAPES[:2] if name == "published" else SHAPES:
        picture = noise(*shape)
        expected = theirs(picture, return_tensors="pt")
        batch = preprocess_images([as_tensor(picture)], ours)
        assert torch.equal(batch.valid, expected["pixel_mask"].bool())
        torch.testing.assert_close(batch.pixels, expected["pixel_values"].float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["limited", "as they are", "padded", "not normalised"])
def test_a_padded_batch_is_theirs(name: str) -> None:
    shapes = [(48, 64), (64, 48), (50, 50)]
    expected = DetrImageProcessor(**CONFIGS[name])([noise(*shape) for shape in shapes], return_tensors="pt")
    batch = preprocess_images([as_tensor(noise(*shape)) for shape in shapes], read_processor(CONFIGS[name]))
    assert torch.equal(batch.valid, expected["pixel_mask"].bool())
    torch.testing.assert_close(batch.pixels, expected["pixel_values"].float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_survive_both_ways(name: str, tmp_path) -> None:
    ours = read_processor(CONFIGS[name])
    assert read_processor(write_processor(ours)) == ours
    DetrImageProcessor(**write_processor(ours)).save_pretrained(tmp_path)
    again = DetrImageProcessor.from_pretrained(tmp_path)
    assert read_processor(again.to_dict()) == ours
    picture = noise(31, 120)
    torch.testing.assert_close(
        again(picture, return_tensors="pt")["pixel_values"].float(),
        preprocess_images([as_tensor(picture)], ours).pixels,
        rtol=0,
        atol=1e-6,
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_cards_keep_them(name: str) -> None:
    import json
    from dataclasses import asdict

    ours = read_processor(CONFIGS[name])
    assert preprocess_from(json.loads(json.dumps(asdict(ours)))) == ours


def test_cards_from_before_still_load() -> None:
    old = {"shortest": 128, "longest": 256, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    assert preprocess_from(old) == Preprocess(shortest=128, longest=256, mean=(0.5,) * 3, std=(0.2,) * 3)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"image_processor_type": "YolosImageProcessor"}, "YolosImageProcessor"),
        ({"do_somersault": True}, "do_somersault"),
        ({"resample": 4}, "box"),
        ({"size": {"longest_edge": 1333}}, "longest_edge"),
        ({"size": {"height": 3}}, "height"),
        ({"size": {"shortest_edge": 0, "longest_edge": 5}}, "at least 1"),
        ({"image_std": [0.0, 1.0, 1.0]}, "std"),
        ({"image_mean": ["red", 1.0, 1.0]}, "red"),
        ({"pad_size": {"height": 3}}, "width"),
    ],
)
def test_what_cannot_be_honoured_is_refused(values: dict, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        read_processor(values, "there/preprocessor_config.json")
    assert "there/preprocessor_config.json" in caught.value.line()
