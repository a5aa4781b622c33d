"""Queries that stand somewhere: what each starts with, and where it starts looking."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.positions import sine_positions_of
from sleuth.queries.top_k import TopKSource
from sleuth.types.memory import Memory
from sleuth.types.predictions import Proposals


@dataclass(frozen=True)
class PlacedQueries:
    """Decoder input with places.

    Args:
        content: what each query starts with.
        references: where it starts: a point (x, y) or a box (cx, cy, w, h), 0 to 1 over the picture.
        pos: position added to queries; None where the decoder makes it from the places.
        proposals: what the encoder proposed, for two-stage models.
    """

    content: Float[Tensor, "batch queries dim"]
    references: Float[Tensor, "batch queries coordinates"]
    pos: Float[Tensor, "batch queries dim"] | None = None
    proposals: Proposals | None = None


class LearnedPlaces(nn.Module):
    """Learned queries: content and position, and a point that is read off the position.

    Args:
        num_queries: how many objects a picture may have at most.
        dim: embedding size.

    Source: Zhu et al. 2021, section 4.1, "reference points".
    """

    def __init__(self, *, num_queries: int, dim: int) -> None:
        super().__init__()
        # Position, then content, as in the original.
        self.weight = nn.Parameter(torch.empty(num_queries, 2 * dim))
        self.place = nn.Linear(dim, 2)
        nn.init.normal_(self.weight)
        nn.init.xavier_uniform_(self.place.weight)
        nn.init.zeros_(self.place.bias)

    def forward(self, memory: Memory) -> PlacedQueries:
        """The same queries for each picture of the batch."""
        pos, content = (part.expand(len(memory.tokens), -1, -1) for part in self.weight.chunk(2, dim=1))
        return PlacedQueries(content=content, pos=pos, references=self.place(pos).sigmoid())


class PlacePositions(nn.Module):
    """Position and content of queries from the boxes that were proposed.

    Args:
        dim: embedding size.

    Source: Zhu et al. 2021, appendix A.4.
    """

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(2 * dim, 2 * dim)
        self.norm = nn.LayerNorm(2 * dim)
        nn.init.xavier_uniform_(self.proj.weight)

    def forward(
        self, boxes_cxcywh: Float[Tensor, "batch queries 4"]
    ) -> tuple[Float[Tensor, "batch queries dim"], Float[Tensor, "batch queries dim"]]:
        """Position, then content."""
        sines = sine_positions_of(boxes_cxcywh, self.proj.in_features // 4)
        pos, content = self.norm(self.proj(sines)).chunk(2, dim=-1)
        return pos, content


class ProposedPlaces(nn.Module):
    """Two-stage queries: they start at the encoder's best proposals.

    Args:
        source: what proposes.
        positions: makes position and content of the proposed boxes; None leaves the content to ``source`` and the
            position to the decoder.
        supervise_all: while training, the proposals that pay are those of all tokens, rather than those picked.

    Source: Zhu et al. 2021, appendix A.4; Zhang et al. 2023, section 3.4.
    """

    def __init__(
        self, *, source: TopKSource, positions: PlacePositions | None = None, supervise_all: bool = False
    ) -> None:
        super().__init__()
        self.source = source
        self.positions = positions
        self.supervise_all = supervise_all

    def forward(self, memory: Memory) -> PlacedQueries:
        """The best tokens of each picture; gradients reach them through what they propose alone."""
        every = self.supervise_all and self.training
        picked = self.source(memory.tokens, memory.grids_hw, memory.valid, every=every)
        logits, boxes = (picked.logits, picked.references) if picked.every is None else picked.every
        references = picked.references.detach().sigmoid()
        pos, content = (None, picked.content) if self.positions is None else self.positions(references)
        return PlacedQueries(
            content=content,
            pos=pos,
            references=references,
            proposals=Proposals(
                logits=logits, boxes_cxcywh=boxes.sigmoid(), class_agnostic=self.source.rank_by == "first"
            ),
        )
