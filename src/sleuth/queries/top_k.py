"""Queries from the picture itself: the tokens that look most like objects (two-stage)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sleuth.nn.deformable import Grids
from sleuth.queries.anchors import grid_anchors


@dataclass(frozen=True)
class TopKQueries:
    """Queries that were picked from a memory.

    Args:
        content: what each query starts with.
        references: where it starts, as logits of cx, cy, w, h; with gradients.
        logits: class logits of its token.
        tokens: which token it is.
        every: logits and references of every token, where they are asked for.
    """

    content: Float[Tensor, "batch queries dim"]
    references: Float[Tensor, "batch queries 4"]
    logits: Float[Tensor, "batch queries classes"]
    tokens: Int[Tensor, "batch queries"]
    every: tuple[Float[Tensor, "batch tokens classes"], Float[Tensor, "batch tokens 4"]] | None = None


class TopKSource(nn.Module):
    """Scores every token of the memory and makes queries of the best.

    Args:
        dim: embedding size.
        num_queries: how many tokens are picked.
        class_head: class logits of a token.
        box_head: how a token's anchor is to move, as logits.
        content: ``memory`` takes the picked tokens as content, without gradient; ``learned`` takes learned vectors, so
            that only the places come from the picture (mixed selection).
        rank_by: the greatest class of a token; its first alone, which then means object; or each class for itself, so
            that a token may be picked several times.
        anchor_side: side of an anchor on the finest level.

    Source: Zhu et al. 2021, appendix A.4; Zhang et al. 2023, section 3.4 (mixed selection); Zhao et al. 2024 (RT-DETR).
    """

    def __init__(
        self,
        *,
        dim: int,
        num_queries: int,
        class_head: nn.Module,
        box_head: nn.Module,
        content: Literal["memory", "learned"] = "memory",
        rank_by: Literal["greatest", "first", "each"] = "greatest",
        anchor_side: float = 0.05,
    ) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.proj = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.class_head = class_head
        self.box_head = box_head
        self.rank_by = rank_by
        self.anchor_side = anchor_side
        self.content = nn.Parameter(torch.empty(num_queries, dim)) if content == "learned" else None
        if self.content is not None:
            nn.init.normal_(self.content)
        nn.init.xavier_uniform_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        grids_hw: Grids,
        valid: Bool[Tensor, "batch tokens"] | None = None,
        *,
        every: bool = False,
    ) -> TopKQueries:
        """Pick the queries of each picture; a picture with fewer tokens gives fewer.

        Tokens that may not be proposed are read as zero: they share one score, and come last in practice.

        Args:
            tokens: the memory, level after level.
            grids_hw: height and width of each level.
            valid: True on tokens of the picture; None where there is no padding.
            every: also give logits and references of every token.
        """
        anchors, usable = grid_anchors(grids_hw, valid=valid, device=tokens.device, side=self.anchor_side)
        seen = self.norm(self.proj(tokens.masked_fill(~usable[..., None], 0.0)))
        logits = self.class_head(seen)
        picked = self._pick_tokens(logits)
        content = _pick(seen, picked)
        # The box head reads the picked tokens alone: on all of them it would say the same of these.
        references = self.box_head(content) + _pick(anchors.expand(len(tokens), -1, -1), picked)
        if self.content is not None:
            content = self.content[: picked.shape[1]].expand(len(tokens), -1, -1)
        else:
            content = content.detach()
        return TopKQueries(
            content=content,
            references=references,
            logits=_pick(logits, picked),
            tokens=picked,
            every=(logits, self.box_head(seen) + anchors) if every else None,
        )

    def _pick_tokens(self, logits: Tensor) -> Tensor:
        count = min(self.num_queries, logits.shape[1])
        if self.rank_by == "each":
            return logits.flatten(1).topk(count, dim=1).indices // logits.shape[-1]
        rank = logits.max(-1).values if self.rank_by == "greatest" else logits[..., 0]
        return rank.topk(count, dim=1).indices


def _pick(values: Tensor, tokens: Tensor) -> Tensor:
    return values.gather(1, tokens[..., None].expand(-1, -1, values.shape[-1]))
