"""Spatial-reduction attention: every patch looks, but at fewer and coarser keys."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sleuth.nn.attention import MultiHeadAttention
from sleuth.nn.packing import PackedGrids
from sleuth.nn.rotary import Rotation
from sleuth.types.memory import TokenGrid


class SpatialReduction(nn.Module):
    """Squares of patches to one token each, by a convolution whose stride is its kernel, then a layer norm.

    Args:
        dim: embedding size.
        ratio: side of the squares.
        norm_eps: added to the variance in the norm.

    Source: Wang et al. 2021, "Pyramid Vision Transformer", equation 3.
    """

    def __init__(self, *, dim: int, ratio: int, norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.ratio = ratio
        self.conv = nn.Conv2d(dim, dim, ratio, stride=ratio)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        grid: TokenGrid,
        valid: Bool[Tensor, "batch tokens"] | None = None,
    ) -> tuple[Float[Tensor, "batch keys dim"], Bool[Tensor, "batch keys"] | None]:
        """The prefix tokens, then the reduced grid; and which of them are valid.

        A square is valid if one of its patches is. What lies outside the picture counts as zeros, so that padding
        changes nothing.
        """
        height, width, prefix = grid
        patches = tokens[:, prefix:]
        if valid is not None:
            patches = patches * valid[:, prefix:, None].to(patches.dtype)
        more = (0, -width % self.ratio, 0, -height % self.ratio)
        square = F.pad(patches.transpose(1, 2).unflatten(2, (height, width)), more)
        reduced = self.conv(square).flatten(2).transpose(1, 2)
        keys = self.norm(torch.cat((tokens[:, :prefix], reduced), dim=1))
        if valid is None:
            return keys, None
        on = F.pad(valid[:, prefix:].unflatten(1, (height, width)).to(tokens.dtype), more)
        on = F.max_pool2d(on[:, None], self.ratio).flatten(1) > 0
        return keys, torch.cat((valid[:, :prefix], on), dim=1)

    def packed(
        self, tokens: Float[Tensor, "rows tokens dim"], pictures: PackedGrids
    ) -> tuple[Float[Tensor, "rows keys dim"], Bool[Tensor, "rows 1 tokens keys"]]:
        """The same of pictures that share sequences, each by itself; and which token may look at which key."""
        own = zip(pictures.packing.unpack(tokens), pictures.grids, strict=True)
        reduced = [self(each[None], grid)[0][0] for each, grid in own]
        keys = pictures.packing.of_lengths([len(each) for each in reduced])
        return keys.pack(reduced), pictures.packing.block_mask(tokens.device, keys)


class ReducedAttention(nn.Module):
    """Softmax attention whose keys and values are of the reduced grid.

    Attention(Q, K, V) = softmax(Q K'^T / sqrt(d)) V', with K' and V' projected from the tokens that
    `SpatialReduction` leaves.

    Cost: n^2 d / ratio^2 in time and n^2 / ratio^2 in memory, and n d^2 for the reduction.

    Args:
        dim: embedding size.
        num_heads: number of heads.
        ratio: side of the squares that become one key.
        dropout: share of attention weights dropped while training.
        norm_eps: added to the variance in the norm of the reduction.

    Source: Wang et al. 2021, "Pyramid Vision Transformer", section 3.2.
    """

    def __init__(self, *, dim: int, num_heads: int, ratio: int, dropout: float = 0.0, norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.reduction = SpatialReduction(dim=dim, ratio=ratio, norm_eps=norm_eps)
        self.attention = MultiHeadAttention(dim=dim, num_heads=num_heads, dropout=dropout)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        attend: Bool[Tensor, "batch 1 1 tokens"] | None = None,
        rotation: Rotation | None = None,
        grid: TokenGrid | PackedGrids | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Tokens look at the reduced grid.

        Args:
            tokens: of a picture, or of several that are packed.
            attend: True on tokens that are no padding; it is the same for every query. Of packed pictures none: which
                token is of which follows from their grids.
            rotation: none: a square of patches has no place of its own to turn by.
            grid: how the tokens lie in the picture, or in each of those that are packed.

        Raises:
            ValueError: there is no grid to reduce, or there is a rotation.
        """
        if grid is None or rotation is not None:
            raise ValueError("spatial reduction needs tokens that lie on a grid, and no rotation")
        if isinstance(grid, PackedGrids):
            keys, own = self.reduction.packed(tokens, grid)
            return self.attention(tokens, keys, keys, own)
        keys, valid = self.reduction(tokens, grid, None if attend is None else attend[:, 0, 0])
        return self.attention(tokens, keys, keys, None if valid is None else valid[:, None, None])
