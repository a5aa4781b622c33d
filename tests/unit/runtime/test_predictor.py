"""Pictures in, detections out: batches, order, thresholds."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import sleuth
from sleuth.data.scenes import SceneSource
from sleuth.errors import UserError
from sleuth.runtime.predictor import Predictor
from sleuth.runtime.sources import expand_sources, frames_of
from sleuth.tasks.detection import decode_detections, preprocess_images
from sleuth.weights.checkpoint import LoadedModel, save_model
from sleuth.weights.resolve import open_model

RNG = np.random.default_rng(4)
SIZES = ((40, 60), (60, 40), (40, 60), (33, 90), (40, 60), (60, 40), (50, 50))
PICTURES = [RNG.integers(0, 256, (*size_hw, 3), dtype=np.uint8) for size_hw in SIZES]


def test_answers_are_those_of_the_model(detector: Predictor):
    (found,) = detector.predict(PICTURES[0], threshold=0.0)
    image = torch.from_numpy(PICTURES[0]).movedim(-1, 0)
    with torch.no_grad():
        prediction = detector.model(preprocess_images([image], detector.preprocess))
    (raw,) = decode_detections(prediction, [(40, 60)])
    assert torch.equal(found.boxes_xyxy_px, raw.boxes_xyxy_px)
    assert torch.equal(found.scores, raw.scores)
    assert found.size_hw == (40, 60)
    known = {"cat": 17, "dog": 3, "owl": 90}
    assert found.category_ids == tuple(known[name] for name in found.names)
    assert found.names == tuple(detector.names[label] for label in found.labels.tolist())


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_order_and_answers_do_not_depend_on_batches(detector: Predictor, batch_size: int):
    alone = [detector.predict(picture, threshold=0.0)[0] for picture in PICTURES]
    together = detector.predict(PICTURES, threshold=0.0, batch_size=batch_size)
    assert [found.source for found in together] == [f"picture {number}" for number in range(len(PICTURES))]
    for one, other in zip(alone, together, strict=True):
        assert one.size_hw == other.size_hw
        if batch_size == 1:
            assert torch.equal(one.scores, other.scores)
            assert torch.equal(one.boxes_xyxy_px, other.boxes_xyxy_px)
        assert torch.allclose(one.scores, other.scores, atol=1e-6)
        assert torch.allclose(one.boxes_xyxy_px, other.boxes_xyxy_px, atol=1e-4)


def test_no_picture_is_ever_padded_and_batches_are_used(detector: Predictor, monkeypatch):
    seen = []
    forward = detector.model.forward

    def watched(images):
        seen.append(tuple(images.pixels.shape))
        assert bool(images.valid.all())
        return forward(images)

    monkeypatch.setattr(detector.model, "forward", watched)
    detector.predict(PICTURES, threshold=0.0, batch_size=3)
    assert sorted(shape[0] for shape in seen) == [1, 1, 2, 3]
    assert sum(shape[0] for shape in seen) == len(PICTURES)


def test_few_pictures_are_held_at_a_time(detector: Predictor):
    """A rare shape at the front does not keep all the others waiting."""
    read = []

    def frames():
        for number in range(40):
            read.append(number)
            yield from frames_of(expand_sources(PICTURES[3] if number == 0 else PICTURES[number % 2]))

    stream = detector.stream(frames(), 0.0, batch_size=2)
    next(stream)
    assert len(read) <= 12
    assert len(list(stream)) == 39


def test_thresholds(detector: Predictor):
    (every,) = detector.predict(PICTURES[0], threshold=0.0)
    assert len(every) == 8
    middle = float(every.scores[3])
    (some,) = detector.predict(PICTURES[0], threshold=middle)
    assert len(some) == 4, "a score equal to the threshold is reported"
    assert (some.scores.diff() <= 0).all()
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match="threshold"):
            detector.predict(PICTURES[0], threshold=wrong)
    with pytest.raises(UserError, match="batch size"):
        detector.predict(PICTURES[0], batch_size=0)


def test_answers_that_are_not_finite_are_left_out(loaded: LoadedModel, monkeypatch):
    detector = Predictor(loaded)
    head = detector.model.box_head

    def broken(states):
        boxes = type(head).forward(head, states).clone()
        boxes[..., 0, :] = torch.nan
        return boxes

    monkeypatch.setattr(head, "forward", broken)
    (found,) = detector.predict(PICTURES[0], threshold=0.0)
    assert len(found) == 7
    assert bool(found.boxes_xyxy_px.isfinite().all())


def test_half_precision_models_answer_in_float32(loaded: LoadedModel):
    half = Predictor(LoadedModel(deepcopy(loaded.model).to(torch.bfloat16), loaded.card))
    (found,) = half.predict(PICTURES[0], threshold=0.0)
    assert found.scores.dtype == found.boxes_xyxy_px.dtype == torch.float32


def test_a_line_of_pixels_is_a_picture_too(detector: Predictor):
    for size_hw in ((1, 1), (1, 500), (500, 1)):
        (found,) = detector.predict(np.zeros((*size_hw, 3), np.uint8), threshold=0.0)
        assert found.size_hw == size_hw
        assert len(found) == 8


def test_load_takes_a_name_a_file_or_a_run_folder(loaded: LoadedModel, tmp_path: Path):
    save_model(tmp_path / "best.safetensors", loaded.model, loaded.card)
    for where in (tmp_path / "best.safetensors", str(tmp_path / "best.safetensors"), tmp_path, str(tmp_path)):
        detector = sleuth.load(where, device="cpu")
        assert detector.names == ("cat", "dog", "owl")
        assert detector.category_ids == (17, 3, 90)
    assert repr(detector) == "<Predictor: detr, 3 classes, on cpu>"
    assert "circle" in sleuth.load("detr-scenes", device="cpu").names


def test_the_package_gives_what_the_readme_uses():
    assert set(sleuth.__all__) <= set(dir(sleuth))
    assert sleuth.Predictor is Predictor
    assert sleuth.UserError is UserError
    with pytest.raises(AttributeError, match="nothing"):
        _ = sleuth.nothing


def test_files_are_not_kept_in_memory_but_drawn_from_disk(detector: Predictor, tmp_path: Path):
    Image.fromarray(PICTURES[0]).save(tmp_path / "a.png")
    found = detector.predict([tmp_path / "a.png", PICTURES[0]], threshold=0.0)
    assert [each.pixels is None for each in found] == [True, False]
    assert np.array_equal(np.asarray(found[0].plot()), np.asarray(found[1].plot()))


def test_tiles_of_a_large_picture(detector: Predictor):
    """Every view's best answer is there; a picture no larger than a tile is answered as without tiles."""
    large = np.concatenate([PICTURES[0], PICTURES[2]], axis=1)
    (plain,) = detector.predict(large, threshold=0.0)
    (tiled,) = detector.predict(large, threshold=0.0, tile=(40, 60), tile_overlap=0.1, batch_size=2)
    assert len(tiled) > len(plain)
    assert tiled.queries is None, "a query of which view is not told"
    assert tiled.scores.max() >= plain.scores.max()
    assert bool((tiled.scores[:-1] >= tiled.scores[1:]).all())
    (whole,) = detector.predict(large, threshold=0.0, tile=120)
    assert torch.equal(whole.boxes_xyxy_px, plain.boxes_xyxy_px)
    assert torch.equal(whole.scores, plain.scores)


def test_masks_of_tiles(loaded_panoptic: LoadedModel):
    card = replace(loaded_panoptic.card, is_thing=(True,) * 4)
    detector = Predictor(LoadedModel(loaded_panoptic.model, card))
    large = np.random.default_rng(1).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    (plain,) = detector.predict(large, threshold=0.0, panoptic=False)
    (whole,) = detector.predict(large, threshold=0.0, tile=120)
    assert torch.equal(whole.masks, plain.masks)
    assert whole.segments is None
    (tiled,) = detector.predict(large, threshold=0.0, tile=(40, 60), tile_overlap=0.1, batch_size=2)
    assert len(tiled.masks) == len(tiled) > len(plain)
    assert tiled.masks.shape[1:] == (80, 120)
    assert int(tiled.masks.flatten(1).any(1).sum()) > len(plain)
    (boxes,) = detector.predict(large, threshold=0.0, tile=(40, 60), tile_overlap=0.1, masks=False)
    assert boxes.packed_masks is None
    assert torch.allclose(boxes.scores, tiled.scores, atol=1e-5)
    with pytest.raises(UserError, match="not panoptic maps"):
        detector.predict(large, tile=64, panoptic=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [({"tile": 20}, "tiles of 20 pixels"), ({"tile": 64, "tile_overlap": 0.95}, "overlap of 0.95")],
)
def test_tiles_that_make_no_sense(detector: Predictor, words, said: str):
    with pytest.raises(UserError, match=said):
        detector.predict(PICTURES[0], **words)


def test_norms_are_folded_while_it_looks_and_only_then(tmp_path: Path):
    loaded = open_model("sleuth-scenes")
    plain, detector = deepcopy(loaded.model), Predictor(loaded)
    scene = SceneSource("test", 1).load(0)
    computed = []
    for norm in detector.model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.register_forward_hook(lambda norm, given, made: computed.append(made is not given[0]))
    (found,) = detector.predict(scene.image, threshold=0.05)
    assert computed
    assert not any(computed)
    with torch.inference_mode():
        prediction = plain(preprocess_images([scene.image], detector.preprocess))
    (raw,) = decode_detections(prediction, [scene.size_hw], threshold=0.05)
    torch.testing.assert_close(found.scores, raw.scores, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.boxes_xyxy_px, raw.boxes_xyxy_px, atol=1e-4 * 128, rtol=0)
    # What is saved afterwards is the model as it was.
    save_model(tmp_path / "same.safetensors", detector.model, detector.card)
    again = open_model(tmp_path / "same.safetensors").model.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in plain.state_dict().items())
