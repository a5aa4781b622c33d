"""Panoptic quality: what holds for every picture, and torchmetrics' numbers where it asks the same question."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.detection import PanopticQuality

from sleuth.evaluation.panoptic import PanopticMap, count_segments, panoptic_quality

THINGS, STUFF, VOID_CLASS = (0, 1), (2, 3), 9
SIDE = 10
NAMES, IS_THING = ("a", "b", "c", "d"), (True, True, False, False)


@st.composite
def coloured(draw, void):
    """Class and instance of each pixel: strips and rectangles over a ground of one class."""
    classes = [*THINGS, *STUFF] + ([VOID_CLASS] if void else [])
    colours = np.zeros((SIDE, SIDE, 2), dtype=np.int64)
    colours[..., 0] = draw(st.sampled_from([*THINGS, *STUFF]))
    for instance in range(1, draw(st.integers(1, 7))):
        top, left, bottom, right = (draw(st.integers(0, SIDE)) for _ in range(4))
        label = draw(st.sampled_from(classes))
        colours[top:bottom, left:right] = label, instance if label in THINGS else 0
    return colours


def changed(draw, colours):
    """The same with rectangles of other classes over it, and shifted a little."""
    other = np.roll(colours, draw(st.integers(-1, 1)), axis=1)
    for instance in range(20, 20 + draw(st.integers(0, 3))):
        top, left, bottom, right = (draw(st.integers(0, SIDE)) for _ in range(4))
        label = draw(st.sampled_from([*THINGS, *STUFF]))
        other[top:bottom, left:right] = label, instance if label in THINGS else 0
    other[other[..., 0] == VOID_CLASS] = STUFF[0], 0
    return other


@st.composite
def pairs(draw):
    """One to three pictures: ground truth with void, and a prediction without."""
    truths = [draw(coloured(void=True)) for _ in range(draw(st.integers(1, 3)))]
    return [(truth, changed(draw, truth)) for truth in truths]


def as_map(colours):
    labels, instances = colours[..., 0], colours[..., 1]
    ids = np.where(labels == VOID_CLASS, 0, 1 + labels * 100 + instances)
    found = np.unique(ids[ids > 0])
    return PanopticMap(ids=ids, segment_ids=found, labels=(found - 1) // 100, crowd=np.zeros(len(found), dtype=bool))


def scores_of(pictures):
    maps = [(as_map(truth), as_map(found)) for truth, found in pictures]
    return panoptic_quality(maps, names=NAMES, category_ids=range(4), is_thing=IS_THING)


@given(pairs())
def test_torchmetrics_says_the_same(pictures):
    """Without crowds, which it does not know, and without void in predictions, which it excuses."""
    per_class, mean = (
        PanopticQuality(things=set(THINGS), stuffs=set(STUFF), return_sq_and_rq=True, return_per_class=each)
        for each in (True, False)
    )
    for truth, found in pictures:
        for metric in (per_class, mean):
            metric.update(torch.from_numpy(found)[None], torch.from_numpy(truth)[None])
    scores = scores_of(pictures)
    # torchmetrics divides in single precision, and says 0 for a class without segments.
    for entry, numbers in zip(scores.per_class, per_class.compute().tolist(), strict=True):
        assert [entry.pq or 0, entry.sq or 0, entry.rq or 0] == pytest.approx(numbers, abs=1e-6)
    if scores.all.classes:
        assert [scores.all.pq, scores.all.sq, scores.all.rq] == pytest.approx(mean.compute().tolist(), abs=1e-6)


@given(coloured(void=True))
def test_the_truth_itself_is_perfect(colours):
    scores = scores_of([(colours, colours)])
    assert {entry.pq for entry in scores.per_class} <= {1.0, None}
    assert not any(entry.invented for entry in scores.per_class)


@given(pairs(), st.integers(2, 9))
def test_numbers_of_segments_and_enlargement_do_not_matter(pictures, factor):
    truth, found = (as_map(colours) for colours in pictures[0])
    plain = count_segments(truth, found, 4)
    order = np.arange(len(found.labels))[::-1]
    renamed = PanopticMap(
        ids=np.where(found.ids > 0, 3000 - found.ids, 0),
        segment_ids=3000 - found.segment_ids[order],
        labels=found.labels[order],
        crowd=found.crowd,
    )
    large = [
        PanopticMap(of.ids.repeat(factor, 0).repeat(factor, 1), of.segment_ids, of.labels, of.crowd)
        for of in (truth, renamed)
    ]
    again = count_segments(*large, 4)
    for one, other in ((plain.found, again.found), (plain.invented, again.invented), (plain.missed, again.missed)):
        assert one.tolist() == other.tolist()
    assert again.iou == pytest.approx(plain.iou, abs=1e-12)


@given(pairs())
def test_every_segment_is_accounted_for(pictures):
    for truth, found in pictures:
        there, answers = as_map(truth), as_map(found)
        counts = count_segments(there, answers, 4)
        assert (counts.found + counts.missed).tolist() == np.bincount(there.labels, minlength=4).tolist()
        assert (counts.found + counts.invented <= np.bincount(answers.labels, minlength=4)).all()
        assert (counts.iou <= counts.found).all()
        assert (counts.iou >= counts.found * 0.5).all()
