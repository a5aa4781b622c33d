"""Task-aligned matching: who answers for which object, and what is asked of them."""

import torch

from sleuth.matching.aligned import aligned_match
from sleuth.matching.costs import pad_targets
from sleuth.queries.anchors import grid_anchors
from sleuth.types.batches import Target

GRIDS = ((8, 8), (4, 4))
TOKENS = 80
CPU = torch.device("cpu")


def _centres() -> torch.Tensor:
    return grid_anchors(GRIDS, margin=0.0)[0].sigmoid()[..., :2]


def _target(*boxes: tuple[float, ...]) -> Target:
    return Target(labels=torch.arange(len(boxes)), boxes_cxcywh=torch.tensor(boxes).view(-1, 4))


def test_tokens_on_the_object_answer_the_best_of_them_for_its_overlap() -> None:
    box = (0.5, 0.5, 0.5, 0.5)
    boxes = torch.tensor([0.9, 0.9, 0.01, 0.01]).repeat(1, TOKENS, 1)
    centres = _centres()
    inside = ((centres - 0.5).abs() < 0.25).all(-1)[0].nonzero()[:, 0]
    first, second = inside[0], inside[1]
    boxes[0, first] = torch.tensor([0.5, 0.5, 0.5, 0.4])
    boxes[0, second] = torch.tensor([0.5, 0.5, 0.5, 0.3])
    found = aligned_match(torch.zeros(1, TOKENS, 2), boxes, centres, pad_targets([_target(box)], CPU))
    assert len(found.match.query) == 10
    assert set(found.match.query.tolist()) <= set(inside.tolist())
    by_token = dict(zip(found.match.query.tolist(), found.quality.tolist(), strict=True))
    assert abs(by_token[int(first)] - 0.8) < 1e-5
    assert abs(by_token[int(second)] - 0.8 * (0.6 / 0.8) ** 6) < 1e-5


def test_an_object_between_the_cells_takes_the_nearest_token() -> None:
    found = aligned_match(
        torch.zeros(1, TOKENS, 2),
        torch.full((1, TOKENS, 4), 0.5),
        _centres(),
        pad_targets([_target((0.49, 0.12, 0.004, 0.004))], CPU),
    )
    assert found.match.query.tolist() == [3]


def test_a_token_answers_for_one_object_the_one_it_fits() -> None:
    torch.manual_seed(0)
    targets = [_target((0.5, 0.5, 0.6, 0.6), (0.5, 0.5, 0.3, 0.3)), _target(), _target((0.2, 0.2, 0.2, 0.2))]
    boxes = torch.rand(3, TOKENS, 4) * 0.4 + 0.3
    found = aligned_match(torch.randn(3, TOKENS, 2), boxes, _centres(), pad_targets(targets, CPU))
    pairs = list(zip(found.match.picture.tolist(), found.match.query.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    assert 1 not in found.match.picture.tolist()
    assert bool(((found.quality >= 0) & (found.quality <= 1)).all())


def test_without_any_object_nothing_is_matched() -> None:
    found = aligned_match(
        torch.zeros(2, TOKENS, 2),
        torch.full((2, TOKENS, 4), 0.5),
        _centres(),
        pad_targets([_target(), _target()], CPU),
    )
    assert len(found.match.query) == len(found.quality) == 0
