"""Learned object queries: the detectives that each picture meets anew."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.types.memory import Memory
from sleuth.types.predictions import Queries


class LearnedQueries(nn.Module):
    """DETR's object queries: learned positions; the content starts at zero.

    Args:
        num_queries: how many objects a picture may have at most.
        dim: embedding size.

    Source: Carion et al. 2020, section 3.2.
    """

    def __init__(self, *, num_queries: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_queries, dim))
        nn.init.normal_(self.weight)

    def forward(self, memory: Memory) -> Queries:
        """The same queries for each picture of the batch."""
        pos: Float[Tensor, "batch queries dim"] = self.weight.expand(len(memory.tokens), -1, -1)
        return Queries(content=torch.zeros_like(pos), pos=pos)
