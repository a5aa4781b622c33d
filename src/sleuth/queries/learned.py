"""Learned object queries: the detectives that each picture meets anew."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.positions import sine_positions_2d
from sleuth.types import Memory, Queries


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

    def spread(self) -> None:
        """Start each query at a place of its own: the sine position of a point on an even grid over the picture.

        Nothing of the architecture changes: these are the values that training starts from. Published queries end
        up with places of their own as well (Carion et al. 2020, figure 7); starting there saves them the search.
        """
        num_queries, dim = self.weight.shape
        columns = math.ceil(math.sqrt(num_queries))
        rows = math.ceil(num_queries / columns)
        fine = 8
        grid = sine_positions_2d(torch.ones(1, rows * fine, columns * fine, dtype=torch.bool), dim)[0]
        centres = grid[fine // 2 :: fine, fine // 2 :: fine].flatten(0, 1)
        with torch.no_grad():
            self.weight.copy_(centres[:num_queries])

    def forward(self, memory: Memory) -> Queries:
        """The same queries for each picture of the batch."""
        pos: Float[Tensor, "batch queries dim"] = self.weight.expand(len(memory.tokens), -1, -1)
        return Queries(content=torch.zeros_like(pos), pos=pos)
