"""Whatever is asked of an augmentation, boxes stay inside the picture and with their labels, pixels and masks."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sleuth.data.samples import Sample
from sleuth.data.transforms import Augmentation

sides = st.integers(4, 70)
shares = st.sampled_from([0.0, 0.5, 1.0])
ranges = st.tuples(st.floats(0.3, 1.0), st.floats(1.0, 2.0))
keys = st.fixed_dictionaries(
    {
        "fit": st.tuples(st.integers(2, 60), st.integers(2, 60)),
        "stretch": st.booleans(),
        "crop_prob": shares,
        "crop_sizes": st.just((10, 40)),
        "pre_scales": st.sampled_from([(), (20, 30)]),
        "flip_vertical": st.booleans(),
        "turn": st.booleans(),
        "multi_scale": st.sampled_from([(1.0, 1.0), (0.5, 2.0)]),
        "safe_crop": shares,
        "scale_jitter": ranges,
        "zoom_out": shares,
        "zoom_out_most": st.floats(1.0, 4.0),
        "mosaic": shares,
        "mosaic_scale": st.sampled_from([(0.2, 0.5), (0.4, 1.0), (1.0, 3.0)]),
        "mixup": shares,
        "copy_paste": shares,
        "brightness": shares,
        "hue": st.sampled_from([0.0, 0.5]),
    }
)


# As plain values: samples and augmentations are made in the tests, where shapes are checked.
pictures = st.tuples(
    st.tuples(sides, sides), st.integers(0, 9), st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=5)
)


def picture(values, masks: bool = False) -> Sample:
    """Boxes in whole pixels on one colour; a mask is its box. The label tells the picture, by its hundreds."""
    (height, width), number, places = values
    boxes = []
    for x, y, wide, high in places:
        left, top = int(x * (width - 1)), int(y * (height - 1))
        boxes.append([left, top, left + 1 + int(wide * (width - left - 1)), top + 1 + int(high * (height - top - 1))])
    found = None
    if masks:
        found = torch.zeros(len(boxes), height, width, dtype=torch.bool)
        for mask, (left, top, right, bottom) in zip(found, boxes, strict=True):
            mask[top:bottom, left:right] = True
    return Sample(
        image=torch.full((3, height, width), 20 * number, dtype=torch.uint8),
        boxes_xyxy_px=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.arange(len(boxes)) + 100 * number,
        name=f"picture {number}",
        image_id=number,
        size_hw=(height, width),
        masks=found,
    )


def changed(augmentation: Augmentation, samples: list[Sample], seed: int) -> Sample:
    torch.manual_seed(seed)
    return augmentation.compose(samples[0], lambda: samples[int(torch.randint(0, len(samples), ()))], seed)


@given(values=keys, several=st.lists(pictures, min_size=1, max_size=4), seed=st.integers(0, 2**31))
@settings(max_examples=60)
def test_boxes_stay_inside_and_with_their_labels(values, several, seed):
    augmentation, samples = Augmentation.fitted(**values), [picture(each) for each in several]
    before = [(sample.image.clone(), sample.boxes_xyxy_px.clone()) for sample in samples]
    made = changed(augmentation, samples, seed)
    height, width = made.image.shape[1:]
    limit = augmentation.padded_hw(seed)
    assert height <= limit[0]
    assert width <= limit[1]
    if augmentation.stretch and not augmentation.several:
        assert (height, width) == limit
    boxes = made.boxes_xyxy_px
    assert len(boxes) == len(made.labels)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= torch.tensor([width, height]) + 1e-3).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    known = torch.cat([sample.labels for sample in samples])
    assert torch.isin(made.labels, known).all()
    assert (made.name, made.image_id, made.size_hw) == (samples[0].name, samples[0].image_id, samples[0].size_hw)
    again = changed(augmentation, samples, seed)
    assert torch.equal(again.image, made.image)
    assert torch.equal(again.boxes_xyxy_px, made.boxes_xyxy_px)
    # Samples may be lent from a cache: nobody writes into them.
    for sample, (image, their_boxes) in zip(samples, before, strict=True):
        assert torch.equal(sample.image, image)
        assert torch.equal(sample.boxes_xyxy_px, their_boxes)


@given(values=keys, several=st.lists(pictures, min_size=1, max_size=3), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_masks_stay_in_step_with_boxes(values, several, seed):
    """Up to a pixel: each resize rounds masks to whole pixels, boxes not."""
    augmentation, samples = (
        Augmentation.fitted(**values | {"crop_prob": 0.0}),
        [picture(each, True) for each in several],
    )
    before = [sample.masks.clone() for sample in samples]
    made = changed(augmentation, samples, seed)
    assert made.masks.shape == (len(made.labels), *made.image.shape[1:])
    for box, mask in zip(made.boxes_xyxy_px.tolist(), made.masks, strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        assert columns.min() >= box[0] - 1.01
        assert rows.min() >= box[1] - 1.01
        assert columns.max() + 1 <= box[2] + 1.01
        assert rows.max() + 1 <= box[3] + 1.01
    assert all(torch.equal(sample.masks, masks) for sample, masks in zip(samples, before, strict=True))


@given(values=pictures, seed=st.integers(0, 2**31), fit=st.tuples(sides, sides))
def test_a_safe_crop_keeps_an_object_whole(values, seed, fit):
    sample = picture(values)
    torch.manual_seed(seed)
    made = Augmentation.fitted(fit, safe_crop=1.0, flip=False, stretch=True).compose(sample, lambda: sample, 0)
    if len(sample.labels):
        assert len(made.labels) >= 1
