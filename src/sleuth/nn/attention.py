"""Attention: queries question keys, and take home a weighted mean of values.

`MultiHeadAttention` projects, splits into heads, and hands ``(q, k, v, mask)`` to a *core*. The default core is
PyTorch's fused kernel. `explicit_attention` is the same sum written out: the reference to read, and what
`record_attention` swaps in to see the weights.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

AttentionCore = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]
"""(q, k, v, attend, dropout) to the attended values; shapes as in `explicit_attention`."""


def fused_attention(
    q: Float[Tensor, "batch heads queries head_dim"],
    k: Float[Tensor, "batch heads keys head_dim"],
    v: Float[Tensor, "batch heads keys head_dim"],
    attend: Bool[Tensor, "#batch #heads #queries keys"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Scaled dot-product attention by PyTorch's fused kernel (flash or memory-efficient where there is one).

    As in `explicit_attention`, a query that may attend to nothing brings zeros home, not NaN. In bfloat16 on a
    processor the gradient of the kernel takes two to four times as long as that of the written-out sum, taken there.
    """
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and q.requires_grad:
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
    return F.dropout(weights, dropout) @ v


def causal_mask(length: int, device: torch.device | None = None) -> Bool[Tensor, "1 1 length length"]:
    """Position i may attend to positions 0 to i: the future stays hidden."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]


def padding_mask(valid: Bool[Tensor, "batch keys"]) -> Bool[Tensor, "batch 1 1 keys"]:
    """Every query may attend to the valid keys of its own row."""
    return valid[:, None, None, :]


class MultiHeadAttention(nn.Module):
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
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.core = core
        self.dropout = dropout
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
