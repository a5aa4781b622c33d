"""Class losses: cross-entropy in which no-object counts less, and the focal family with one score a class."""

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


def focal_classification(
    logits: Float[Tensor, "batch queries classes"],
    wanted: Float[Tensor, "batch queries classes"],
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Tensor, "batch queries classes"]:
    """Focal loss of each score: what is right already counts little.

    Args:
        logits: one for each class.
        wanted: 1 for the class of a matched query, else 0.
        alpha: weight of positives; negatives weigh ``1 - alpha``.
        gamma: how fast the weight of easy scores falls.

    Source: Lin et al. 2017, equation 5.
    """
    probability = logits.sigmoid()
    wrong = probability * (1 - wanted) + (1 - probability) * wanted
    share = alpha * wanted + (1 - alpha) * (1 - wanted)
    return share * wrong**gamma * F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")


def varifocal_classification(
    logits: Float[Tensor, "batch queries classes"],
    wanted: Float[Tensor, "batch queries classes"],
    quality: Float[Tensor, "batch queries classes"],
    *,
    alpha: float = 0.75,
    gamma: float = 2.0,
) -> Float[Tensor, "batch queries classes"]:
    """Varifocal loss: a score is to tell the IoU of its box; positives weigh as much as their box is good.

    Args:
        logits: one for each class.
        wanted: 1 for the class of a matched query, else 0.
        quality: IoU of a matched query's box at its class, else 0.
        alpha: weight of negatives.
        gamma: how fast the weight of easy negatives falls.

    Source: Zhang et al. 2021, "VarifocalNet", equation 2; Zhao et al. 2024 (RT-DETR), section 4.3.
    """
    weight = alpha * logits.detach().sigmoid() ** gamma * (1 - wanted) + quality
    return weight * F.binary_cross_entropy_with_logits(logits, quality, reduction="none")


def matchability_classification(
    logits: Float[Tensor, "batch queries classes"],
    wanted: Float[Tensor, "batch queries classes"],
    quality: Float[Tensor, "batch queries classes"],
    *,
    gamma: float = 1.5,
) -> Float[Tensor, "batch queries classes"]:
    """Matchability-aware loss: as varifocal, but a matched query with a poor box still has to score, and pays in full.

    Args:
        logits: one for each class.
        wanted: 1 for the class of a matched query, else 0.
        quality: IoU of a matched query's box at its class, else 0.
        gamma: power of the quality that is asked for, and of the weight of negatives.

    Source: Huang et al. 2025, "DEIM", equation 4.
    """
    weight = logits.detach().sigmoid() ** gamma * (1 - wanted) + wanted
    return weight * F.binary_cross_entropy_with_logits(logits, quality**gamma, reduction="none")
