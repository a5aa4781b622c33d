"""What a decoder layer pays for its edge distributions: to lie around the true edges, and to be as the last layer's."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sleuth.geometry.boxes import cxcywh_to_xyxy, paired_iou
from sleuth.losses.distribution import decoupled_distillation, fine_grained_localisation, matched_share
from sleuth.nn.distribution import EDGES, edge_distances, edge_steps
from sleuth.types.predictions import Corners, Match


@dataclass(frozen=True)
class CornerStage:
    """The edge distributions of one layer.

    Args:
        corners: those of all layers, with their references.
        layer: which of them this is.
        confidence: the best class score of each query after the last layer.
        share: weight of matched queries in the distillation.
    """

    corners: Corners
    layer: int
    confidence: Float[Tensor, "batch queries"]
    share: Float[Tensor, ""]

    @property
    def teaches(self) -> bool:
        """Whether this is the layer that the others learn from."""
        return self.layer == len(self.corners.logits) - 1


def matched_mask(pairs: Match, like: Float[Tensor, "batch queries"]) -> Tensor:
    """Which queries are in a match."""
    mask = torch.zeros_like(like, dtype=torch.bool)
    mask[pairs.picture, pairs.query] = True
    return mask


def corner_stages(
    corners: Corners, logits: Float[Tensor, "outputs batch queries classes"], share: Float[Tensor, ""] | Match
) -> list[CornerStage | None]:
    """For each output its edge distributions; None for a plain head before them.

    Args:
        corners: of all layers.
        logits: class logits of all outputs.
        share: weight of matched queries in the distillation, or the match that it follows from.
    """
    confidence = logits[-1].detach().float().sigmoid().amax(-1)
    if isinstance(share, Match):
        share = matched_share(matched_mask(share, confidence))
    layers = [CornerStage(corners, layer, confidence, share) for layer in range(len(corners.logits))]
    return [None] * (len(logits) - len(layers)) + layers


def corner_losses(
    stage: CornerStage,
    boxes_cxcywh: Float[Tensor, "batch queries 4"],
    pairs: Match,
    true_cxcywh: Float[Tensor, "matches 4"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""] | None]:
    """The sum of the fine-grained localisation loss, and the distillation loss of layers that are taught.

    Args:
        stage: the distributions.
        boxes_cxcywh: the boxes that they make.
        pairs: which queries answer for which objects.
        true_cxcywh: the box of each pair's object.
    """
    corners, at = stage.corners, (pairs.picture, pairs.query)
    logits = corners.logits[stage.layer].float().unflatten(-1, (EDGES, -1))
    steps = edge_steps(logits.shape[-1] - 1, corners.up, corners.reg_scale)
    with torch.no_grad():
        quality = paired_iou(cxcywh_to_xyxy(boxes_cxcywh[at].float()), cxcywh_to_xyxy(true_cxcywh))
        distances = edge_distances(corners.references_cxcywh[at].float(), true_cxcywh, corners.reg_scale)
    localisation = fine_grained_localisation(logits[at], distances, steps, quality)
    if stage.teaches:
        return localisation, None
    weights = stage.confidence.index_put(at, quality)
    teacher = corners.logits[-1].float().unflatten(-1, (EDGES, -1))
    matched = matched_mask(pairs, stage.confidence)
    return localisation, decoupled_distillation(logits, teacher, weights, matched, stage.share)
