"""Local attention in a sequence: each query looks at the keys around its own place."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sleuth.nn.attention import attention_weights, fused_attention


@dataclass(frozen=True)
class WindowAttention:
    """Softmax attention of query i over the keys j with |i - j| <= radius.

    Queries go in blocks; each block looks at the keys of its own stretch and a radius to either side. Queries and keys
    are of one sequence.

    Cost: n (2 radius + block) d in time and in memory, with blocks of at least 32; a mask that differs from query to
    query is applied to the whole of n^2.

    Args:
        radius: keys on either side.

    Source: Beltagy et al. 2020, "Longformer", section 3.1 (sliding window).
    """

    radius: int

    def mask(self, length: int, device: torch.device | None = None) -> Bool[Tensor, "1 1 length length"]:
        """The same as a mask: True within the radius."""
        place = torch.arange(length, device=device)
        return ((place[:, None] - place[None]).abs() <= self.radius)[None, None]

    def weights(
        self,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        attend: Bool[Tensor, "#batch #heads #tokens tokens"] | None = None,
    ) -> Float[Tensor, "batch heads tokens tokens"]:
        """Who looks where, zeros outside the window among it."""
        mask = self.mask(k.shape[-2], k.device)
        return attention_weights(q, k, mask if attend is None else mask & attend)

    def __call__(
        self,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        v: Float[Tensor, "batch heads tokens head_dim"],
        attend: Bool[Tensor, "#batch #heads #tokens tokens"] | None = None,
        dropout: float = 0.0,
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        """The attended values."""
        batch, length = len(q), q.shape[2]
        block = max(self.radius, 32)
        if length <= 2 * block or (attend is not None and attend.shape[-2] > 1):
            mask = self.mask(length, q.device)
            return fused_attention(q, k, v, mask if attend is None else mask & attend, dropout)
        more = -length % block
        blocks = (length + more) // block
        stretch = block + 2 * self.radius

        def around(x: Tensor) -> Tensor:
            """For each block the stretch of keys that it may look at: [batch * blocks, heads, stretch, head_dim]."""
            padded = F.pad(x, (0, 0, self.radius, self.radius + more))
            return padded.unfold(2, stretch, block).permute(0, 2, 1, 4, 3).flatten(0, 1)

        # Key number s of the stretch of block b stands at b * block - radius + s.
        offset = torch.arange(stretch, device=q.device) - self.radius
        near = (torch.arange(block, device=q.device)[:, None] - offset[None]).abs() <= self.radius
        place = torch.arange(blocks, device=q.device)[:, None] * block + offset[None]
        exists = (place >= 0) & (place < length)
        mask = (near[None] & exists[:, None])[None, :, None]  # [1, blocks, 1, block, stretch]
        if attend is not None:
            valid = F.pad(attend, (self.radius, self.radius + more)).unfold(3, stretch, block)
            mask = mask & valid.permute(0, 3, 1, 2, 4)
        queries = F.pad(q, (0, 0, 0, more)).unflatten(2, (blocks, block)).transpose(1, 2).flatten(0, 1)
        mask = mask.expand(batch, -1, -1, -1, -1).flatten(0, 1)
        attended = fused_attention(queries, around(k), around(v), mask, dropout)
        return attended.unflatten(0, (batch, blocks)).transpose(1, 2).flatten(2, 3)[:, :, :length]
