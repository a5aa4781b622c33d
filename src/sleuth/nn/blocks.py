"""The pre-norm block of vision Transformers: look around, then think, each on a residual path."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from sleuth.nn.drop_path import DropPath, LayerScale
from sleuth.nn.packing import PackedGrids
from sleuth.nn.rotary import Rotation
from sleuth.types.memory import TokenGrid


class PreNormBlock(nn.Module):
    """Attention, then a feed-forward network; each reads normalised tokens and adds to the plain ones.

    Args:
        dim: embedding size.
        attention: takes tokens, mask, rotation and grid, as `SelfAttention` does.
        feedforward: from tokens to tokens.
        norm_eps: added to the variance in layer norms.
        layer_scale: start of a learned scale of both branches, or None for none.
        drop_path: share of pictures for which a branch is left out while training.
        dropout: on both branches.

    Source: Dosovitskiy et al. 2021, equations 2 and 3; layer scale from Touvron et al. 2021.
    """

    def __init__(
        self,
        *,
        dim: int,
        attention: nn.Module,
        feedforward: nn.Module,
        norm_eps: float = 1e-6,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attention = attention
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.feedforward = feedforward
        self.scale1 = nn.Identity() if layer_scale is None else LayerScale(dim=dim, start=layer_scale)
        self.scale2 = nn.Identity() if layer_scale is None else LayerScale(dim=dim, start=layer_scale)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        attend: Bool[Tensor, "#batch #heads #tokens tokens"] | None = None,
        rotation: Rotation | None = None,
        grid: TokenGrid | PackedGrids | None = None,
        asked: int | None = None,
    ) -> Float[Tensor, "batch _ dim"]:
        """One round of tokens looking at each other.

        Args:
            tokens: of a sequence.
            attend: True where a token may look at another.
            rotation: turns queries and keys by where they are.
            grid: how the tokens lie in the picture, where attention wants to know.
            asked: only so many tokens, from the first on, are worked on, and handed back; None for all.
        """
        if asked is None:
            looked = self.attention(self.norm1(tokens), attend, rotation, grid)
        else:
            looked = self.attention(self.norm1(tokens), attend, rotation, grid, asked)
            tokens = tokens[:, :asked]
        tokens = tokens + self.drop_path(self.scale1(self.dropout(looked)))
        thought = self.feedforward(self.norm2(tokens))
        return tokens + self.drop_path(self.scale2(self.dropout(thought)))
