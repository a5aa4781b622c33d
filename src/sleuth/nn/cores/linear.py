"""Linear attention: keys and values are summed up once, and every query reads the sums."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def feature_map(x: Float[Tensor, "*shape head_dim"]) -> Float[Tensor, "*shape head_dim"]:
    """phi(x) = elu(x) + 1: never negative, so that weights are not either."""
    return F.elu(x) + 1


@dataclass(frozen=True)
class LinearAttention:
    """Attention(Q, K, V)_i = phi(q_i) S / (phi(q_i) z), with S = sum_j phi(k_j) v_j^T and z = sum_j phi(k_j).

    Cost: n d^2 in time and d^2 in memory beside the tokens, where the mask hides keys from all queries alike, as
    padding does. A mask that differs from query to query, as that of packed pictures, has no such sums: the weights are
    then written out, at n^2 d and n^2.

    Args:
        least: the least that is divided by, where a query may look at nothing or at what it does not care for.

    Source: Katharopoulos et al. 2020, "Transformers are RNNs", equations 4 to 7.
    """

    least: float = 1e-6

    def weights(
        self,
        q: Float[Tensor, "batch heads queries head_dim"],
        k: Float[Tensor, "batch heads keys head_dim"],
        attend: Bool[Tensor, "#batch #heads #queries keys"] | None = None,
    ) -> Float[Tensor, "batch heads queries keys"]:
        """phi(q) phi(k)^T, each row divided by its sum."""
        weights = feature_map(q) @ feature_map(k).transpose(-2, -1)
        if attend is not None:
            weights = weights.masked_fill(~attend, 0.0)
        return weights / weights.sum(dim=-1, keepdim=True).clamp(min=self.least)

    def __call__(
        self,
        q: Float[Tensor, "batch heads queries head_dim"],
        k: Float[Tensor, "batch heads keys head_dim"],
        v: Float[Tensor, "batch heads keys head_dim"],
        attend: Bool[Tensor, "#batch #heads #queries keys"] | None = None,
        dropout: float = 0.0,
    ) -> Float[Tensor, "batch heads queries head_dim"]:
        """The attended values.

        Raises:
            ValueError: dropout is wanted, but there are no weights to drop.
        """
        if dropout > 0:
            raise ValueError("linear attention has no weights that could be dropped: set attention_dropout = 0")
        if attend is not None and attend.shape[-2] > 1:
            return self.weights(q, k, attend) @ v
        asked, keys = feature_map(q), feature_map(k)
        if attend is not None:
            keys = keys.masked_fill(~attend.transpose(-2, -1), 0.0)
        total = keys.transpose(-2, -1) @ v
        norm = asked @ keys.sum(dim=-2)[..., None]
        return (asked @ total) / norm.clamp(min=self.least)
