"""What it would cost to give an object to a query: one matrix for the whole batch and every layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sleuth.geometry.boxes import cxcywh_to_xyxy, paired_giou
from sleuth.types.batches import Target

WORST = 1e6
"""Stands in for a cost that is not finite: worse than any real one, and the assignment stays defined."""


@dataclass(frozen=True)
class CostWeights:
    """How much each term counts in the matching cost.

    Args:
        classes: of the class term.
        l1: of the L1 distance of boxes.
        giou: of their generalised IoU.
        activation: softmax takes minus the probability of the object's class; sigmoid the focal cost.

    Source: Carion et al. 2020, section 3.1 and appendix A.4; Zhu et al. 2021, appendix A.4 (focal cost).
    """

    classes: float = 1.0
    l1: float = 5.0
    giou: float = 2.0
    activation: Literal["softmax", "sigmoid"] = "softmax"


@dataclass(frozen=True)
class PaddedTargets:
    """The targets of a batch side by side, padded to the picture with the most objects."""

    labels: Int[Tensor, "batch objects"]
    boxes_cxcywh: Float[Tensor, "batch objects 4"]
    present: Bool[Tensor, "batch objects"]


def pad_targets(targets: Sequence[Target], device: torch.device) -> PaddedTargets:
    """Stack the objects of each picture; missing places hold class 0 and a whole-picture box, and are not present."""
    most = max((len(t.labels) for t in targets), default=0)
    labels = torch.zeros(len(targets), most, dtype=torch.int64)
    boxes = torch.tensor([0.5, 0.5, 1.0, 1.0]).repeat(len(targets), most, 1)
    present = torch.zeros(len(targets), most, dtype=torch.bool)
    for row, target in enumerate(targets):
        count = len(target.labels)
        labels[row, :count] = target.labels
        boxes[row, :count] = target.boxes_cxcywh
        present[row, :count] = True
    return PaddedTargets(labels.to(device), boxes.to(device), present.to(device))


@torch.no_grad()
def matching_costs(
    logits: Float[Tensor, "layers batch queries classes"],
    boxes_cxcywh: Float[Tensor, "layers batch queries 4"],
    targets: PaddedTargets,
    weights: CostWeights,
) -> Float[Tensor, "layers batch queries objects"]:
    """Cost of every query for every object of its picture, finite whatever the predictions.

    The class term is minus the probability of the object's class, not its logarithm: it is then commensurate with the
    box terms. With sigmoid scores it is what the focal loss would gain if the query answered for the object.

    Source: Carion et al. 2020, section 3.1, "matching cost".
    """
    layers, batch, queries, _ = logits.shape
    objects = targets.labels.shape[1]
    wanted = targets.labels[None, :, None, :].expand(layers, -1, queries, -1)
    if weights.activation == "softmax":
        cost_class = -logits.float().softmax(-1).gather(-1, wanted)
    else:
        cost_class = _focal_cost(logits.float().gather(-1, wanted).sigmoid())
    predicted = boxes_cxcywh.float()[:, :, :, None, :]
    true = targets.boxes_cxcywh[None, :, None, :, :]
    cost_l1 = (predicted - true).abs().sum(-1)
    shape = (layers, batch, queries, objects, 4)
    giou = paired_giou(
        cxcywh_to_xyxy(predicted).expand(shape).reshape(-1, 4), cxcywh_to_xyxy(true).expand(shape).reshape(-1, 4)
    ).view(shape[:-1])
    cost = weights.l1 * cost_l1 + weights.classes * cost_class - weights.giou * giou
    return cost.nan_to_num(nan=WORST, posinf=WORST, neginf=WORST).clamp(max=WORST)


def _focal_cost(probability: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of an object less that of no object."""
    as_object = -alpha * (1 - probability) ** gamma * (probability + 1e-8).log()
    as_none = -(1 - alpha) * probability**gamma * (1 - probability + 1e-8).log()
    return as_object - as_none
