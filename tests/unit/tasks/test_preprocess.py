"""How pictures become input: sizes, scales and padding."""

import pytest
import torch

from sleuth.errors import UserError
from sleuth.tasks.preprocess import Preprocess, middle_of, normalise_and_pad, preprocess_images

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


@pytest.mark.parametrize(
    ("options", "size_hw", "expected"),
    [
        ({"resize": "none"}, (7, 9), (7, 9)),
        ({"resize": "exact", "size_hw": (30, 50)}, (7, 9), (30, 50)),
        ({"resize": "within", "size_hw": (30, 50)}, (60, 200), (15, 50)),
        ({"resize": "within", "size_hw": (30, 50)}, (3, 4), (30, 40)),
        ({"resize": "within", "size_hw": (30, 50)}, (1, 4000), (1, 50)),
        ({"rounding": "original"}, (300, 1000), (400, 1333)),
        ({"rounding": "huggingface"}, (300, 1000), (400, 1333)),
        ({"rounding": "original"}, (103, 1000), (137, 1330)),
        ({"rounding": "huggingface"}, (103, 1000), (137, 1333)),
        ({"rounding": "huggingface"}, (1000, 103), (1333, 137)),
    ],
)
def test_sizes_by_every_rule(options: dict, size_hw: tuple[int, int], expected: tuple[int, int]) -> None:
    assert Preprocess(**options).size_for(size_hw) == expected


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size_hw": (0, 5), "resize": "exact"}, "at least 1"),
        ({"pad_hw": (5, 0)}, "at least 1"),
        ({"rescale": 0.0}, "rescale"),
        ({"rescale": float("nan")}, "rescale"),
        ({"resize": "exact"}, "size_hw"),
        ({"resize": "sometimes"}, "sometimes"),
        ({"resample": "box"}, "box"),
        ({"rounding": "up"}, "up"),
    ],
)
def test_what_prepares_no_picture_is_refused(options: dict, told: str) -> None:
    with pytest.raises(Exception, match=told):
        Preprocess(**options)


def test_pixels_are_rescaled_as_told() -> None:
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 3).expand(3, 1, 3)
    assert normalise_and_pad([image], rescale=1 / 51, normalise=False).pixels[0, 0, 0].tolist() == [0, 1, 5]
    assert normalise_and_pad([image], rescale=1.0, **PLAIN).pixels[0, 0, 0].tolist() == [0, 51, 255]


def test_every_picture_is_padded_to_one_size() -> None:
    preprocess = Preprocess(resize="none", pad_hw=(6, 8), **PLAIN)
    batch = preprocess_images([torch.full((3, 4, 5), 255, dtype=torch.uint8)], preprocess)
    assert batch.pixels.shape == (1, 3, 6, 8)
    assert batch.valid.sum() == 20
    assert torch.equal(batch.pixels[0, 0] == 1, batch.valid[0])
    with pytest.raises(UserError, match="7x5 does not fit into the 6x8"):
        preprocess_images([torch.zeros(3, 7, 5, dtype=torch.uint8)], preprocess)


def test_filters_differ() -> None:
    image = torch.randint(0, 256, (3, 9, 9), dtype=torch.uint8)
    seen = [
        preprocess_images([image], Preprocess(resize="exact", size_hw=(5, 5), resample=name)).pixels
        for name in ("nearest", "bilinear", "bicubic", "lanczos")
    ]
    assert all(not torch.equal(one, two) for place, one in enumerate(seen) for two in seen[:place])


def test_covering_keeps_the_shape_and_leaves_no_gap() -> None:
    preprocess = Preprocess(resize="cover", size_hw=(60, 80))
    assert preprocess.size_for((120, 120)) == (80, 80)
    assert preprocess.size_for((30, 90)) == (60, 180)
    with pytest.raises(ValueError, match="size_hw"):
        Preprocess(resize="cover")


def test_where_the_middle_begins() -> None:
    image = torch.arange(3 * 7 * 8, dtype=torch.uint8).reshape(3, 7, 8)
    assert torch.equal(middle_of(image, (4, 4), "original"), image[:, 2:6, 2:6])
    assert torch.equal(middle_of(image, (4, 4), "huggingface"), image[:, 1:5, 2:6])
    assert torch.equal(middle_of(image[:, :1, :4], (4, 2), "huggingface")[:, 1], image[:, 0, 1:3])


def test_the_middle_is_cut_out() -> None:
    image = torch.arange(3 * 6 * 8, dtype=torch.uint8).reshape(3, 6, 8)
    preprocess = Preprocess(resize="none", crop_hw=(2, 4), rescale=1.0, **PLAIN)
    found = preprocess_images([image], preprocess)
    assert torch.equal(found.pixels[0], image[:, 2:4, 2:6].float())
    assert bool(found.valid.all())
    # A picture smaller than that is filled up with black.
    small = preprocess_images([image[:, :1, :1]], preprocess).pixels[0]
    assert small.shape == (3, 2, 4)
    assert int((small != 0).sum()) <= 3
