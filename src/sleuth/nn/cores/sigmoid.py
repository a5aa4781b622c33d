"""Sigmoid attention: each key is looked at or not, whatever the others are."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class SigmoidAttention:
    """Attention(Q, K, V) = sigmoid(Q K^T / sqrt(d) + b) V, with b = -log(n) for n keys that a query may look at.

    The bias keeps the sum of a query's weights at about one when it starts, as a softmax has it; without it the sum
    grows with the number of keys. Padding changes nothing, since n counts the keys that may be attended.

    Cost: n^2 d in time and n^2 in memory, as a softmax written out; no row has to be summed before it is used.

    Args:
        bias: b; None takes -log(n).

    Source: Ramapuram et al. 2024, "Theory, Analysis, and Best Practices for Sigmoid Self-Attention", equation 3 and
    section 3.2.
    """

    bias: float | None = None

    def weights(
        self,
        q: Float[Tensor, "batch heads queries head_dim"],
        k: Float[Tensor, "batch heads keys head_dim"],
        attend: Bool[Tensor, "#batch #heads #queries keys"] | None = None,
    ) -> Float[Tensor, "batch heads queries keys"]:
        """How much each key is looked at; the weights of a query need not sum to one."""
        scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)
        if attend is None:
            return torch.sigmoid(scores + (-math.log(k.shape[-2]) if self.bias is None else self.bias))
        if self.bias is None:
            scores = scores - attend.sum(dim=-1, keepdim=True).clamp(min=1).to(scores.dtype).log()
        else:
            scores = scores + self.bias
        return torch.sigmoid(scores).masked_fill(~attend, 0.0)

    def __call__(
        self,
        q: Float[Tensor, "batch heads queries head_dim"],
        k: Float[Tensor, "batch heads keys head_dim"],
        v: Float[Tensor, "batch heads keys head_dim"],
        attend: Bool[Tensor, "#batch #heads #queries keys"] | None = None,
        dropout: float = 0.0,
    ) -> Float[Tensor, "batch heads queries head_dim"]:
        """The attended values."""
        return F.dropout(self.weights(q, k, attend), dropout) @ v
