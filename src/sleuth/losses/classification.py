"""Class loss of the set: cross-entropy in which no-object counts less."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def weighted_cross_entropy(
    logits: Float[Tensor, "batch queries classes"],
    labels: Int[Tensor, "batch queries"],
    weights: Float[Tensor, "batch queries"],
    normaliser: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Sum of weighted cross-entropies over ``normaliser``.

    With the sum of the weights as normaliser this is the weighted mean of the original; averaging the normaliser over
    processes makes several processes agree with one that has the whole batch.

    Source: Carion et al. 2020, section 3.1: no-object is down-weighted by 10.
    """
    loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none")
    return torch.dot(loss, weights.flatten().float()) / normaliser
