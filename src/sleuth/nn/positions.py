"""Where a token is: sine and learned positions in one and two dimensions, and learned ones moved to another grid."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


def _interleaved_sine(steps: Float[Tensor, "*shape"], dim: int, temperature: float) -> Float[Tensor, "*shape {dim}"]:
    """Sine in the even channels, cosine in the odd, at wavelengths from 2 pi to 2 pi * temperature."""
    channel = torch.arange(dim, dtype=torch.float32, device=steps.device)
    wavelength = temperature ** (2 * torch.div(channel, 2, rounding_mode="floor") / dim)
    angle = steps[..., None] / wavelength
    return torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), dim=-1).flatten(-2)


def sine_positions_1d(length: int, dim: int, *, temperature: float = 10_000.0) -> Float[Tensor, "length dim"]:
    """Sine positions of a sentence: PE(pos, 2i) = sin(pos / temperature^(2i/dim)), PE(pos, 2i+1) the cosine.

    Args:
        length: number of positions, counted from 0.
        dim: embedding size; even.
        temperature: the longest wavelength over 2 pi.

    Source: Vaswani et al. 2017, section 3.5.
    """
    if dim % 2:
        raise ValueError(f"sine positions need an even dim, not {dim}")
    return _interleaved_sine(torch.arange(length, dtype=torch.float32), dim, temperature)


def sine_positions_2d(
    valid: Bool[Tensor, "batch height width"],
    dim: int,
    *,
    temperature: float = 10_000.0,
    scale: float = 2 * math.pi,
    offset: float = 0.0,
) -> Float[Tensor, "batch height width dim"]:
    """DETR's 2-D sine positions: the first half of the channels tells y, the second x.

    Rows and columns are counted over the valid cells alone and normalised to 0..``scale``, so a picture keeps its
    positions however much padding its batch adds.

    Args:
        valid: True on cells of the picture.
        dim: embedding size; a multiple of 4.
        temperature: 10,000 in DETR, 20 in DINO.
        scale: the greatest angle, 2 pi.
        offset: added to the count before normalising; 0 in DETR, -0.5 in Deformable DETR.

    Source: Carion et al. 2020, appendix A.4; Parmar et al. 2018. eps is 1e-6 as in the original code.
    """
    if dim % 4:
        raise ValueError(f"2-D sine positions need a dim that is a multiple of 4, not {dim}")
    count = valid.to(torch.float32)
    y, x = count.cumsum(1), count.cumsum(2)
    y = (y + offset) / (y[:, -1:, :] + 1e-6) * scale
    x = (x + offset) / (x[:, :, -1:] + 1e-6) * scale
    half = dim // 2
    return torch.cat((_interleaved_sine(y, half, temperature), _interleaved_sine(x, half, temperature)), dim=-1)


class SinePositions2d(nn.Module):
    """`sine_positions_2d` as a module without parameters."""

    def __init__(self, *, dim: int, temperature: float = 10_000.0, offset: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.temperature = temperature
        self.offset = offset

    def forward(self, valid: Bool[Tensor, "batch height width"]) -> Float[Tensor, "batch height width dim"]:
        """Positions of a padded grid."""
        return sine_positions_2d(valid, self.dim, temperature=self.temperature, offset=self.offset)


GridOrder = Literal["rows", "original"]


def sine_positions_grid(
    size_hw: tuple[int, int], dim: int, *, temperature: float = 10_000.0, order: GridOrder = "rows"
) -> Float[Tensor, "tokens dim"]:
    """RT-DETR's sine positions of an unpadded grid: sine and cosine of y, then of x, counted in cells from 0.

    Args:
        size_hw: height and width of the grid.
        dim: embedding size; a multiple of 4.
        temperature: the longest wavelength over 2 pi.
        order: rows: row by row, as tokens go. original: column by column and x before y, as the original code has it;
            the same on squares, and on others each token gets the position of another.

    Source: Zhao et al. 2023, through its code.
    """
    if dim % 4:
        raise ValueError(f"2-D sine positions need a dim that is a multiple of 4, not {dim}")
    outer, inner = size_hw if order == "rows" else reversed(size_hw)
    quarter = dim // 4
    # In float64, as angles reach the length of the grid and float32 loses what its sine needs.
    frequency = temperature ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    slow, fast = (torch.arange(length, dtype=torch.float64)[:, None] * frequency for length in (outer, inner))
    slow_parts = torch.cat((slow.sin(), slow.cos()), dim=1)[:, None].expand(-1, inner, -1)
    fast_parts = torch.cat((fast.sin(), fast.cos()), dim=1)[None].expand(outer, -1, -1)
    return torch.cat((slow_parts, fast_parts), dim=2).flatten(0, 1).float()


def sine_positions_of(
    numbers: Float[Tensor, "*shape numbers"], dim: int, *, temperature: float = 10_000.0
) -> Float[Tensor, "*shape channels"]:
    """Sine positions of numbers from 0 to 1, such as those of a box: ``dim`` channels for each, one after another.

    Args:
        numbers: 0 to 1; one is an angle of 2 pi.
        dim: channels of each number; even.
        temperature: the longest wavelength over 2 pi.

    Source: Zhu et al. 2021 (queries of proposals), Liu et al. 2022, "DAB-DETR", section 4.2; in their code.
    """
    return _interleaved_sine(numbers.float() * (2 * math.pi), dim, temperature).flatten(-2).to(numbers.dtype)


class LearnedPositions1d(nn.Module):
    """One learned vector for each place in a sequence.

    Args:
        length: the most places.
        dim: embedding size.
    """

    def __init__(self, *, length: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(length, dim))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, length: int) -> Float[Tensor, "{length} dim"]:
        """Positions of the first ``length`` places.

        Raises:
            ValueError: the sequence is longer than the table; resize it with `resize_positions_1d`.
        """
        if length > len(self.weight):
            raise ValueError(f"{length} places, but positions were learned for {len(self.weight)}")
        return self.weight[:length]


class LearnedPositions2d(nn.Module):
    """DETR's learned positions: a vector for each column and one for each row, side by side.

    Args:
        dim: embedding size; even. The first half tells x, the second y.
        rows: the most rows of the grid.
        columns: the most columns.

    Source: Carion et al. 2020, table 3, "learned".
    """

    def __init__(self, *, dim: int, rows: int = 50, columns: int = 50) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.empty(rows, dim // 2))
        self.column = nn.Parameter(torch.empty(columns, dim // 2))
        nn.init.uniform_(self.row)
        nn.init.uniform_(self.column)

    def forward(self, valid: Bool[Tensor, "batch height width"]) -> Float[Tensor, "batch height width dim"]:
        """Positions of a grid of the mask's size; a grid larger than the table reads a resized table."""
        batch, height, width = valid.shape
        row, column = _fitting(self.row, height), _fitting(self.column, width)
        x = column[None, :, :].expand(height, -1, -1)
        y = row[:, None, :].expand(-1, width, -1)
        return torch.cat((x, y), dim=-1).expand(batch, -1, -1, -1)


def _fitting(table: Float[Tensor, "rows dim"], length: int) -> Float[Tensor, "{length} dim"]:
    return table[:length] if length <= len(table) else resize_positions_1d(table, length)


def resize_positions_1d(table: Float[Tensor, "old dim"], length: int) -> Float[Tensor, "{length} dim"]:
    """Learned 1-D positions for another length, by linear interpolation."""
    if length == len(table):
        return table
    return F.interpolate(table.T[None], size=length, mode="linear", align_corners=False)[0].T


def resize_positions_2d(
    table: Float[Tensor, "tokens dim"],
    old_hw: tuple[int, int],
    new_hw: tuple[int, int],
    *,
    prefix: int = 0,
    antialias: bool = False,
    offset: float = 0.0,
) -> Float[Tensor, "new_tokens dim"]:
    """Learned positions of a grid for another grid, by bicubic interpolation.

    Args:
        table: one vector for each of ``prefix`` extra tokens (class token, registers), then row by row of the grid.
        old_hw: the grid that was learned.
        new_hw: the grid that is wanted.
        prefix: leading vectors that stay as they are.
        antialias: smooth when shrinking, as timm does.
        offset: where it is not 0, cells are spaced as if the new grid had so much of a cell more, as in DINOv2 (0.1).

    Raises:
        ValueError: the table does not hold prefix + height * width vectors.
    """
    if len(table) != prefix + old_hw[0] * old_hw[1]:
        raise ValueError(f"{len(table)} positions do not make {prefix} extra tokens and a grid of {old_hw}")
    if old_hw == new_hw:
        return table
    extra, grid = table[:prefix], table[prefix:]
    # In float32, as bicubic weights of half precision move positions.
    grid = grid.float().reshape(1, *old_hw, -1).permute(0, 3, 1, 2)
    if offset:
        scale = [(new + offset) / old for new, old in zip(new_hw, old_hw, strict=True)]
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False, antialias=antialias)
    else:
        grid = F.interpolate(grid, size=new_hw, mode="bicubic", align_corners=False, antialias=antialias)
    return torch.cat((extra, grid[0].flatten(1).T.to(table.dtype)), dim=0)
