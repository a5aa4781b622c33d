"""Rotary positions: queries and keys are turned by where they are, so that their product tells the distance."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Rotation(NamedTuple):
    """Cosine and sine of the angle by which each pair of channels of each token is turned.

    Args:
        cos: a pair has the same value twice, in channels 2i and 2i + 1.
        sin: likewise.
    """

    cos: Float[Tensor, "#batch 1 tokens head_dim"]
    sin: Float[Tensor, "#batch 1 tokens head_dim"]


def rotary_2d(
    size_hw: tuple[int, int], head_dim: int, *, prefix: int = 0, temperature: float = 100.0
) -> Float[Tensor, "2 tokens head_dim"]:
    """Cosines and sines for a grid: the first half of the channels turns by the row, the second by the column.

    Args:
        size_hw: rows and columns, counted from 0.
        head_dim: channels of a head; a multiple of 4.
        prefix: leading tokens that lie nowhere and are not turned.
        temperature: the longest wavelength over 2 pi, in cells.

    Raises:
        ValueError: the channels do not part into pairs of rows and pairs of columns.

    Source: Su et al. 2021, "RoFormer", equation 34; in two dimensions Heo et al. 2024, "Rotary Position Embedding for
    Vision Transformer", section 3.2 (axial frequencies).

    >>> rotary_2d((3, 5), 8, prefix=1).shape
    torch.Size([2, 16, 8])
    """
    if head_dim % 4:
        raise ValueError(f"2-D rotary positions need heads of a multiple of 4 channels, not {head_dim}")
    pairs = head_dim // 4
    frequency = temperature ** -(torch.arange(pairs, dtype=torch.float32) / pairs)
    y, x = (torch.arange(length, dtype=torch.float32)[:, None] * frequency for length in size_hw)
    height, width = size_hw
    angle = torch.cat((y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)), dim=-1).flatten(0, 1)
    angle = torch.cat((angle.new_zeros(prefix, 2 * pairs), angle)).repeat_interleave(2, dim=-1)
    return torch.stack((angle.cos(), angle.sin()))


def rotated(
    x: Float[Tensor, "batch heads tokens head_dim"], rotation: Rotation
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Queries or keys turned: (a, b) becomes (a cos - b sin, a sin + b cos) in each pair of channels."""
    turned = torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)
    return x * rotation.cos + turned * rotation.sin
