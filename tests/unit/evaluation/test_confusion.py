"""Confusion counts by hand."""

import json

import numpy as np
import pytest

from sleuth.evaluation.columns import GroundTruth, Predictions
from sleuth.evaluation.confusion import confusion_matrix, draw_confusion
from sleuth.evaluation.figures import save_figure

CAT, DOG, NONE = 0, 1, 2


def cells(confusion):
    return {(int(r), int(c)): int(confusion.counts[r, c]) for r, c in zip(*np.nonzero(confusion.counts), strict=True)}


def test_each_kind_of_cell(truth_of, found_of):
    truth = truth_of([(0, CAT, 0, 0), (0, DOG, 200, 0), (0, DOG, 400, 0), (1, CAT, 0, 0)], pictures=3)
    found = [
        (0, CAT, 5, 0, 0.9),  # a cat found
        (0, CAT, 205, 0, 0.8),  # a dog taken for a cat
        (1, CAT, 0, 0, 0.4),  # too unsure: this cat is missed
        (2, DOG, 0, 0, 0.7),  # invented on an empty picture
    ]
    confusion = confusion_matrix(truth, found_of(found))
    assert cells(confusion) == {(CAT, CAT): 1, (DOG, CAT): 1, (DOG, NONE): 1, (CAT, NONE): 1, (NONE, DOG): 1}
    assert confusion.precision == pytest.approx(1 / 3)
    assert confusion.recall == pytest.approx(1 / 4)


def test_a_second_prediction_of_one_object_is_an_invention(truth_of, found_of):
    found = found_of([(0, CAT, 3, 0, 0.9), (0, CAT, 2, 0, 0.8)])
    assert cells(confusion_matrix(truth_of([(0, CAT, 0, 0)]), found)) == {(CAT, CAT): 1, (NONE, CAT): 1}


def test_the_own_class_comes_first(truth_of, found_of):
    """The dog lies closer to the cat than the cat's own prediction, and still the cat is found."""
    found = found_of([(0, DOG, 1, 0, 0.9), (0, CAT, 20, 0, 0.8)])
    assert cells(confusion_matrix(truth_of([(0, CAT, 0, 0)]), found)) == {(CAT, CAT): 1, (NONE, DOG): 1}


def test_too_little_overlap(truth_of, found_of):
    found = found_of([(0, CAT, 20, 0, 0.9)])  # IoU 2/3
    assert cells(confusion_matrix(truth_of([(0, CAT, 0, 0)]), found, iou=0.7)) == {(CAT, NONE): 1, (NONE, CAT): 1}
    assert cells(confusion_matrix(truth_of([(0, CAT, 0, 0)]), found, iou=0.66)) == {(CAT, CAT): 1}


def test_a_crowd_swallows_predictions_of_its_class(truth_of, found_of):
    truth = truth_of([(0, CAT, 0, 0, True)])
    found = found_of([(0, CAT, 0, 0, 0.9), (0, CAT, 40, 0, 0.9), (0, DOG, 0, 0, 0.9), (0, CAT, 60, 0, 0.9)])
    assert cells(confusion_matrix(truth, found)) == {(NONE, DOG): 1, (NONE, CAT): 1}


def test_rows_sum_to_objects_and_columns_to_predictions():
    rng = np.random.default_rng(0)
    n, m, pictures = 60, 200, 9
    boxes = np.concatenate([rng.uniform(0, 100, (n, 2)), rng.uniform(20, 60, (n, 2))], axis=1)
    truth = GroundTruth(
        image_ids=tuple(range(pictures)),
        category_ids=(1, 2, 3),
        names=("a", "b", "c"),
        pictures=rng.integers(0, pictures, n),
        labels=rng.integers(0, 3, n),
        boxes_xywh_px=boxes,
        areas=boxes[:, 2] * boxes[:, 3],
        crowd=np.zeros(n, dtype=bool),
    )
    near = rng.integers(0, n, m)
    found = Predictions(
        truth.pictures[near], rng.integers(0, 3, m), boxes[near] + rng.normal(0, 2, (m, 4)), rng.random(m)
    )
    counts = confusion_matrix(truth, found, threshold=0.3).counts
    assert counts[:-1].sum(axis=1).tolist() == truth.objects_per_class().tolist()
    sure = found.labels[found.scores >= 0.3]
    assert counts[:, :-1].sum(axis=0).tolist() == np.bincount(sure, minlength=3).tolist()
    assert counts[-1, -1] == 0


def test_nothing_at_all(truth_of):
    confusion = confusion_matrix(truth_of([]), Predictions())
    assert not confusion.counts.any()
    assert confusion.precision is None
    assert confusion.recall is None


def test_as_json(truth_of, found_of):
    content = confusion_matrix(truth_of([(0, CAT, 0, 0)]), found_of([(0, CAT, 0, 0, 0.9)])).to_json()
    assert json.loads(json.dumps(content))["counts"] == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert content["names"] == ["cat", "dog", "background"]


@pytest.mark.parametrize("classes", [1, 20, 60])
def test_the_picture(truth_of, found_of, classes, tmp_path):
    truth = truth_of([(0, 0, 0, 0)], names=[f"class $x_{k}$ with a long name" for k in range(classes)])
    figure = draw_confusion(confusion_matrix(truth, found_of([(0, 0, 0, 0, 0.9)])))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["1"]
    # Of many classes only those that occur are shown.
    assert len(figure.axes[0].get_xticklabels()) == 2
    assert save_figure(figure, tmp_path / "c.png").stat().st_size > 0
