"""The mask head: where each query looks on the memory, sharpened by the backbone's finer features."""

from collections.abc import Sequence
from functools import partial
from math import gcd
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sleuth.nn.feedforward import Activation
from sleuth.types.memory import Memory
from sleuth.types.predictions import MaskReader

_GROUPS = 8


class MaskAttention(nn.Module):
    """One attention map a head for each query over the picture; there are no values, the maps are the answer.

    The softmax runs over all heads and pixels together, so heads compete for a query's attention.

    Args:
        dim: size of states and memory tokens.
        num_heads: maps for each query.

    Source: Carion et al. 2020, section 4.2 and figure 8.
    """

    def __init__(self, *, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        for linear in (self.q_proj, self.k_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        states: Float[Tensor, "batch queries dim"],
        tokens: Float[Tensor, "batch tokens dim"],
        valid: Bool[Tensor, "batch tokens"] | None,
    ) -> Float[Tensor, "batch queries heads tokens"]:
        """Shares of each query's attention, 1 in all over heads and tokens; none falls on padding."""
        q = self.q_proj(states).unflatten(-1, (self.num_heads, -1))
        k = self.k_proj(tokens).unflatten(-1, (self.num_heads, -1))
        scores = torch.einsum("bqhd,bkhd->bqhk", q * q.shape[-1] ** -0.5, k)
        if valid is not None:
            scores = scores.masked_fill(~valid[:, None, None], -torch.inf)
        return scores.flatten(2).softmax(-1).view_as(scores)


class MaskHead(nn.Module):
    """Mask logits of chosen queries, at a quarter of the input's size.

    Attention maps and the projected features go through five convolutions; after the second, third and fourth the map
    is enlarged and a finer stage of the backbone is added. A query's mask depends on no other query: each is computed
    only if asked for, and what the queries of a picture share is computed once.

    Args:
        dim: size of states, tokens and projected features.
        num_heads: attention maps for each query.
        pyramid_channels: channels of the backbone's stages to add, coarse to fine: strides 16, 8, 4.
        activation: after each convolution's norm.

    Source: Carion et al. 2020, section 4.2 and figure 8.
    """

    def __init__(
        self, *, dim: int, num_heads: int, pyramid_channels: Sequence[int], activation: Activation = F.relu
    ) -> None:
        super().__init__()
        widths = [dim + num_heads, dim // 2, dim // 4, dim // 8, dim // 16]
        if widths[-1] < 1:
            raise ValueError(f"dim = {dim} is too small for a mask head, which ends with dim / 16 channels")
        self.activation = activation
        self.attention = MaskAttention(dim=dim, num_heads=num_heads)
        self.convs = nn.ModuleList(
            nn.Conv2d(given, wanted, kernel_size=3, padding=1)
            for given, wanted in zip([widths[0], *widths[:-1]], widths, strict=True)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(_groups(width), width) for width in widths)
        self.laterals = nn.ModuleList(
            nn.Conv2d(given, wanted, kernel_size=1) for given, wanted in zip(pyramid_channels, widths[1:4], strict=True)
        )
        self.out = nn.Conv2d(widths[-1], 1, kernel_size=3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, states: Float[Tensor, "batch queries dim"], memory: Memory) -> MaskReader:
        """What reads the masks of these states off the memory; nothing is computed yet."""
        return partial(self.read, states, memory)

    def read(
        self,
        states: Float[Tensor, "batch queries dim"],
        memory: Memory,
        picture: Int[Tensor, " masks"],
        query: Int[Tensor, " masks"],
    ) -> Float[Tensor, "masks height width"]:
        """Mask logits of the chosen queries.

        Args:
            states: of the last decoder layer.
            memory: with its pyramid.
            picture: row of the picture of each wanted mask.
            query: its query.
        """
        *finer, projected = memory.pyramid
        grid_hw = projected.shape[-2:]
        maps = self.attention(states, memory.tokens, memory.valid)[picture, query].unflatten(-1, grid_hw)
        x = self._first(projected, maps, picture)
        for step, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = self.activation(norm(x if step == 0 else conv(x)))
            if 1 <= step <= len(finer):
                detail = self.laterals[step - 1](finer[-step])
                # Enlarging and adding in place of the enlarged map spares one copy of it.
                x = F.interpolate(x, size=detail.shape[-2:], mode="nearest") + detail[picture]
        return self.out(x)[:, 0]

    def _first(self, projected: Tensor, maps: Tensor, picture: Tensor) -> Tensor:
        """The first convolution over features and maps; the features' part is the same for a picture's queries."""
        conv, dim = cast(nn.Conv2d, self.convs[0]), projected.shape[1]
        shared = F.conv2d(projected, conv.weight[:, :dim], conv.bias, padding=1)
        own = F.conv2d(maps.to(projected.dtype), conv.weight[:, dim:], padding=1)
        return own + shared[picture]


def _groups(width: int) -> int:
    """Published sizes have eight groups; narrower ones one for each channel, others as many as divide them."""
    return width if width < _GROUPS else gcd(_GROUPS, width)
