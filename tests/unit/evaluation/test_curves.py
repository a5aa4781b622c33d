"""Precision-recall curves by hand, and their picture."""

import numpy as np
import pytest

from sleuth.evaluation.coco import evaluate_predictions
from sleuth.evaluation.columns import Predictions
from sleuth.evaluation.curves import draw_precision_recall, precision_recall
from sleuth.evaluation.figures import save_figure


@pytest.fixture
def scores(truth_of, found_of):
    truth = truth_of([(0, 0, 0, 0), (0, 0, 200, 0), (0, 1, 400, 0)], names=("cat", "dog", "bird"))
    found = [(0, 0, 0, 0, 0.9), (0, 0, 600, 0, 0.8), (0, 0, 200, 0, 0.7), (0, 1, 420, 0, 0.6)]
    return evaluate_predictions(truth, found_of(found))


def test_curves_by_hand(scores):
    curves = precision_recall(scores, 0.5)
    assert curves.names == ("cat", "dog", "bird")
    assert curves.measured == [0, 1]
    cat, dog, bird = curves.precision.T
    assert cat == pytest.approx(np.where(curves.recall <= 0.5, 1, 2 / 3))
    assert (dog == 1).all()
    assert np.isnan(bird).all()
    assert curves.mean == pytest.approx((cat + dog) / 2)
    assert curves.average(0) == pytest.approx(scores.per_class[0].ap50)
    assert curves.mean.mean() == pytest.approx(scores["AP50"])


def test_the_score_at_each_recall(scores):
    curves = precision_recall(scores, 0.5)
    assert curves.threshold[:51, 0] == pytest.approx(0.9)
    assert curves.threshold[51:, 0] == pytest.approx(0.7)


def test_a_stricter_overlap(scores):
    """The dog's box overlaps by 2/3 only."""
    curves = precision_recall(scores, 0.75)
    assert curves.iou == 0.75
    assert (curves.precision[:, 1] == 0).all()


def test_an_overlap_that_coco_does_not_have(scores):
    with pytest.raises(ValueError, match=r"0\.6.* is not one of 0\.50, 0\.55"):
        precision_recall(scores, 0.61)


def test_no_objects_at_all(truth_of, tmp_path):
    scores = evaluate_predictions(truth_of([]), Predictions())
    assert np.isnan(precision_recall(scores).mean).all()
    assert save_figure(draw_precision_recall(scores), tmp_path / "pr.png").stat().st_size > 0


def test_the_picture_names_each_class_and_the_mean(scores):
    left, right = draw_precision_recall(scores).axes
    assert [line.get_label() for line in left.lines] == ["cat  0.835", "dog  1.000", "mean  0.917"]
    assert [line.get_label() for line in right.lines] == ["cat  0.835", "dog  0.000", "mean  0.417"]
    assert left.lines[0].get_color() == right.lines[0].get_color()


def test_of_many_classes_the_weakest_are_drawn(truth_of, found_of):
    labels = range(30)
    truth = truth_of([(0, k, 0, 0) for k in labels], names=[f"class {k}" for k in labels])
    found = [(0, k, 0, 0, 0.5) for k in labels if k] + [(0, k, 300, 0, 0.9) for k in (4, 9)]
    axes = draw_precision_recall(evaluate_predictions(truth, found_of(found))).axes[0]
    assert len(axes.lines) == 8 + 1
    assert {line.get_label() for line in axes.lines[:2]} == {"class 4  0.500", "class 9  0.500"}


def test_the_same_picture_twice(scores, tmp_path):
    first = save_figure(draw_precision_recall(scores), tmp_path / "a.png").read_bytes()
    assert first == save_figure(draw_precision_recall(scores), tmp_path / "b.png").read_bytes()
    assert first.startswith(b"\x89PNG")
