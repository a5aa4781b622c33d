"""The cost matrix: by hand, padded, and finite whatever comes in."""

import pytest
import torch

from sleuth.geometry.boxes import cxcywh_to_xyxy, pairwise_giou
from sleuth.matching.costs import WORST, CostWeights, matching_costs, pad_targets
from sleuth.types.batches import Target

CPU = torch.device("cpu")
NAN, INF = float("nan"), float("inf")


def target(*objects: tuple[int, list[float]]) -> Target:
    """Objects as pairs of label and box."""
    return Target(
        labels=torch.tensor([label for label, _ in objects], dtype=torch.int64),
        boxes_cxcywh=torch.tensor([box for _, box in objects]).reshape(-1, 4),
    )


TWO = target((0, [0.5, 0.5, 0.2, 0.2]), (2, [0.2, 0.3, 0.1, 0.4]))
NONE = target()


def test_targets_are_padded_to_the_fullest_picture() -> None:
    padded = pad_targets([TWO, NONE, target((1, [0.1, 0.1, 0.1, 0.1]))], CPU)
    assert padded.labels.tolist() == [[0, 2], [0, 0], [1, 0]]
    assert padded.present.tolist() == [[True, True], [False, False], [True, False]]
    assert torch.equal(padded.boxes_cxcywh[0], TWO.boxes_cxcywh)
    assert padded.boxes_cxcywh[1].tolist() == [[0.5, 0.5, 1.0, 1.0]] * 2


@pytest.mark.parametrize("targets", [[], [NONE], [NONE, NONE]])
def test_no_objects_at_all(targets: list[Target]) -> None:
    padded = pad_targets(targets, CPU)
    assert padded.labels.shape == (len(targets), 0)
    assert padded.boxes_cxcywh.shape == (len(targets), 0, 4)
    batch = len(targets)
    costs = matching_costs(torch.zeros(2, batch, 3, 4), torch.rand(2, batch, 3, 4), padded, CostWeights())
    assert costs.shape == (2, batch, 3, 0)


def test_costs_are_the_weighted_sum_of_their_terms() -> None:
    logits, boxes = torch.randn(2, 1, 3, 4), torch.rand(2, 1, 3, 4)
    weights = CostWeights(classes=1.5, l1=4.0, giou=3.0)
    costs = matching_costs(logits, boxes, pad_targets([TWO], CPU), weights)
    for layer in range(2):
        probability = logits[layer, 0].softmax(-1)[:, TWO.labels]
        l1 = torch.cdist(boxes[layer, 0], TWO.boxes_cxcywh, p=1)
        giou = pairwise_giou(cxcywh_to_xyxy(boxes[layer, 0]), cxcywh_to_xyxy(TWO.boxes_cxcywh))
        torch.testing.assert_close(costs[layer, 0], 4.0 * l1 - 1.5 * probability - 3.0 * giou)


def test_the_default_weights_are_the_papers() -> None:
    assert CostWeights() == CostWeights(classes=1.0, l1=5.0, giou=2.0)


def test_a_perfect_prediction_costs_least() -> None:
    logits = torch.full((1, 1, 2, 4), -9.0)
    logits[0, 0, 0, 0] = logits[0, 0, 1, 2] = 9.0
    costs = matching_costs(logits, TWO.boxes_cxcywh[None, None], pad_targets([TWO], CPU), CostWeights())[0, 0]
    assert costs.diagonal().tolist() == pytest.approx([-3.0, -3.0], abs=1e-3)  # -1 for the class, -2 for GIoU
    assert bool((costs[0, 1] > 0) & (costs[1, 0] > 0))


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_non_finite_predictions_cost_the_worst(bad: float) -> None:
    logits, boxes = torch.zeros(1, 1, 3, 4), torch.full((1, 1, 3, 4), 0.5)
    logits[0, 0, 0] = bad
    boxes[0, 0, 1, 2] = bad
    costs = matching_costs(logits, boxes, pad_targets([TWO], CPU), CostWeights())[0, 0]
    assert bool(costs.isfinite().all())
    assert costs[:2].tolist() == [[WORST] * 2] * 2
    assert bool((costs[2] < 10).all())


def test_boxes_without_area_have_finite_costs() -> None:
    points = target((0, [0.5, 0.5, 0.0, 0.0]), (1, [0.2, 0.2, 0.0, 0.5]))
    boxes = torch.tensor([[[[0.5, 0.5, 0.0, 0.0], [0.1, 0.9, 0.0, 0.0]]]])
    costs = matching_costs(torch.zeros(1, 1, 2, 4), boxes, pad_targets([points], CPU), CostWeights())
    assert bool((costs.abs() < 20).all())


def test_half_precision_is_computed_in_single() -> None:
    logits, boxes = torch.randn(1, 1, 3, 4).half(), torch.rand(1, 1, 3, 4).half()
    costs = matching_costs(logits, boxes, pad_targets([TWO], CPU), CostWeights())
    assert costs.dtype == torch.float32
    assert torch.equal(costs, matching_costs(logits.float(), boxes.float(), pad_targets([TWO], CPU), CostWeights()))
