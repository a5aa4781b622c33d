"""Augmentation moves boxes with the pixels under them, at the paper's sizes or any other."""

import doctest
from dataclasses import replace

import pytest
import torch

from sleuth.data import transforms
from sleuth.data.samples import Sample
from sleuth.data.transforms import Augmentation, Resize, resized_hw
from sleuth.errors import UserError


def painted(size_hw=(60, 80), boxes=((10, 20, 30, 40), (50, 5, 70, 25))) -> Sample:
    """A black picture with a white rectangle under each box."""
    image = torch.zeros(3, *size_hw, dtype=torch.uint8)
    for left, top, right, bottom in boxes:
        image[:, top:bottom, left:right] = 255
    return Sample(
        image=image,
        boxes_xyxy_px=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.arange(len(boxes)),
        name="painted",
        image_id=1,
        size_hw=size_hw,
    )


def test_the_paper_numbers():
    paper = Augmentation.for_scale(800)
    assert paper == Augmentation()
    assert paper.scales == (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    assert (paper.longest, paper.crop_sizes, paper.pre_scales, paper.crop_prob) == (
        1333, (384, 600), (400, 500, 600), 0.5,
    )  # fmt: skip


def test_other_scales_are_in_proportion():
    half = Augmentation.for_scale(400, color_jitter=0.1)
    assert half.scales[0] == 240
    assert half.scales[-1] == 400
    assert half.crop_sizes == (192, 300)
    assert half.color_jitter == 0.1


@pytest.mark.parametrize(
    ("size_hw", "shortest", "longest", "expected"),
    [
        ((480, 640), 800, 1333, (800, 1066)),
        ((640, 480), 800, 1333, (1066, 800)),
        ((400, 1000), 800, 1333, (533, 1332)),
        ((375, 500), 800, 1333, (800, 1066)),
        ((800, 900), 800, 1333, (800, 900)),
        ((64, 64), 64, 64, (64, 64)),
        ((10, 3000), 800, None, (800, 240000)),
    ],
)
def test_resized_size_is_the_original_implementation_s(size_hw, shortest, longest, expected):
    assert resized_hw(size_hw, shortest, longest) == expected


def test_boxes_stay_on_their_pixels():
    augmentation = Augmentation.for_scale(100)
    for seed in range(60):
        torch.manual_seed(seed)
        result = augmentation(painted())
        height, width = result.image.shape[1:]
        assert max(height, width) <= augmentation.longest
        assert len(result.labels) == len(result.boxes_xyxy_px)
        covered = torch.zeros(height, width, dtype=torch.bool)
        for left, top, right, bottom in result.boxes_xyxy_px.tolist():
            assert 0 <= left < right <= width + 1e-4
            assert 0 <= top < bottom <= height + 1e-4
            inner = result.image[0, int(top) + 3 : int(bottom) - 2, int(left) + 3 : int(right) - 2]
            assert (inner > 250).all()
            covered[max(0, int(top) - 2) : int(bottom) + 3, max(0, int(left) - 2) : int(right) + 3] = True
        assert (result.image[0][~covered] < 5).all()
        assert result.size_hw == (60, 80)


def test_flip_mirrors():
    flipped = None
    for seed in range(20):
        torch.manual_seed(seed)
        result = Augmentation.flip_only()(painted())
        if not torch.equal(result.image, painted().image):
            flipped = result
    assert flipped is not None
    assert flipped.boxes_xyxy_px.tolist() == [[50, 20, 70, 40], [10, 5, 30, 25]]


def test_right_size_is_served_untouched():
    sample = painted()
    assert Augmentation.flip_only(flip=False)(sample) is sample
    assert Resize(60, 80)(sample) is sample
    assert Augmentation(scales=(60,), longest=None, crop_prob=0.0, flip=False)(sample) is sample


def test_objects_without_a_pixel_left_are_dropped():
    masks = torch.zeros(2, 60, 80, dtype=torch.bool)
    masks[0, 20:40, 10:30] = True
    masks[1, 7, 51] = True  # nearest to half the size takes the even rows and columns
    sample = replace(painted(), masks=masks)
    smaller = Augmentation(scales=(30,), longest=None, crop_prob=0.0, flip=False)(sample)
    assert smaller.labels.tolist() == [0]
    assert smaller.boxes_xyxy_px.tolist() == [[5, 10, 15, 20]]
    assert smaller.masks.nonzero().amin(0).tolist() == [0, 10, 5]
    assert smaller.masks.nonzero().amax(0).tolist() == [0, 19, 14]
    # Evaluation keeps every object: they are counted there.
    assert Resize(30, None)(sample).labels.tolist() == [0, 1]


def test_masks_are_resized_as_the_original_does():
    masks = torch.rand(3, 37, 53) > 0.5
    sample = replace(painted((37, 53), [(1, 1, 9, 9)] * 3), masks=masks)
    for size in (20, 37, 64, 81):
        moved = Resize(size, None)(sample)
        height, width = moved.image.shape[1:]
        expected = torch.nn.functional.interpolate(masks[:, None].float(), (height, width), mode="nearest")[:, 0] > 0.5
        assert torch.equal(moved.masks, expected)


def test_crop_removes_what_it_cuts_off_with_its_label():
    crop = Augmentation(scales=(), pre_scales=(), crop_prob=1.0, crop_sizes=(20, 20), flip=False)
    counts = set()
    for seed in range(40):
        torch.manual_seed(seed)
        result = crop(painted())
        assert result.image.shape == (3, 20, 20)
        counts.add(len(result.labels))
        assert len(result.labels) == len(result.boxes_xyxy_px)
        for label in result.labels.tolist():
            assert label in (0, 1)
    assert counts >= {0, 1}


def test_a_crop_is_never_larger_than_the_picture():
    torch.manual_seed(0)
    crop = Augmentation(scales=(), pre_scales=(), crop_prob=1.0, crop_sizes=(384, 600), flip=False)
    assert crop(painted()).image.shape == (3, 60, 80)


def test_pictures_without_objects_pass():
    for seed in range(10):
        torch.manual_seed(seed)
        result = Augmentation.for_scale(64)(painted(boxes=()))
        assert result.boxes_xyxy_px.shape == (0, 4)


def test_color_jitter_changes_pixels_only():
    torch.manual_seed(0)
    sample = painted()
    grey = Sample(**{**vars(sample), "image": torch.full_like(sample.image, 100)})
    result = Augmentation(scales=(), crop_prob=0.0, flip=False, color_jitter=0.5)(grey)
    assert not torch.equal(result.image, grey.image)
    assert torch.equal(result.boxes_xyxy_px, grey.boxes_xyxy_px)


def test_draws_are_a_function_of_the_global_seed():
    augmentation = Augmentation.for_scale(100, color_jitter=0.2)
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(augmentation(painted()))
    assert torch.equal(results[0].image, results[1].image)


@pytest.mark.parametrize(
    "wrong", [{"scales": (0,)}, {"crop_sizes": (10, 5)}, {"crop_prob": 1.5}, {"color_jitter": -1.0}, {"longest": 0}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UserError, match="augmentation"):
        Augmentation(**wrong)


def test_examples():
    assert doctest.testmod(transforms).failed == 0
