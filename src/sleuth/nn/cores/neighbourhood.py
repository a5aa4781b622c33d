"""Local attention in a picture: each patch looks at the patches around it."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sleuth.nn.attention import attention_weights, fused_attention
from sleuth.types.memory import TokenGrid


def neighbourhood_mask(
    grid: TokenGrid, radius: int, device: torch.device | None = None
) -> Bool[Tensor, "1 1 tokens tokens"]:
    """True for patches at most ``radius`` rows and columns apart; prefix tokens see all and are seen by all.

    >>> neighbourhood_mask(TokenGrid(1, 4), 1)[0, 0].int().tolist()
    [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]
    """
    rows, columns = (torch.arange(length, device=device) for length in (grid.height, grid.width))
    near_rows = (rows[:, None] - rows[None]).abs() <= radius
    near_columns = (columns[:, None] - columns[None]).abs() <= radius
    near = (near_rows[:, None, :, None] & near_columns[None, :, None, :]).flatten(2, 3).flatten(0, 1)
    return F.pad(near, (grid.prefix, 0, grid.prefix, 0), value=True)[None, None]


@dataclass(frozen=True)
class NeighbourhoodAttention:
    """Softmax attention over the patches at most ``radius`` rows and columns away, and over the prefix tokens.

    The patches of a row look together at the 2 radius + 1 rows around them, and a mask hides columns that are too far.
    Prefix tokens (class token, registers) look at everything. Without a grid, or with a mask that differs from query to
    query, the mask is all there is, at the cost of a softmax over all keys; so packed pictures bring their
    neighbourhoods in the mask.

    Cost, for h rows of w patches (n = h w): n (2 radius + 1) w d in time and memory, which is n^1.5 for squares.

    Args:
        radius: rows and columns to either side.
        grid: how the tokens lie; `on` sets it.

    Source: Ramachandran et al. 2019, "Stand-Alone Self-Attention in Vision Models", section 3; at the border the
    neighbourhood is smaller.
    """

    radius: int
    grid: TokenGrid | None = None

    def on(self, grid: TokenGrid) -> "NeighbourhoodAttention":
        """The same on a grid."""
        return replace(self, grid=grid)

    def weights(
        self,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        attend: Bool[Tensor, "#batch #heads #tokens tokens"] | None = None,
    ) -> Float[Tensor, "batch heads tokens tokens"]:
        """Who looks where, zeros outside the neighbourhood among it."""
        return attention_weights(q, k, self._whole_mask(attend, q.device))

    def __call__(
        self,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        v: Float[Tensor, "batch heads tokens head_dim"],
        attend: Bool[Tensor, "#batch #heads #tokens tokens"] | None = None,
        dropout: float = 0.0,
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        """The attended values."""
        grid = self.grid
        if grid is None or (attend is not None and attend.shape[-2] > 1) or grid.height <= 2 * self.radius + 1:
            return fused_attention(q, k, v, self._whole_mask(attend, q.device), dropout)
        height, width, prefix = grid
        batch = len(q)
        band = 2 * self.radius + 1

        def around(x: Tensor) -> Tensor:
            """For each row the prefix and the rows around it: [batch * height, heads, keys, head_dim]."""
            rows = F.pad(x[:, :, prefix:].unflatten(2, (height, width)), (0, 0, 0, 0, self.radius, self.radius))
            rows = rows.unfold(2, band, 1).permute(0, 2, 1, 5, 3, 4).flatten(3, 4)
            first = x[:, None, :, :prefix].expand(-1, height, -1, -1, -1)
            return torch.cat((first, rows), dim=3).flatten(0, 1)

        mask = self._band_mask(grid, attend, q.device).expand(batch, -1, -1, -1, -1).flatten(0, 1)
        queries = q[:, :, prefix:].unflatten(2, (height, width)).transpose(1, 2).flatten(0, 1)
        attended = fused_attention(queries, around(k), around(v), mask, dropout)
        attended = attended.unflatten(0, (batch, height)).transpose(1, 2).flatten(2, 3)
        if prefix == 0:
            return attended
        return torch.cat((fused_attention(q[:, :, :prefix], k, v, attend, dropout), attended), dim=2)

    def _whole_mask(self, attend: Tensor | None, device: torch.device) -> Tensor | None:
        if self.grid is None:
            return attend
        mask = neighbourhood_mask(self.grid, self.radius, device)
        return mask if attend is None else mask & attend

    def _band_mask(self, grid: TokenGrid, attend: Tensor | None, device: torch.device) -> Tensor:
        """[batch or 1, height, heads or 1, width, prefix + band * width]: which of its band a patch may look at."""
        height, width, prefix = grid
        band = 2 * self.radius + 1
        columns = torch.arange(width, device=device)
        near = (columns[:, None] - columns[None]).abs() <= self.radius
        row = torch.arange(height, device=device)[:, None] + torch.arange(band, device=device)[None] - self.radius
        exists = (row >= 0) & (row < height)
        mask = (exists[:, None, :, None] & near[None, :, None, :]).flatten(2)[None, :, None]
        mask = F.pad(mask, (prefix, 0), value=True)
        if attend is None:
            return mask
        valid = F.pad(attend[..., prefix:].unflatten(-1, (height, width)), (0, 0, self.radius, self.radius))
        valid = valid.unfold(3, band, 1).permute(0, 3, 1, 2, 5, 4).flatten(4)  # one query: it holds for all
        first = attend[:, None, ..., :prefix].expand(-1, height, -1, -1, -1)
        return mask & torch.cat((first, valid), dim=4)
