"""Queries from the picture (anchors, top-k) and denoising queries."""

import torch
from torch import nn

from sleuth.queries.anchors import grid_anchors
from sleuth.queries.denoising import ContrastiveDenoising, Noise, group_mask
from sleuth.queries.top_k import TopKSource
from sleuth.types.batches import Target

CPU = torch.device("cpu")
GRIDS = ((4, 6), (2, 3))


def _noise(batch: int, queries: int, part: float) -> Noise:
    return Noise(
        label_chance=torch.ones(batch, queries),
        other_label=torch.zeros(batch, queries, dtype=torch.int64),
        sign=torch.ones(batch, queries, 4),
        part=torch.full((batch, queries, 4), part),
    )


def _targets() -> list[Target]:
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.3, 0.3, 0.1, 0.1]])
    return [
        Target(labels=torch.tensor([1, 2]), boxes_cxcywh=boxes),
        Target(labels=torch.tensor([], dtype=torch.int64), boxes_cxcywh=torch.zeros(0, 4)),
    ]


def test_anchors_sit_on_their_cells() -> None:
    logits, usable = grid_anchors(GRIDS)
    boxes = logits.sigmoid()
    assert bool(usable.all())
    torch.testing.assert_close(boxes[0, 7], torch.tensor([1.5 / 6, 1.5 / 4, 0.05, 0.05]))
    torch.testing.assert_close(boxes[0, 24 + 5], torch.tensor([2.5 / 3, 1.5 / 2, 0.1, 0.1]))


def test_anchors_are_relative_to_the_unpadded_picture() -> None:
    valid = torch.zeros(1, 30, dtype=torch.bool)
    valid[0, :24].view(4, 6)[:2, :3] = True
    valid[0, 24:].view(2, 3)[:1, :2] = True
    logits, usable = grid_anchors(GRIDS, valid=valid)
    assert torch.equal(usable, valid)
    torch.testing.assert_close(logits[0, 7].sigmoid()[:2], torch.tensor([1.5 / 3, 1.5 / 2]))
    assert bool(logits[~valid].isinf().all())


def test_top_k_picks_the_best_tokens_and_reads_the_rest_for_nothing() -> None:
    source = TopKSource(dim=8, num_queries=5, class_head=nn.Linear(8, 3), box_head=nn.Linear(8, 4))
    tokens = torch.randn(2, 30, 8)
    found = source(tokens, GRIDS)
    every = source.class_head(source.norm(source.proj(tokens))).max(-1).values
    assert torch.equal(found.logits.max(-1).values, every.topk(5).values)
    assert not found.content.requires_grad
    assert found.references.requires_grad
    assert source(tokens[:, :6], ((2, 3),)).content.shape == (2, 5, 8)
    assert source(tokens[:, :2], ((1, 2),)).content.shape == (2, 2, 8)


def test_near_queries_move_half_as_far_as_far_ones() -> None:
    source = ContrastiveDenoising(num_classes=3, dim=8, num_queries=4, box_noise=1.0)
    made = source(_targets(), 5, CPU, _noise(2, 8, part=0.5))
    assert made is not None
    assert made.groups == 2
    boxes = made.references.sigmoid()[0].view(2, 2, 2, 4)
    # All edges moved right and down: near ones by a quarter of a side, far ones by three quarters.
    torch.testing.assert_close(boxes[0, 0, 0], torch.tensor([0.55, 0.6, 0.2, 0.4]))
    torch.testing.assert_close(boxes[1, 1, 1], torch.tensor([0.375, 0.375, 0.1, 0.1]))
    assert made.labels[0].tolist() == [1, 2] * 4
    assert made.labels[1].tolist() == [3] * 8
    assert not bool(made.present[1].any())
    assert made.match.query.tolist() == [0, 1, 4, 5]
    assert made.match.target.tolist() == [0, 1, 0, 1]
    assert made.match.picture.tolist() == [0, 0, 0, 0]


def test_labels_are_noised_where_chance_says_so() -> None:
    source = ContrastiveDenoising(num_classes=3, dim=8, num_queries=2, label_noise=0.5)
    noise = _noise(2, 4, part=0.0)
    noise.label_chance[:] = torch.tensor([0.2, 0.3, 0.26, 0.24])
    made = source(_targets(), 5, CPU, noise)
    assert made is not None
    assert made.labels[0].tolist() == [0, 2, 1, 0]
    assert made.labels[1].tolist() == [3, 3, 3, 3]


def test_without_objects_a_pair_fills_up_and_groups_are_bounded() -> None:
    source = ContrastiveDenoising(num_classes=3, dim=8, num_queries=100, max_groups=7)
    made = source([_targets()[1]], 5, CPU)
    assert (made.labels.shape, made.groups) == ((1, 2), 1)
    assert not made.present.any()
    assert not len(made.match.query)
    assert made.references.isfinite().all()
    assert [source.groups_for(most) for most in (1, 20, 100, 400)] == [7, 5, 1, 1]


def test_groups_do_not_see_each_other_and_the_others_see_no_group() -> None:
    sees = group_mask(2, 3, 4, CPU)[0, 0]
    assert sees.shape == (10, 10)
    assert bool(sees[:3, :3].all())
    assert not bool(sees[:3, 3:6].any())
    assert bool(sees[:6, 6:].all())
    assert not bool(sees[6:, :6].any())
    assert bool(sees[6:, 6:].all())


def test_ranking_each_class_may_pick_a_token_twice() -> None:
    class_head = nn.Linear(4, 2)
    with torch.no_grad():
        class_head.weight[1].copy_(class_head.weight[0])
        class_head.bias.zero_()
    source = TopKSource(dim=4, num_queries=6, class_head=class_head, box_head=nn.Linear(4, 4), rank_by="each")
    picked = source(torch.randn(1, 30, 4), GRIDS)
    # Both classes of a token score alike.
    assert len(picked.tokens[0].unique()) == 3
    assert picked.tokens.max() < 30
    assert picked.logits.shape == (1, 6, 2)


def test_the_row_that_fills_up_has_no_gradient() -> None:
    denoising = ContrastiveDenoising(num_classes=3, dim=4, num_queries=2)
    made = denoising(_targets(), 5, CPU)
    assert made is not None
    denoising.labels(made.labels).sum().backward()
    assert (made.labels[1] == 3).all()
    assert denoising.labels.weight.grad is not None
    assert not denoising.labels.weight[3].any()
    assert not denoising.labels.weight.grad[3].any()
    assert denoising.labels.weight.grad[:3].any()


def test_queries_that_fill_up_may_start_from_nothing() -> None:
    source = ContrastiveDenoising(num_classes=3, dim=8, num_queries=4, rows=5, blank=True)
    assert source.labels.weight.shape == (6, 8)
    made = source(_targets(), 5, CPU, _noise(2, 8, part=0.5))
    assert made is not None
    assert bool((made.references[1] == 0).all())
    content = source.content(made)
    assert bool((content[1] == 0).all())
    assert torch.equal(content[0], source.labels(made.labels[0]))
    filled = ContrastiveDenoising(num_classes=3, dim=8, num_queries=4)
    made = filled(_targets(), 5, CPU)
    assert made is not None
    assert torch.equal(filled.content(made)[1, 0], filled.labels.weight[3])
