"""Mosaic, mixup, copy-paste, framing and colours: objects lie where their pixels are."""

from dataclasses import replace

import pytest
import torch

from sleuth.data.colour import ColourJitter, colour_matrix
from sleuth.data.copy_paste import CopyPaste
from sleuth.data.framing import Framing, window_around
from sleuth.data.mosaic import Mosaic, mixup
from sleuth.data.moves import GREY, Orientation, Window, cut
from sleuth.data.samples import Sample
from sleuth.data.transforms import Augmentation
from sleuth.errors import UserError


def painted(size_hw=(60, 80), boxes=((10, 20, 30, 40), (50, 5, 70, 25)), colour=255, masks=False) -> Sample:
    """A black picture with a rectangle of one colour under each box."""
    image = torch.zeros(3, *size_hw, dtype=torch.uint8)
    found = torch.zeros(len(boxes), *size_hw, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(found, boxes, strict=True):
        image[:, top:bottom, left:right] = colour
        mask[top:bottom, left:right] = True
    return Sample(
        image=image,
        boxes_xyxy_px=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.arange(len(boxes)),
        name="painted",
        image_id=1,
        size_hw=size_hw,
        masks=found if masks else None,
    )


def assert_boxes_on_pixels(sample: Sample, colour: int = 255) -> None:
    """Inside a box only its colour, outside all of them none of it."""
    outside = torch.ones(sample.image.shape[1:], dtype=torch.bool)
    for left, top, right, bottom in sample.boxes_xyxy_px.tolist():
        inner = sample.image[0, int(top) + 4 : max(0, int(bottom) - 3), int(left) + 4 : max(0, int(right) - 3)]
        assert (inner.int() - colour).abs().amax() < 5 if inner.numel() else True
        outside[max(0, int(top) - 3) : int(bottom) + 4, max(0, int(left) - 3) : int(right) + 4] = False
    rest = sample.image[0][outside].int()
    # What is left of an object that was cut away nearly whole may lie at the border: no more than 0.15 of one.
    assert ((rest - colour).abs() < 5).sum() < 180


def upright() -> Orientation:
    return Orientation()


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize(("left_right", "up_down"), [(False, False), (True, False), (False, True), (True, True)])
def test_every_orientation_takes_boxes_along(left_right, up_down, quarters):
    orientation = Orientation(left_right, up_down, quarters)
    sample = painted(masks=True)
    lain = orientation.of(sample)
    assert lain.image.shape[1:] == orientation.hw((60, 80))
    for box, mask in zip(lain.boxes_xyxy_px.int().tolist(), lain.masks, strict=True):
        left, top, right, bottom = box
        assert (lain.image[:, top:bottom, left:right] == 255).all()
        assert mask[top:bottom, left:right].all()
        assert mask.sum() == (right - left) * (bottom - top)


def test_all_orientations_are_drawn():
    drawn = {Orientation.draw(True, True, True) for _ in range(300)}
    assert len(drawn) == 16
    assert {Orientation.draw(False, False, False) for _ in range(20)} == {Orientation()}


def test_a_cut_drops_remains_and_keeps_what_is_whole():
    boxes = ((0, 0, 20, 20), (18, 0, 40, 20), (30, 30, 31, 31), (59, 40, 79, 60))
    part = cut(painted(boxes=boxes), Window(0, 19, 60, 41), (60, 41), 0.15)
    # The first keeps one column of 20; the last one column of 20; a whole one is kept, however small.
    assert part.labels.tolist() == [1, 2]
    assert part.boxes_xyxy_px.tolist() == [[0, 0, 21, 20], [11, 30, 12, 31]]
    assert cut(painted(boxes=boxes), Window(0, 0, 60, 80), (6, 8), 0.15).labels.tolist() == [0, 1, 2, 3]


def test_a_mosaic_has_the_objects_of_four():
    samples = [painted(colour=255) for _ in range(4)]
    for seed in range(30):
        torch.manual_seed(seed)
        made = Mosaic(scale=(0.4, 1.0))(samples, (60, 80), upright)
        assert made.image.shape == (3, 60, 80)
        assert_boxes_on_pixels(made)
    whole = Mosaic(scale=(0.25, 0.25))(samples, (60, 80), upright)
    assert whole.labels.tolist() == [0, 1] * 4
    assert (whole.image == GREY).any()


def test_a_mosaic_carries_masks():
    samples = [painted(masks=True), painted((40, 40), ((3, 3, 30, 20),), masks=True), painted(boxes=(), masks=True)]
    torch.manual_seed(1)
    made = Mosaic()([*samples, samples[0]], (64, 64), lambda: Orientation.draw(True, True, True))
    assert made.masks.shape == (len(made.labels), 64, 64)
    for mask in made.masks:
        assert (made.image[0][mask].float().mean()) > 180


def test_mixup_lays_two_pictures_over_each_other():
    one, other = painted(), painted((90, 50), ((5, 60, 20, 80),), colour=255)
    made = mixup(one, other)
    assert made.image.shape == (3, 90, 80)
    assert made.labels.tolist() == [0, 1, 0]
    assert made.boxes_xyxy_px.tolist()[2] == [5, 60, 20, 80]
    assert 40 < int(made.image[0, 30, 60]) < 75  # black of the first, the grey canvas of the second
    assert 160 < int(made.image[0, 70, 10]) < 215


def test_pasted_objects_lie_in_free_places():
    paste = CopyPaste(objects=4)
    counts = set()
    for seed in range(30):
        torch.manual_seed(seed)
        made = paste(painted(boxes=((0, 0, 40, 60),)), painted(boxes=((10, 10, 22, 20), (40, 30, 50, 44))), 1.0)
        counts.add(len(made.labels))
        assert made.boxes_xyxy_px[0].tolist() == [0, 0, 40, 60]
        for left, top, right, bottom in made.boxes_xyxy_px[1:].tolist():
            assert left > 35
            middle = made.image[0, (int(top) + int(bottom)) // 2, (int(left) + int(right)) // 2]
            assert middle > 240
            assert right <= 80
            assert bottom <= 60
    assert counts >= {2, 3}


def test_nothing_is_pasted_from_an_empty_picture_or_into_a_full_one():
    sample = painted()
    assert CopyPaste()(sample, painted(boxes=()), 1.0) is sample
    full = painted(boxes=((0, 0, 80, 60),))
    assert len(CopyPaste()(full, painted(), 1.0).labels) == 1
    assert len(CopyPaste()(painted(), painted((300, 300), ((0, 0, 300, 300),)), 1.0).labels) == 2


def test_a_pasted_mask_hides_what_is_below():
    below = painted((40, 40), ((0, 0, 40, 40),), colour=100, masks=True)
    above = painted((40, 40), ((0, 0, 16, 40),), masks=True)
    torch.manual_seed(0)
    made = CopyPaste(objects=1, overlap=1.0)(below, above, 0.8)
    assert made.labels.tolist() == [0, 0]
    assert not (made.masks[0] & made.masks[1]).any()
    assert torch.equal(made.image[0] == 255, made.masks[1])
    assert below.masks.all()


@pytest.mark.parametrize("scale_jitter", [(0.3, 0.3), (1.7, 1.7), (0.5, 2.0)])
def test_framing_keeps_boxes_on_their_pixels(scale_jitter):
    framing = Framing(scale_jitter=scale_jitter, safe_crop=0.5, zoom_out=0.3)
    for seed in range(40):
        torch.manual_seed(seed)
        sample = painted()
        made = framing.take(sample, framing.part(sample), (60, 80))
        assert made.image.shape == (3, 60, 80)
        assert_boxes_on_pixels(made)
        assert len(made.labels) > 0


def test_a_window_holds_its_box_even_at_the_border():
    for seed in range(50):
        torch.manual_seed(seed)
        window = window_around(torch.tensor([70.5, 0.0, 80.0, 11.2]), (5, 20), (60, 80))
        assert window.left <= 70
        assert window.left + window.width == 80
        assert (window.top, window.height) == (0, 12)


def test_a_colour_matrix_leaves_greys_alone():
    for saturation, hue in ((0.0, 0.3), (1.7, 0.5), (1.0, -0.2)):
        assert torch.allclose(colour_matrix(saturation, hue).sum(1), torch.ones(3), atol=1e-5)
    # Half a turn makes the opposite colour: red becomes cyan, of the same brightness.
    opposite = colour_matrix(1.0, 0.5) @ torch.tensor([1.0, 0.0, 0.0])
    assert opposite[1] > opposite[0]
    assert opposite[2] > opposite[0]
    assert float(torch.tensor([0.299, 0.587, 0.114]) @ opposite) == pytest.approx(0.299, abs=1e-5)
    assert torch.allclose(colour_matrix(0.0, 0.0) @ torch.tensor([1.0, 0.0, 0.0]), torch.full((3,), 0.299), atol=1e-4)


def test_colours_change_within_their_strength():
    image = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    values = {int(ColourJitter(brightness=0.3)(image)[0, 0, 0]) for _ in range(100)}
    assert 69 <= min(values) < 80
    assert 120 < max(values) <= 131
    assert int(ColourJitter(contrast=0.9)(image)[0, 0, 0]) == 100
    assert torch.equal(ColourJitter(hue=0.5, saturation=1.0)(image), image)
    assert not ColourJitter()


def test_the_size_of_a_batch_is_drawn_from_its_seed_alone():
    augmentation = Augmentation.fitted((256, 320), multi_scale=(0.5, 1.5), stretch=True)
    sizes = {augmentation.padded_hw(seed) for seed in range(200)}
    assert (256, 320) in sizes
    assert all(height % 32 == 0 and width % 32 == 0 and 128 <= height <= 384 for height, width in sizes)
    assert len(sizes) == 9
    for seed in range(5):
        torch.manual_seed(seed)
        assert augmentation.compose(painted(), painted, 7).image.shape[1:] == augmentation.padded_hw(7)


def test_closing_leaves_the_paper_s_own_changes():
    augmentation = Augmentation.fitted(
        (64, 64), mosaic=1.0, mixup=1.0, copy_paste=1.0, zoom_out=1.0, safe_crop=1.0, hue=0.1, brightness=0.2,
        scale_jitter=(0.5, 2.0), multi_scale=(0.5, 1.5), turn=True, color_jitter=0.1,
    )  # fmt: skip
    assert augmentation.closed() == Augmentation.fitted((64, 64), turn=True, color_jitter=0.1)
    assert Augmentation().closed() == Augmentation()


def test_a_picture_alone_is_its_own_company():
    augmentation = Augmentation.fitted((64, 64), mosaic=1.0, mixup=1.0, copy_paste=1.0)
    assert len(augmentation(painted()).labels) > 0
    assert augmentation(painted(boxes=())).boxes_xyxy_px.shape == (0, 4)


def test_mosaics_of_the_paper_s_sizes():
    augmentation = replace(Augmentation.for_scale(64), mosaic=1.0, mosaic_scale=(0.3, 0.5))
    heights = set()
    for seed in range(20):
        torch.manual_seed(seed)
        made = augmentation(painted())
        heights.add(made.image.shape[1])
        assert_boxes_on_pixels(made)
    assert len(heights) > 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mosaic": 1.5}, "mosaic is 1.5"),
        ({"hue": 0.6}, "hue is 0.6"),
        ({"mosaic_scale": (1.0, 0.5)}, "mosaic_scale is 1 to 0.5"),
        ({"scale_jitter": (0.0, 0.5)}, "scale_jitter is 0 to 0.5"),
        ({"fit": (64, 64)}, "both fit and scales"),
        ({"stretch": True}, "change fit, which is not given"),
        ({"fit": (0, 64), "scales": ()}, "at least 1 pixel"),
        ({"safe_crop_least": 0.0}, "a part of no size"),
    ],
)
def test_wrong_numbers_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        Augmentation(**changes)


def test_detail_that_training_never_shows_is_known():
    assert Augmentation().longest_needed() is None
    assert Augmentation.fitted((240, 320)).longest_needed() == 320
    assert Augmentation.fitted((240, 320), multi_scale=(0.5, 1.5)).longest_needed() == 480
    assert Augmentation.fitted((240, 320), mosaic=1.0, mosaic_scale=(0.5, 1.2)).longest_needed() == 384
    assert Augmentation.fitted((240, 320), safe_crop=1.0, scale_jitter=(0.5, 1.5)).longest_needed() == 960
