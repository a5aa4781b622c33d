"""Losses of D-FINE's edge distributions: they are to lie around the true edge, and to learn from the last layer."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def neighbouring_steps(
    distances: Float[Tensor, "*shape"], steps: Float[Tensor, " bins"]
) -> tuple[Int[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """The step below each distance, and the share of the one above: linear in between, cut off at both ends.

    Source: Peng et al. 2024, "D-FINE", equation 6.
    """
    last = len(steps) - 1
    below = (torch.searchsorted(steps, distances.contiguous(), right=True) - 1).clamp(0, last - 1)
    low, high = steps[below], steps[below + 1]
    return below, ((distances - low) / (high - low)).clamp(0, 1)


def fine_grained_localisation(
    logits: Float[Tensor, "matches 4 bins"],
    distances: Float[Tensor, "matches 4"],
    steps: Float[Tensor, " bins"],
    quality: Float[Tensor, " matches"],
) -> Float[Tensor, ""]:
    """FGL: cross-entropy against the two steps around the true distance, more for boxes that already fit.

    Args:
        logits: of the steps of each matched query's edges.
        distances: how far each edge has to move.
        steps: the distance of each step.
        quality: IoU of each matched query's box.

    Returns: the sum over matches and edges.

    Source: Peng et al. 2024, equation 6.
    """
    below, share = neighbouring_steps(distances, steps)
    log_chance = logits.log_softmax(-1)
    at_below = log_chance.gather(-1, below[..., None])[..., 0]
    at_above = log_chance.gather(-1, below[..., None] + 1)[..., 0]
    return -(quality[:, None] * ((1 - share) * at_below + share * at_above)).sum()


def decoupled_distillation(
    logits: Float[Tensor, "batch queries 4 bins"],
    teacher: Float[Tensor, "batch queries 4 bins"],
    weights: Float[Tensor, "batch queries"],
    matched: Bool[Tensor, "batch queries"],
    share: Float[Tensor, ""],
    *,
    temperature: float = 5.0,
) -> Float[Tensor, ""]:
    """DDF: a layer's distributions are to become those of the last layer; matched and other queries apart.

    Args:
        logits: of the steps of every query's edges.
        teacher: those of the last layer; no gradient reaches them.
        weights: IoU of matched queries, confidence of the others.
        matched: which queries answer for an object.
        share: weight of the mean over matched queries; the mean over the others has the rest.
        temperature: softens both distributions.

    Source: Peng et al. 2024, equations 7 and 8 (GO-LSD).
    """
    soft = (teacher.detach() / temperature).softmax(-1)
    divergence = F.kl_div((logits / temperature).log_softmax(-1), soft, reduction="none").sum(-1)
    paid = (divergence * weights.detach()[..., None]).mean(-1) * temperature**2
    of_matched = (paid * matched).sum() / matched.sum().clamp(min=1)
    of_others = (paid * ~matched).sum() / (~matched).sum().clamp(min=1)
    return share * of_matched + (1 - share) * of_others


def matched_share(matched: Bool[Tensor, "batch queries"]) -> Float[Tensor, ""]:
    """How much matched queries count in `decoupled_distillation`: by the roots of both numbers, so a few count well."""
    few, many = matched.sum().sqrt(), (~matched).sum().sqrt()
    return few / (few + many)
