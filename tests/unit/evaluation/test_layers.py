"""The layer study, and what suppression may and may not change."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sleuth.evaluation.columns import Predictions
from sleuth.evaluation.figures import save_figure
from sleuth.evaluation.layers import draw_layers, study_layers, suppress
from sleuth.geometry.boxes import pairwise_iou, xywh_to_xyxy


def random_predictions(seed, n=80, pictures=3):
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.uniform(0, 60, (n, 2)), rng.uniform(20, 50, (n, 2))], axis=1)
    return Predictions(rng.integers(0, pictures, n), rng.integers(0, 2, n), boxes, rng.random(n))


def test_only_the_surer_of_two_alike_stays(found_of):
    found = found_of(
        [
            (0, 0, 0, 0, 0.5),  # goes: the second is surer
            (0, 0, 10, 0, 0.9),
            (0, 1, 0, 0, 0.1),  # another class
            (1, 0, 0, 0, 0.1),  # another picture
            (0, 0, 60, 0, 0.2),  # overlaps by a third only
        ]
    )
    assert suppress(found).scores.tolist() == [0.9, 0.1, 0.1, 0.2]


def test_nothing_to_suppress():
    assert len(suppress(Predictions())) == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 0.9))
def test_suppression_only_removes_keeps_the_surest_and_is_done_at_once(seed, iou):
    found = random_predictions(seed)
    kept = suppress(found, iou)
    assert [score for score in found.scores.tolist() if score in kept.scores] == kept.scores.tolist()
    assert np.array_equal(suppress(kept, iou).scores, kept.scores)
    for picture in range(3):
        for label in range(2):
            of = found.scores[(found.pictures == picture) & (found.labels == label)]
            assert not len(of) or of.max() in kept.scores
    assert len(suppress(found, 1.0)) == len(found)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_kept_boxes_of_a_class_overlap_by_the_limit_at_most(seed):
    kept = suppress(random_predictions(seed), 0.4)
    boxes = xywh_to_xyxy(torch.from_numpy(kept.boxes_xywh_px))
    alike = (kept.pictures[:, None] == kept.pictures) & (kept.labels[:, None] == kept.labels)
    overlaps = pairwise_iou(boxes, boxes).numpy() * (alike & ~np.eye(len(kept), dtype=bool))
    assert overlaps.max() <= 0.4 + 1e-9


def test_a_first_layer_of_duplicates_gains_and_a_clean_one_does_not(truth_of, found_of):
    truth = truth_of([(0, 0, 0, 0), (0, 0, 200, 0)])
    doubled = found_of([(0, 0, 0, 0, 0.9), (0, 0, 5, 0, 0.8), (0, 0, 200, 0, 0.7), (0, 0, 205, 0, 0.6)])
    clean = found_of([(0, 0, 0, 0, 0.9), (0, 0, 200, 0, 0.7)])
    first, last = study_layers(truth, [doubled, clean]).layers
    assert (first.layer, last.layer) == (1, 2)
    assert first.ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert (first.ap_nms, first.ap50_nms, first.suppressed) == (1.0, 1.0, 0.5)
    assert (last.ap, last.ap50, last.ap_nms, last.ap50_nms, last.suppressed) == (1.0, 1.0, 1.0, 1.0, 0.0)


def test_suppression_costs_where_objects_overlap(truth_of, found_of):
    """Two cats of IoU 2/3, both found: suppression removes one."""
    truth = truth_of([(0, 0, 0, 0), (0, 0, 20, 0)])
    study = study_layers(truth, [found_of([(0, 0, 0, 0, 0.9), (0, 0, 20, 0, 0.8)])])
    assert study.layers[0].ap == 1.0
    assert study.layers[0].ap_nms == pytest.approx(51 / 101)
    assert study_layers(truth, [found_of([(0, 0, 0, 0, 0.9), (0, 0, 20, 0, 0.8)])], nms_iou=0.7).layers[0].ap_nms == 1


@pytest.mark.parametrize("rows", [[], [(0, 0, 0, 0)]])
def test_picture_and_json_also_where_nothing_was_measured(truth_of, rows, tmp_path):
    study = study_layers(truth_of(rows), [Predictions(), Predictions()])
    assert json.loads(json.dumps(study.to_json()))["nms_iou"] == 0.5
    assert save_figure(draw_layers(study), tmp_path / "layers.png").stat().st_size > 0
