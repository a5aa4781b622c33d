"""Masks stay with their boxes and pixels, whatever is done to a sample."""

from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sleuth.data.batches import to_batch
from sleuth.data.formats.segmentation import parse_segmentation
from sleuth.data.masks import CodedMasks
from sleuth.data.samples import Sample
from sleuth.data.transforms import Augmentation, Resize

sides = st.integers(2, 80)


def sample_of(size: tuple[int, int], places: list[tuple[float, float, float, float]]) -> Sample:
    """Ellipses with the tight boxes around them, and the first object's pixels white in the picture."""
    height, width = size
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    found = [
        ((rows / height - y) / (0.05 + high)) ** 2 + ((columns / width - x) / (0.05 + wide)) ** 2 < 1
        for x, y, wide, high in places
    ]
    found = [mask for mask in found if mask.any()]
    boxes = []
    for mask in found:
        down, along = mask.nonzero(as_tuple=True)
        boxes.append([int(along.min()), int(down.min()), int(along.max()) + 1, int(down.max()) + 1])
    masks = torch.stack(found) if found else torch.zeros(0, height, width, dtype=torch.bool)
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    if found:
        image[:, masks[0]] = 255
    return Sample(
        image=image,
        boxes_xyxy_px=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.arange(len(boxes)),
        name="ellipses",
        image_id=1,
        size_hw=size,
        masks=masks,
    )


@given(
    size=st.tuples(sides, sides),
    places=st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), max_size=4),
    scale=st.integers(8, 120),
    crop=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=80)
def test_masks_stay_within_their_boxes(size, places, scale, crop, seed):
    """Up to a pixel: each resize rounds masks to whole pixels, boxes not."""
    sample = sample_of(size, places)
    torch.manual_seed(seed)
    if crop:
        augmentation = Augmentation(scales=(), pre_scales=(scale,), crop_prob=1.0, crop_sizes=(scale // 2, scale))
    else:
        augmentation = Augmentation.for_scale(scale, crop_prob=0.0)
    moved = augmentation(sample)
    height, width = moved.image.shape[1:]
    assert moved.masks.shape == (len(moved.labels), height, width)
    assert moved.masks.dtype == torch.bool
    for box, mask in zip(moved.boxes_xyxy_px.tolist(), moved.masks, strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        around = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
        grown = [box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1]
        assert all(inner >= outer for inner, outer in zip(around[:2], grown[:2], strict=True))
        assert all(inner <= outer for inner, outer in zip(around[2:], grown[2:], strict=True))
    _, (target,) = to_batch([moved], multiple=16)
    assert target.masks is moved.masks


@given(
    size=st.tuples(sides, sides), places=st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), min_size=1, max_size=3)
)
@settings(deadline=None, max_examples=40)
def test_masks_move_with_their_pixels(size, places):
    sample = sample_of(size, places)
    cut = Augmentation(scales=(), pre_scales=(), crop_prob=1.0, crop_sizes=(3, 60))
    for seed in range(4):
        torch.manual_seed(seed)
        moved = cut(sample)
        white = moved.image[0] == 255
        first = (moved.labels == 0).nonzero().flatten()
        assert white.any() == bool(len(first))
        if len(first):
            assert torch.equal(moved.masks[first[0]], white)


@given(size=st.tuples(sides, sides), places=st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), max_size=3))
@settings(deadline=None, max_examples=40)
def test_masks_change_nothing_else(size, places):
    sample = sample_of(size, places)
    plain = Resize(33, 90)(replace(sample, masks=None))
    moved = Resize(33, 90)(sample)
    assert plain.masks is None
    assert torch.equal(plain.image, moved.image)
    assert torch.equal(plain.boxes_xyxy_px, moved.boxes_xyxy_px)
    assert torch.equal(plain.labels, moved.labels)


counts = st.one_of(
    st.text(max_size=12),
    st.text(alphabet=[chr(48 + digit) for digit in range(64)], max_size=12),
    st.lists(st.integers(-5, 150), max_size=6),
    st.lists(st.one_of(st.none(), st.floats(), st.integers(-(2**70), 2**70)), max_size=3),
)
points = st.lists(st.one_of(st.floats(), st.integers(-20, 40), st.text(max_size=1)), max_size=9)
shapes = st.one_of(
    st.fixed_dictionaries({}, optional={"size": st.tuples(st.just(5), st.just(7)).map(list), "counts": counts}),
    st.lists(st.one_of(points, st.integers(), st.none()), max_size=3),
    points,
    st.none(),
    st.booleans(),
)


@given(shape=shapes)
@settings(deadline=None, max_examples=400)
def test_whatever_a_segmentation_is_it_gives_a_mask_or_a_fault(shape):
    code, faults = parse_segmentation(shape, (5, 7))
    assert code is not None or faults
    if code is not None:
        masks = CodedMasks((code,), (5, 7))
        assert masks.decode().shape == (1, 5, 7)
        assert masks.packed().areas == (int(masks.decode().sum()),)
