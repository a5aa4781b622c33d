"""Hungarian matching: the cheapest assignment, and a defined one where there is nothing sensible to assign."""

import pytest
import torch

from sleuth.matching.costs import CostWeights
from sleuth.matching.hungarian import Match, hungarian_match
from sleuth.types.batches import Target

NAN, INF = float("nan"), float("inf")


def random_targets(*counts: int, classes: int = 3) -> list[Target]:
    return [Target(labels=torch.randint(0, classes, (n,)), boxes_cxcywh=torch.rand(n, 4)) for n in counts]


def rows(match: Match) -> list[tuple[int, int, int]]:
    return list(zip(match.picture.tolist(), match.query.tolist(), match.target.tolist(), strict=True))


def match(logits: torch.Tensor, boxes: torch.Tensor, targets: list[Target]) -> list[Match]:
    return hungarian_match(logits, boxes, targets, CostWeights())


def test_each_object_gets_the_query_that_predicts_it() -> None:
    (target,) = random_targets(3)
    order = [4, 0, 2]
    logits, boxes = torch.zeros(1, 1, 5, 4), torch.full((1, 1, 5, 4), 0.5)
    for place, query in enumerate(order):
        boxes[0, 0, query] = target.boxes_cxcywh[place]
        logits[0, 0, query, target.labels[place]] = 9.0
    (found,) = match(logits, boxes, [target])
    assert sorted(rows(found)) == [(0, 0, 1), (0, 2, 2), (0, 4, 0)]


def test_the_total_counts_not_the_single_best() -> None:
    """Greedy would give query 0 to object 0, its best, and leave object 1 with a bad one."""
    objects = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.5, 0.6, 0.2, 0.2]])
    boxes = torch.tensor([[0.5, 0.52, 0.2, 0.2], [0.55, 0.5, 0.2, 0.2]])  # L1: 0.02 and 0.08, 0.05 and 0.15
    target = Target(labels=torch.tensor([0, 0]), boxes_cxcywh=objects)
    (found,) = hungarian_match(torch.zeros(1, 1, 2, 2), boxes[None, None], [target], CostWeights(giou=0.0))
    assert rows(found) == [(0, 0, 1), (0, 1, 0)]


def test_pictures_are_matched_apart_and_empty_ones_match_nothing() -> None:
    targets = random_targets(2, 0, 3)
    (found,) = match(torch.randn(1, 3, 6, 4), torch.rand(1, 3, 6, 4), targets)
    assert found.picture.tolist() == [0, 0, 2, 2, 2]
    assert sorted(found.target[found.picture == 2].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("targets", [random_targets(0), random_targets(0, 0)])
def test_no_objects_no_matches(targets: list[Target]) -> None:
    found = match(torch.randn(3, len(targets), 4, 4), torch.rand(3, len(targets), 4, 4), targets)
    assert [rows(layer) for layer in found] == [[], [], []]
    assert found[0].query.dtype == torch.int64


def test_an_empty_batch_matches_nothing() -> None:
    assert [rows(layer) for layer in match(torch.zeros(2, 0, 4, 4), torch.zeros(2, 0, 4, 4), [])] == [[], []]


def test_more_objects_than_queries_serves_the_cheapest() -> None:
    (target,) = random_targets(5)
    boxes = target.boxes_cxcywh[[3, 1]][None, None]
    (found,) = match(torch.zeros(1, 1, 2, 4), boxes, [target])
    assert rows(found) == [(0, 0, 3), (0, 1, 1)]


def test_all_layers_in_one_call_equal_one_call_a_layer() -> None:
    logits, boxes, targets = torch.randn(4, 2, 6, 4), torch.rand(4, 2, 6, 4), random_targets(3, 5)
    together = match(logits, boxes, targets)
    for layer in range(4):
        (alone,) = match(logits[layer : layer + 1], boxes[layer : layer + 1], targets)
        assert rows(together[layer]) == rows(alone)


def test_layers_are_matched_afresh() -> None:
    (target,) = random_targets(2)
    boxes = torch.stack((target.boxes_cxcywh, target.boxes_cxcywh.flip(0)))[:, None]
    first, second = match(torch.zeros(2, 1, 2, 4), boxes, [target])
    assert rows(first) == [(0, 0, 0), (0, 1, 1)]
    assert rows(second) == [(0, 0, 1), (0, 1, 0)]


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_broken_predictions_still_get_a_whole_assignment(bad: float) -> None:
    targets = random_targets(3, 2)
    logits, boxes = torch.full((2, 2, 4, 4), bad), torch.full((2, 2, 4, 4), bad)
    for found in match(logits, boxes, targets):
        assert found.picture.tolist() == [0, 0, 0, 1, 1]
        assert len(set(rows(found))) == 5


def test_a_sound_query_is_preferred_to_a_broken_one() -> None:
    (target,) = random_targets(1)
    boxes = torch.rand(1, 1, 3, 4)
    boxes[0, 0, :2] = NAN
    (found,) = match(torch.zeros(1, 1, 3, 4), boxes, [target])
    assert rows(found) == [(0, 2, 0)]


def test_broken_and_empty_objects_do_not_disturb_the_others() -> None:
    target = Target(
        labels=torch.tensor([0, 1, 2]),
        boxes_cxcywh=torch.tensor([[0.5, 0.5, 0.0, 0.0], [NAN] * 4, [0.2, 0.2, 0.1, 0.1]]),
    )
    boxes = torch.tensor([[[[0.2, 0.2, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1], [0.5, 0.5, 0.05, 0.05]]]])
    (found,) = match(torch.zeros(1, 1, 3, 4), boxes, [target])
    assert rows(found) == [(0, 0, 2), (0, 1, 1), (0, 2, 0)]


def test_no_gradient_flows_through_the_assignment() -> None:
    logits = torch.randn(1, 1, 3, 4, requires_grad=True)
    (found,) = match(logits, torch.rand(1, 1, 3, 4), random_targets(2))
    assert not found.query.requires_grad
