"""Queries with places: learned, and proposed by the picture."""

import pytest
import torch
from torch import nn

from sleuth.queries.placed import LearnedPlaces, PlacePositions, ProposedPlaces
from sleuth.queries.top_k import TopKSource
from sleuth.types.memory import Memory


def _memory() -> Memory:
    return Memory(tokens=torch.randn(2, 30, 8), pos=torch.zeros(2, 30, 8), valid=None, grids_hw=((4, 6), (2, 3)))


def _source(rank_by: str) -> TopKSource:
    class_head, box_head = nn.Linear(8, 3), nn.Linear(8, 4)
    return TopKSource(dim=8, num_queries=5, class_head=class_head, box_head=box_head, rank_by=rank_by)  # type: ignore[arg-type]


def test_learned_queries_stand_where_their_position_says() -> None:
    queries = LearnedPlaces(num_queries=5, dim=8)
    made = queries(_memory())
    assert made.proposals is None
    assert made.pos is not None
    torch.testing.assert_close(made.pos[1], queries.weight[:, :8])
    torch.testing.assert_close(made.content[1], queries.weight[:, 8:])
    torch.testing.assert_close(made.references[0], queries.place(queries.weight[:, :8]).sigmoid())


@pytest.mark.parametrize("rank_by", ["first", "greatest"])
def test_proposed_queries_start_at_their_boxes_without_gradient(rank_by: str) -> None:
    queries = ProposedPlaces(source=_source(rank_by), positions=PlacePositions(dim=8), supervise_all=True)
    made = queries.eval()(_memory())
    assert made.proposals is not None
    assert made.proposals.class_agnostic == (rank_by == "first")
    assert torch.equal(made.references, made.proposals.boxes_cxcywh)
    assert not made.references.requires_grad
    assert made.proposals.boxes_cxcywh.requires_grad
    assert made.pos is not None
    assert made.pos.shape == made.content.shape == (2, 5, 8)


def test_while_training_all_tokens_may_pay() -> None:
    memory = _memory()
    queries = ProposedPlaces(source=_source("first"), supervise_all=True)
    made, picked = queries(memory), queries.source(memory.tokens, memory.grids_hw)
    assert made.pos is None
    assert made.proposals is not None
    assert made.proposals.logits.shape == (2, 30, 3)
    boxes = made.proposals.boxes_cxcywh.gather(1, picked.tokens[..., None].expand(-1, -1, 4))
    torch.testing.assert_close(boxes, made.references)
    assert ProposedPlaces(source=_source("first"))(memory).proposals.logits.shape == (2, 5, 3)  # type: ignore[union-attr]
