"""Whatever an annotation file holds, records are sound and every box is accounted for."""

import math
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sleuth.data.batches import to_batch
from sleuth.data.formats.assemble import RawObjects, build_record
from sleuth.data.samples import Sample
from sleuth.data.transforms import Augmentation

numbers = st.one_of(st.floats(-100, 200), st.sampled_from([math.nan, math.inf, -math.inf, 1e300, 0.0, 60.0, 40.0]))
boxes = st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=6)
LEFT_OUT = {"non-finite-box", "inverted-box", "empty-box", "box-outside"}


@given(boxes)
@settings(deadline=None, max_examples=200)
def test_a_record_holds_sound_boxes_and_tells_the_others(corners):
    raw, faults = RawObjects(), []
    for number, box in enumerate(corners):
        raw.add(number % 3, box, number + 1)
    record = build_record(raw, id=1, path=Path("a.jpg"), name="a.jpg", size_hw=(40, 60), where="a.json", faults=faults)
    kept = record.boxes_xyxy_px
    assert np.isfinite(kept).all()
    assert (kept[:, :2] >= 0).all()
    assert (kept[:, 2:] <= [60, 40]).all()
    assert (kept[:, 2:] > kept[:, :2]).all()
    dropped = [fault.id for fault in faults if fault.kind in LEFT_OUT]
    assert sorted([*dropped, *record.annotation_ids.tolist()]) == list(range(1, len(corners) + 1))


sides = st.integers(1, 90)


@given(
    size=st.tuples(sides, sides),
    places=st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), max_size=4),
    scale=st.integers(8, 120),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=60)
def test_augmented_samples_make_sound_targets(size, places, scale, seed):
    height, width = size
    corners = torch.tensor(places, dtype=torch.float32).reshape(-1, 2, 2).sort(dim=1).values.reshape(-1, 4)
    sample = Sample(
        image=torch.zeros(3, height, width, dtype=torch.uint8),
        boxes_xyxy_px=corners * torch.tensor([width, height, width, height]),
        labels=torch.arange(len(places)),
        name="x",
        image_id=1,
        size_hw=size,
    )
    torch.manual_seed(seed)
    images, (target,) = to_batch([Augmentation.for_scale(scale)(sample)])
    assert images.valid.all()
    assert len(target.labels) == len(target.boxes_cxcywh) <= len(places)
    assert ((target.boxes_cxcywh >= 0) & (target.boxes_cxcywh <= 1 + 1e-5)).all()
