"""Classes of pixels: what must hold for any masks and any windows."""

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays

from sleuth.data.semantic.classes import numbered_classes
from sleuth.evaluation.semantic import SemanticEvaluation, confusion_of, mean_iou
from sleuth.tasks.semantic import label_map

CLASSES = 4
TRUTH = arrays(np.uint8, (5, 6), elements=st.sampled_from([0, 1, 2, 3, 255]))
FOUND = arrays(np.uint8, (5, 6), elements=st.integers(0, CLASSES - 1))


@given(TRUTH, FOUND)
def test_scores_lie_between_0_and_1_and_every_labelled_pixel_counts_once(truth, found):
    confusion = confusion_of(truth, found, CLASSES)
    assert confusion.sum() == (truth != 255).sum()
    numbers = SemanticEvaluation(tuple("abcd"), confusion, (), np.zeros(0)).numbers
    assert all(0 <= value <= 1 for value in numbers.values())
    assert numbers["mIoU"] <= numbers["mean class"] + 1e-9 or numbers["mean class"] == 0


@given(TRUTH, FOUND, st.permutations(range(CLASSES)))
def test_the_order_of_classes_does_not_matter(truth, found, order):
    table = np.array([*order, *[0] * 251, 255], dtype=np.uint8)
    before, after = confusion_of(truth, found, CLASSES), confusion_of(table[truth], table[found], CLASSES)
    assert np.isclose(mean_iou(before), mean_iou(after))


@given(TRUTH)
def test_the_truth_itself_is_without_fault(truth):
    assert mean_iou(confusion_of(truth, np.where(truth == 255, 0, truth), CLASSES)) == 1.0


@given(arrays(np.uint8, (4, 4)), st.integers(1, 255))
def test_a_mask_is_read_or_told_of(values, count):
    labels, unknown = numbered_classes(count).labels(values)
    strange = (values >= count) & (values != 255)
    assert bool(unknown) == bool(strange.any())
    assert np.array_equal(labels[~strange], values[~strange])
    assert (labels[strange] == 255).all()


@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(0, 999))
def test_a_map_at_its_own_size_is_the_argmax(classes, height, width, seed):
    scores = torch.rand(classes, height, width, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(label_map(scores, (height, width)).long(), scores.argmax(0))
