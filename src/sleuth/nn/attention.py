"""Attention: queries question keys, and take home a weighted mean of values.

`MultiHeadAttention` and `SelfAttention` project, split into heads, and hand ``(q, k, v, mask)`` to a *core*. The
default core is PyTorch's fused kernel. `explicit_attention` is the same sum written out: the reference to read, and
what `record_attention` swaps in to see the weights. Other cores are in `sleuth.nn.cores`.
"""

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sleuth.nn.dropout import dropout as drop_out
from sleuth.nn.rotary import Rotation, rotated
from sleuth.types.memory import TokenGrid

AttentionCore = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]
"""(q, k, v, attend, dropout) to the attended values; shapes as in `explicit_attention`."""


@runtime_checkable
class WeighingCore(Protocol):
    """A core whose weights are not those of a softmax over all keys: it tells them itself."""

    def weights(self, q: Tensor, k: Tensor, attend: Tensor | None) -> Tensor:
        """Who looks where, [batch, heads, queries, keys]; the core brings home ``weights @ v``."""


def fused_attention(
    q: Float[Tensor, "batch heads queries head_dim"],
    k: Float[Tensor, "batch heads keys head_dim"],
    v: Float[Tensor, "batch heads keys head_dim"],
    attend: Bool[Tensor, "#batch #heads #queries keys"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Scaled dot-product attention by PyTorch's fused kernel (flash or memory-efficient where there is one).

    As in `explicit_attention`, a query that may attend to nothing brings zeros home, not NaN. On a processor the
    written-out sum is taken where the kernel is slower: its gradient in bfloat16 takes two to four times as long, and
    with dropout it falls back to a slower sum.
    """
    if q.device.type == "cpu" and (dropout > 0 or (q.dtype == torch.bfloat16 and q.requires_grad)):
        return explicit_attention(q, k, v, attend, dropout)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=attend, dropout_p=dropout)


def attention_weights(
    q: Float[Tensor, "batch heads queries head_dim"],
    k: Float[Tensor, "batch heads keys head_dim"],
    attend: Bool[Tensor, "#batch #heads #queries keys"] | None = None,
) -> Float[Tensor, "batch heads queries keys"]:
    """Who looks where: softmax of q k^T / sqrt(head_dim) over the keys that may be attended.

    A query that may attend to nothing gets weights of zero, not NaN.
    """
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)
    if attend is None:
        return scores.softmax(dim=-1)
    scores = scores.masked_fill(~attend, float("-inf"))
    blocked = ~attend.any(dim=-1, keepdim=True)
    return scores.masked_fill(blocked, 0.0).softmax(dim=-1).masked_fill(blocked, 0.0)


def explicit_attention(
    q: Float[Tensor, "batch heads queries head_dim"],
    k: Float[Tensor, "batch heads keys head_dim"],
    v: Float[Tensor, "batch heads keys head_dim"],
    attend: Bool[Tensor, "#batch #heads #queries keys"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Attention(Q, K, V) = softmax(Q K^T / sqrt(d)) V, written out.

    Args:
        q: queries.
        k: keys.
        v: values.
        attend: True where a query may look at a key; broadcast over batch, heads and queries.
        dropout: share of the weights to drop.

    Source: Vaswani et al. 2017, equation 1.
    """
    weights = attention_weights(q, k, attend)
    return drop_out(weights, dropout) @ v


def causal_mask(length: int, device: torch.device | None = None) -> Bool[Tensor, "1 1 length length"]:
    """Position i may attend to positions 0 to i: the future stays hidden."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]


def padding_mask(valid: Bool[Tensor, "batch keys"]) -> Bool[Tensor, "batch 1 1 keys"]:
    """Every query may attend to the valid keys of its own row."""
    return valid[:, None, None, :]


class Attention(nn.Module):
    """What every dense attention has: heads, and a core that may be swapped.

    Args:
        dim: embedding size; a multiple of ``num_heads``.
        num_heads: number of heads.
        core: what turns q, k, v and mask into attended values.
        dropout: share of attention weights dropped while training.
    """

    def __init__(self, *, dim: int, num_heads: int, core: AttentionCore, dropout: float) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.core = core
        self.dropout = dropout


class MultiHeadAttention(Attention):
    """Several attentions side by side on slices of the embedding, joined by a projection.

    Self-attention passes the same tensor as ``queries`` and ``keys``; cross-attention passes the memory as keys and
    values. Keys and values differ where positions are added to the keys alone, as in DETR.

    Args:
        dim: embedding size; a multiple of ``num_heads``.
        num_heads: number of heads.
        core: what turns q, k, v and mask into attended values.
        dropout: share of attention weights dropped while training.

    Source: Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(
        self, *, dim: int, num_heads: int, core: AttentionCore = fused_attention, dropout: float = 0.0
    ) -> None:
        super().__init__(dim=dim, num_heads=num_heads, core=core, dropout=dropout)
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier for the stacked q, k, v matrix as the original draws it; biases start at zero."""
        bound = math.sqrt(6 / (4 * self.q_proj.in_features))
        for projection in (self.q_proj, self.k_proj, self.v_proj):
            nn.init.uniform_(projection.weight, -bound, bound)
            nn.init.zeros_(projection.bias)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        queries: Float[Tensor, "batch queries dim"],
        keys: Float[Tensor, "batch keys dim"],
        values: Float[Tensor, "batch keys dim"],
        attend: Bool[Tensor, "#batch #heads #queries keys"] | None = None,
    ) -> Float[Tensor, "batch queries dim"]:
        """Attend from each query to the keys it may see, and bring back their values."""
        return self.look(queries, self.k_proj(keys), self.v_proj(values), attend)

    def look(
        self,
        queries: Float[Tensor, "batch queries dim"],
        k: Float[Tensor, "batch keys dim"],
        v: Float[Tensor, "batch keys dim"],
        attend: Bool[Tensor, "#batch #heads #queries keys"] | None = None,
    ) -> Float[Tensor, "batch queries dim"]:
        """Attend to keys and values that are projected already: those of words decoded before, or of a memory.

        Args:
            queries: not yet projected.
            k: what ``k_proj`` made of the keys.
            v: what ``v_proj`` made of the values.
            attend: True where a query may look at a key.
        """
        q = self._split(self.q_proj(queries))
        dropout = self.dropout if self.training else 0.0
        attended = self.core(q, self._split(k), self._split(v), attend, dropout)
        return self.out_proj(attended.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """[batch, length, dim] to [batch, heads, length, head_dim]."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)


class SelfAttention(Attention):
    """Self-attention whose queries, keys and values come out of one product.

    It computes what `MultiHeadAttention` does on three times the same tokens, in one matrix product rather than three;
    so positions are in the tokens, or rotate queries and keys.

    Args:
        dim: embedding size; a multiple of ``num_heads``.
        num_heads: number of heads.
        core: what turns q, k, v and mask into attended values.
        dropout: share of attention weights dropped while training.
        bias: whether queries, keys and values have biases.

    Source: Dosovitskiy et al. 2021, equations 5 to 7.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        core: AttentionCore = fused_attention,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__(dim=dim, num_heads=num_heads, core=core, dropout=dropout)
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.out_proj = nn.Linear(dim, dim)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        attend: Bool[Tensor, "#batch #heads #tokens tokens"] | None = None,
        rotation: Rotation | None = None,
        grid: TokenGrid | None = None,
        asked: int | None = None,
    ) -> Float[Tensor, "batch _ dim"]:
        """Tokens look at each other.

        Args:
            tokens: of a sequence.
            attend: True where a token may look at another.
            rotation: turns queries and keys by where they are.
            grid: how the tokens lie in the picture, for cores that have a method ``on``, such as local windows.
            asked: only so many tokens, from the first on, look; None for all. Without a grid.
        """
        batch, length, dim = tokens.shape
        qkv = self.qkv(tokens).view(batch, length, 3, self.num_heads, self.head_dim)
        # Parted where they lie, so that the gradient is put together in one go.
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        if rotation is not None:
            q, k = rotated(q, rotation), rotated(k, rotation)
        if asked is not None:
            q = q[:, :, :asked]
            attend = attend if attend is None or attend.shape[-2] == 1 else attend[:, :, :asked]
        core = self.core if grid is None else self.core.on(grid)  # type: ignore[attr-defined]
        attended = core(q, k, v, attend, self.dropout if self.training else 0.0)
        return self.out_proj(attended.transpose(1, 2).reshape(batch, -1, dim))
