"""Deformable attention: each query looks at a few points around its reference, on every level of a feature pyramid.

`MultiScaleDeformableAttention` predicts where to look and how much each point counts, and hands
``(value, grids, locations, weights)`` to a *core*. The cores here are plain PyTorch: `sampled_attention` by bilinear
grid sampling, `gathered_attention` by indexing alone, for engines that know no grid sampling, and
`discrete_attention`, which takes the nearest cell. All give what they give on any device.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sleuth.nn.deformable_fastest import fastest_attention

Grids = tuple[tuple[int, int], ...]
DeformableCore = Callable[[Tensor, Grids, Tensor, Tensor, tuple[int, ...]], Tensor]
"""(value, grids_hw, locations, weights, num_points) to what each query brings home, as in `sampled_attention`."""


def sampled_attention(
    value: Float[Tensor, "batch tokens heads head_dim"],
    grids_hw: Grids,
    locations: Float[Tensor, "batch queries heads points 2"],
    weights: Float[Tensor, "batch queries heads points"],
    num_points: tuple[int, ...],
) -> Float[Tensor, "batch queries dim"]:
    """Weighted sum of values at points, read by bilinear interpolation; outside of a level there is zero.

    Args:
        value: tokens, level after level, each level row by row.
        grids_hw: height and width of each level.
        locations: x and y of each point, 0 to 1 over its level's width and height; level after level.
        weights: of each point; they sum to one over the points of a query and head.
        num_points: how many of the points lie on each level.

    Source: Zhu et al. 2021, equation 3.
    """
    batch, _, heads, head_dim = value.shape
    queries = locations.shape[1]
    levels = value.permute(0, 2, 3, 1).flatten(0, 1).split([height * width for height, width in grids_hw], dim=-1)
    at = (2 * locations - 1).transpose(1, 2).flatten(0, 1).split(num_points, dim=2)
    sampled = [
        F.grid_sample(level.unflatten(-1, grid_hw), points, mode="bilinear", align_corners=False)
        for level, grid_hw, points in zip(levels, grids_hw, at, strict=True)
    ]
    weighted = torch.cat(sampled, dim=-1) * weights.transpose(1, 2).flatten(0, 1)[:, None]
    return weighted.sum(-1).view(batch, heads * head_dim, queries).transpose(1, 2)


def gathered_attention(
    value: Float[Tensor, "batch tokens heads head_dim"],
    grids_hw: Grids,
    locations: Float[Tensor, "batch queries heads points 2"],
    weights: Float[Tensor, "batch queries heads points"],
    num_points: tuple[int, ...],
) -> Float[Tensor, "batch queries dim"]:
    """As `sampled_attention`, from gathers and products alone.

    Each point reads the four cells around it, of which those outside of the level count nothing.
    """
    sizes = locations.new_tensor([(width, height) for height, width in grids_hw])
    starts = _starts(grids_hw)
    level = torch.tensor([index for index, count in enumerate(num_points) for _ in range(count)])
    level = level.to(value.device)
    size = sizes[level]
    start = torch.tensor(starts, device=value.device)[level]
    place = locations * size - 0.5
    corner = place.floor()
    part = place - corner
    cells, shares = [], []
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = corner[..., 0] + dx, corner[..., 1] + dy
            inside = (x >= 0) & (x < size[:, 0]) & (y >= 0) & (y < size[:, 1])
            share = (part[..., 0] if dx else 1 - part[..., 0]) * (part[..., 1] if dy else 1 - part[..., 1])
            column = x.clamp(min=0).minimum(size[:, 0] - 1)
            row = y.clamp(min=0).minimum(size[:, 1] - 1)
            cells.append(start + (row * size[:, 0] + column).long())
            shares.append(share * weights * inside)
    return _weighted_cells(value, torch.cat(cells, dim=-1), torch.cat(shares, dim=-1))


def discrete_attention(
    value: Float[Tensor, "batch tokens heads head_dim"],
    grids_hw: Grids,
    locations: Float[Tensor, "batch queries heads points 2"],
    weights: Float[Tensor, "batch queries heads points"],
    num_points: tuple[int, ...],
) -> Float[Tensor, "batch queries dim"]:
    """Weighted sum of the nearest cells, without interpolation; cells outside are moved to the border.

    Places are not differentiable here: a model that is to learn where to look is trained with `sampled_attention`.

    Source: Lv et al. 2024 (RT-DETRv2), section 3.1, "discrete sampling".
    """
    level = torch.tensor([index for index, count in enumerate(num_points) for _ in range(count)])
    size = locations.new_tensor([(width, height) for height, width in grids_hw])[level.to(value.device)]
    start = torch.tensor(_starts(grids_hw), device=value.device)[level.to(value.device)]
    place = (locations * size + 0.5).long()
    limit = size.long() - 1
    column = place[..., 0].clamp(min=0).minimum(limit[:, 0])
    row = place[..., 1].clamp(min=0).minimum(limit[:, 1])
    return _weighted_cells(value, start + row * (limit[:, 0] + 1) + column, weights)


def _starts(grids_hw: Grids) -> list[int]:
    """The first token of each level."""
    starts, total = [], 0
    for height, width in grids_hw:
        starts.append(total)
        total += height * width
    return starts


def _weighted_cells(value: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
    """Sum over points of the value at a cell times a weight; cells and weights are [batch, queries, heads, points]."""
    batch, queries, heads, points = cells.shape
    head_dim = value.shape[-1]
    index = cells.transpose(1, 2).reshape(batch, heads, queries * points, 1).expand(-1, -1, -1, head_dim)
    found = value.transpose(1, 2).gather(2, index).view(batch, heads, queries, points, head_dim)
    weighted = (found * weights.transpose(1, 2)[..., None]).sum(-2)
    return weighted.transpose(1, 2).reshape(batch, queries, heads * head_dim)


class MultiScaleDeformableAttention(nn.Module):
    """Cross-attention to a few learned points of a feature pyramid rather than to every token.

    Args:
        dim: embedding size; a multiple of ``num_heads``.
        num_heads: number of heads.
        num_levels: levels of the pyramid.
        num_points: points of each head on each level: one number for all levels, or one for each.
        core: what reads values at points and sums them.
        projected: project values before and what is brought home after; False leaves both out, as D-FINE does.
        offset_scale: reach of the offsets relative to the reference box; its half by default.

    Source: Zhu et al. 2021, section 4.1.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        num_levels: int,
        num_points: int | Sequence[int] = 4,
        core: DeformableCore = fastest_attention,
        projected: bool = True,
        offset_scale: float = 0.5,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        counts = (num_points,) * num_levels if isinstance(num_points, int) else tuple(num_points)
        if len(counts) != num_levels or min(counts) < 1:
            raise ValueError(f"num_points {num_points} does not give each of {num_levels} levels at least one point")
        self.num_heads = num_heads
        self.num_points = counts
        self.core = core
        self.offset_scale = offset_scale
        self.offsets = nn.Linear(dim, num_heads * sum(counts) * 2)
        self.weights = nn.Linear(dim, num_heads * sum(counts))
        self.value_proj = nn.Linear(dim, dim) if projected else nn.Identity()
        self.out_proj = nn.Linear(dim, dim) if projected else nn.Identity()
        # Of each point: one over the number of points on its level. Made from constants, so no part of the state.
        shares = torch.tensor([1 / count for count in counts for _ in range(count)])
        self.register_buffer("point_scale", shares[:, None], persistent=False)
        levels = torch.tensor([level for level, count in enumerate(counts) for _ in range(count)])
        self.register_buffer("point_level", levels, persistent=False)
        self.reset_parameters()

    point_scale: Tensor
    point_level: Tensor

    def reset_parameters(self) -> None:
        """Each head starts looking in its own direction, its n-th point n steps away, all points counting alike."""
        nn.init.zeros_(self.offsets.weight)
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
        direction = direction / direction.abs().max(-1, keepdim=True).values
        steps = torch.cat([torch.arange(1, count + 1) for count in self.num_points])
        with torch.no_grad():
            self.offsets.bias.copy_((direction[:, None, :] * steps[None, :, None]).flatten())
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        for projection in (self.value_proj, self.out_proj):
            if isinstance(projection, nn.Linear):
                nn.init.xavier_uniform_(projection.weight)
                nn.init.zeros_(projection.bias)

    def forward(
        self,
        queries: Float[Tensor, "batch queries dim"],
        references: Float[Tensor, "batch queries #levels coordinates"],
        tokens: Float[Tensor, "batch tokens dim"],
        grids_hw: Grids,
        valid: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch queries dim"]:
        """Look at points around each query's reference.

        Args:
            queries: what asks, positions included.
            references: for each query a point (x, y) or a box (cx, cy, w, h), 0 to 1 over each level, or one for all.
            tokens: the pyramid, level after level.
            grids_hw: height and width of each level.
            valid: True on tokens of the picture; the others are read as zero.
        """
        value = self.values(tokens, valid)
        return self.attend(queries, references, value, grids_hw)

    def values(
        self, tokens: Float[Tensor, "batch tokens dim"], valid: Bool[Tensor, "batch tokens"] | None = None
    ) -> Float[Tensor, "batch tokens heads head_dim"]:
        """The tokens as this attention reads them."""
        value = self.value_proj(tokens)
        if valid is not None:
            value = value.masked_fill(~valid[..., None], 0.0)
        return value.unflatten(-1, (self.num_heads, -1))

    def attend(
        self,
        queries: Float[Tensor, "batch queries dim"],
        references: Float[Tensor, "batch queries #levels coordinates"],
        value: Float[Tensor, "batch tokens heads head_dim"],
        grids_hw: Grids,
    ) -> Float[Tensor, "batch queries dim"]:
        """As `forward`, for values that are ready."""
        batch, count, _ = queries.shape
        offsets = self.offsets(queries).view(batch, count, self.num_heads, -1, 2)
        weights = self.weights(queries).view(batch, count, self.num_heads, -1).softmax(-1)
        locations = self._locations(references, offsets, grids_hw)
        return self.out_proj(self.core(value, grids_hw, locations, weights, self.num_points))

    def _locations(self, references: Tensor, offsets: Tensor, grids_hw: Grids) -> Tensor:
        """Where each point lies: offsets are in cells around a point, or in parts of a box."""
        at = references if references.shape[2] == 1 else references[:, :, self.point_level]
        at = at[:, :, None]
        if references.shape[-1] == 4:
            return at[..., :2] + offsets * self.point_scale * at[..., 2:] * self.offset_scale
        size = offsets.new_tensor([(width, height) for height, width in grids_hw])[self.point_level]
        return at + offsets / size
