"""Deformable attention as weighted bags of tokens: the fast exact form on the processor.

Bilinear sampling reads four tokens around each point, so the answer of one query and head is a weighted sum of four
tokens a point: a *bag*. PyTorch sums bags in one kernel (`torch.nn.functional.embedding_bag`), without a tensor of
samples. Seen as a sparse matrix of shares, [bags, tokens], the three gradients are sparse products as well.

The value's gradient is SciPy's product, which runs on one core.
"""

import functools
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy import sparse
from torch import Tensor
from torch.autograd.function import once_differentiable

_CORNERS = 4


def bagged_attention(
    value: Float[Tensor, "batch tokens heads head_dim"],
    grids_hw: tuple[tuple[int, int], ...],
    locations: Float[Tensor, "batch queries heads points 2"],
    weights: Float[Tensor, "batch queries heads points"],
    num_points: tuple[int, ...],
) -> Float[Tensor, "batch queries dim"]:
    """Deformable attention on the processor, exact as bilinear sampling of each level with zeros outside.

    Half precision is computed in float32.

    Args:
        value: projected tokens, level after level, each level row by row.
        grids_hw: height and width of each level.
        locations: (x, y) of each point, 0 to 1 over its level's grid; points level after level.
        weights: share of each point.
        num_points: points of each level.

    Raises:
        ValueError: tensors that are not on the processor, or sizes that disagree.
    """
    if value.device.type != "cpu":
        raise ValueError(f"bagged_attention runs on the processor, and the value is on {value.device}")
    if value.shape[1] != sum(height * width for height, width in grids_hw):
        raise ValueError(f"{value.shape[1]} tokens do not fill the grids {grids_hw}")
    if len(num_points) != len(grids_hw) or locations.shape[-2] != sum(num_points):
        raise ValueError(f"{locations.shape[-2]} points are not {num_points} on {len(grids_hw)} levels")
    dtype = torch.promote_types(value.dtype, torch.float32)
    points = _Points.of(grids_hw, num_points, dtype)
    return _Bagged.apply(value.to(dtype), locations.to(dtype), weights.to(dtype), points).to(value.dtype)


class _Points(NamedTuple):
    """The grid of each point's level, a row a point."""

    size: Tensor  # [2, points]: width and height
    last: Tensor  # [2, points]: the highest column and row that have a neighbour after them, or 0
    step: Tensor  # [2, points]: tokens from one column, and one row, to the next; 0 where there is one only
    start: Tensor  # [points]: first token of the level

    @staticmethod
    def of(grids_hw: tuple[tuple[int, int], ...], num_points: tuple[int, ...], dtype: torch.dtype) -> "_Points":
        height, width = torch.tensor(grids_hw).T
        size = torch.stack((width, height))
        step = torch.stack((torch.ones_like(width), width)) * (size > 1)
        start = (height * width).cumsum(0) - height * width
        size, step, start = (x.repeat_interleave(torch.tensor(num_points), dim=-1) for x in (size, step, start))
        return _Points(size.to(dtype), (size - 2).clamp(min=0).to(dtype), step, start)


def _lower_pixel(position: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """The pixel before a position, held so that the next is on the grid too, and the position less that pixel."""
    lower = torch.minimum(position.floor().clamp_(min=0), last)
    offset = position - lower
    return lower.nan_to_num_(0), offset


def _shares(offset: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Of the lower and the next pixel, by linear interpolation: a hat around each pixel, so zeros outside the grid."""
    lower = (1 - offset.abs()).clamp_(min=0)
    upper = (1 - (offset - 1).abs_()).clamp_(min=0)
    return lower, _without_neighbour(upper, size)


def _without_neighbour(upper: Tensor, size: Tensor) -> Tensor:
    """On a grid of one column or row there is no next pixel."""
    alone = size == 1
    return upper.masked_fill_(alone, 0) if alone.any() else upper


def _slopes(offset: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """What a step to the right or down adds to the two shares; on a pixel, the slope behind it, as in grid_sample."""
    between = ((offset >= 0) & (offset < 1)).to(offset.dtype)
    lower = ((offset >= -1) & (offset < 0)).to(offset.dtype) - between
    upper = between.sub_(((offset >= 1) & (offset < 2)).to(offset.dtype))
    return lower, _without_neighbour(upper, size)


def _tokens(column: Tensor, row: Tensor, points: _Points, num_tokens: int) -> Tensor:
    """Where the four corners of each point lie in the table of all pictures' tokens and heads: [bags, 4 a point]."""
    batch, queries, heads, count = column.shape
    largest = max(batch * num_tokens * heads, column.numel() * _CORNERS)
    kind = torch.int32 if largest < 2**31 else torch.int64
    right, down = points.step.to(kind) * heads
    # The width of a level, not the step: on a grid of one row the row is 0.
    first = row.to(kind).mul_(points.size[0].to(kind)).add_(column.to(kind)).add_(points.start.to(kind)).mul_(heads)
    picture = torch.arange(batch, dtype=kind).mul_(num_tokens * heads)[:, None, None, None]
    first += picture + torch.arange(heads, dtype=kind)[:, None]
    corners = column.new_empty((*column.shape, _CORNERS), dtype=kind)
    for corner, step in enumerate((torch.zeros_like(right), right, down, right + down)):
        torch.add(first, step, out=corners[..., corner])
    return corners.view(batch * queries * heads, count * _CORNERS)


class _Bagged(torch.autograd.Function):
    """Sums of bags, with gradients for value, locations and weights."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, locations: Tensor, weights: Tensor, points: _Points) -> Tensor:
        batch, num_tokens, heads, head_dim = value.shape
        width, height = points.size
        column, x = _lower_pixel((locations[..., 0] * width).sub_(0.5), points.last[0])
        row, y = _lower_pixel((locations[..., 1] * height).sub_(0.5), points.last[1])
        tokens = _tokens(column, row, points, num_tokens)
        (left, right), (top, bottom) = _shares(x, width), _shares(y, height)
        top, bottom = top.mul_(weights), bottom.mul_(weights)
        shares = value.new_empty((*weights.shape, _CORNERS))
        for corner, (across, along) in enumerate(((top, left), (top, right), (bottom, left), (bottom, right))):
            torch.mul(across, along, out=shares[..., corner])
        shares = shares.view(tokens.shape)
        ctx.points = points
        ctx.save_for_backward(value, weights, x, y, tokens, shares)
        bags = F.embedding_bag(tokens, value.reshape(-1, head_dim), mode="sum", per_sample_weights=shares)
        return bags.view(batch, -1, heads * head_dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        value, weights, x, y, tokens, shares = ctx.saved_tensors
        head_dim = value.shape[-1]
        grad = grad.reshape(-1, head_dim)
        ends = torch.arange(0, tokens.numel() + 1, tokens.shape[1], dtype=tokens.dtype)
        grad_value = grad_locations = grad_weights = None
        if ctx.needs_input_grad[0]:
            # The columns of the transposed matrix of shares are the bags, as they lie.
            parts = (shares.view(-1).numpy(), tokens.view(-1).numpy(), ends.numpy())
            transposed = sparse.csc_array(parts, shape=(value.numel() // head_dim, len(tokens)))
            grad_value = torch.from_numpy(np.asarray(transposed @ grad.numpy())).view_as(value)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            answers = _dot_products(grad, value.reshape(-1, head_dim), tokens, ends)
            grad_locations, grad_weights = _point_gradients(answers, weights, x, y, ctx.points)
        return grad_value, grad_locations, grad_weights, None


def _dot_products(grad: Tensor, table: Tensor, tokens: Tensor, ends: Tensor) -> Tensor:
    """Each bag's gradient times each of its tokens, [bags, tokens a bag]: a product where a sparse matrix is filled."""
    _hear_that_sparse_is_beta()
    bags, count = tokens.shape
    places = torch.sparse_csr_tensor(
        ends, tokens.view(-1), table.new_zeros(tokens.numel()), (bags, len(table)), check_invariants=False
    )
    return torch.sparse.sampled_addmm(places, grad, table.T).values().view(bags, count)


@functools.cache
def _hear_that_sparse_is_beta() -> None:
    """PyTorch says so once a process, at the first matrix; nobody who trains a detector needs to read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), (1, 1))


def _point_gradients(answers: Tensor, weights: Tensor, x: Tensor, y: Tensor, points: _Points) -> tuple[Tensor, Tensor]:
    """Gradients of locations and weights from those of the four corners' shares."""
    width, height = points.size
    (left, right), (top, bottom) = _shares(x, width), _shares(y, height)
    to_left, to_right = _slopes(x, width)
    to_top, to_bottom = _slopes(y, height)
    top_left, top_right, bottom_left, bottom_right = answers.view(*weights.shape, _CORNERS).movedim(-1, 0).contiguous()
    upper = (top_left * left).addcmul_(top_right, right)
    lower = (bottom_left * left).addcmul_(bottom_right, right)
    grad_weights = (upper * top).addcmul_(lower, bottom)
    grad_y = upper.mul_(to_top).addcmul_(lower, to_bottom).mul_(weights).mul_(height)
    upper = top_left.mul_(to_left).addcmul_(top_right, to_right)
    lower = bottom_left.mul_(to_left).addcmul_(bottom_right, to_right)
    grad_x = upper.mul_(top).addcmul_(lower, bottom).mul_(weights).mul_(width)
    return torch.stack((grad_x, grad_y), dim=-1), grad_weights
