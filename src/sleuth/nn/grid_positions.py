"""Where a patch is: a vector for each cell of a grid of any size, learned or sine."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.positions import resize_positions_2d, sine_positions_grid

Resizing = Literal["antialiased", "plain", "offset"]
"""How learned positions become those of another grid. All are bicubic: antialiased where it shrinks, as in timm; plain,
as in Hugging Face's library; or plain with cells spaced as if there were a tenth of a cell more, as in DINOv2."""

OFFSET = 0.1


class LearnedGridPositions(nn.Module):
    """One learned vector for each cell of a grid, row by row, and for some of the tokens before it.

    Args:
        grid_hw: rows and columns of the grid that is learned.
        dim: embedding size.
        prefix: how many of the tokens before the grid have a position, too.
        resizing: how positions for another grid are made of these.

    Source: Dosovitskiy et al. 2021, appendix D.4; resizing in the code of timm, of Hugging Face's library and of
    DINOv2.
    """

    def __init__(self, *, grid_hw: tuple[int, int], dim: int, prefix: int, resizing: Resizing = "antialiased") -> None:
        super().__init__()
        self.grid_hw = grid_hw
        self.prefix = prefix
        self.resizing = resizing
        self.table = nn.Parameter(torch.empty(1, prefix + grid_hw[0] * grid_hw[1], dim))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, grid_hw: tuple[int, int]) -> Float[Tensor, "positions dim"]:
        """Positions of the prefix, then of a grid of this size."""
        return resize_positions_2d(
            self.table[0],
            self.grid_hw,
            grid_hw,
            prefix=self.prefix,
            antialias=self.resizing == "antialiased",
            offset=OFFSET if self.resizing == "offset" else 0.0,
        )


class SineGridPositions(nn.Module):
    """2-D sine positions, counted in cells; tokens before the grid have none. No parameters.

    Args:
        dim: embedding size; a multiple of 4.

    Source: Chen et al. 2021, "MoCo v3", section 4.1 (the channels' order is that of `sine_positions_grid`).
    """

    prefix = 0
    like: Tensor

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("like", torch.empty(0), persistent=False)  # says where and in which type

    def forward(self, grid_hw: tuple[int, int]) -> Float[Tensor, "positions dim"]:
        """Positions of a grid of this size."""
        return sine_positions_grid(grid_hw, self.dim).to(self.like)


class NoGridPositions(nn.Module):
    """No positions, for models that rotate queries and keys, or that see a picture as a bag of patches.

    Args:
        dim: embedding size.
    """

    prefix = 0
    zero: Tensor

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("zero", torch.zeros(1, 1), persistent=False)

    def forward(self, grid_hw: tuple[int, int]) -> Float[Tensor, "positions dim"]:
        """Zeros."""
        return self.zero.expand(grid_hw[0] * grid_hw[1], self.dim)
