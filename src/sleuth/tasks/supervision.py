"""What a set loss supervises, by how much each part counts, and what it reports."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from sleuth.tasks.corner_loss import CornerStage
from sleuth.types.predictions import Match


@dataclass(frozen=True)
class DetectionLossConfig:
    """Weights of the set loss and of the matching cost.

    Args:
        class_weight: of the cross-entropy.
        l1_weight: of the L1 loss on boxes.
        giou_weight: of the GIoU loss.
        no_object_weight: of queries that match nothing, in the cross-entropy.
        auxiliary: supervise every decoder layer rather than the last alone.
        encoder_weight: of the same losses on memory tokens (`DetrConfig.supervise_encoder`); 0 leaves them out.
        mask_weight: of the focal loss on masks of the last layer, for models with a mask head.
        dice_weight: of their dice loss.
        mask_points: points at which mask losses are taken, where the picture has more pixels; 0 takes every pixel,
            as the original does.
        mask_limit: the most masks of a batch to learn from, drawn anew each time and weighted for all; 0 takes all.
        match_class: weight of the class term in the matching cost.
        match_l1: of the L1 term.
        match_giou: of the GIoU term.
        classes: the class loss: ``softmax`` with no-object as a class, or one score a class by ``focal``, ``varifocal``
            or ``matchability`` (matchability-aware) loss.
        focal_alpha: weight of positives in the focal loss, of negatives in the varifocal one.
        focal_gamma: how little easy scores count.
        proposal_weight: of the same losses on the encoder's proposals, for two-stage models.
        denoising_weight: of the same losses on denoising queries.
        match_union: box losses of every layer and of the proposals take the union of all their matchings, as in
            D-FINE, rather than each its own.
        fgl_weight: of the fine-grained localisation loss, for models with edge distributions.
        ddf_weight: of their self-distillation from the last layer.
        assignment: ``set`` gives each object one query, by matching; ``points`` gives it the points of a dense detector
            that stand near its centre, of which there may be many.
        centre_weight: of the loss on centreness, with ``points``.
        centre_radius: how far from the centre of an object its points may stand, in strides, with ``points``.

    Source: Carion et al. 2020, appendix A.4; for the others, see `sleuth.losses.classification`.
    """

    class_weight: float = 1.0
    l1_weight: float = 5.0
    giou_weight: float = 2.0
    no_object_weight: float = 0.1
    auxiliary: bool = True
    encoder_weight: float = 1.0
    mask_weight: float = 1.0
    dice_weight: float = 1.0
    mask_points: int = 12544
    mask_limit: int = 0
    match_class: float = 1.0
    match_l1: float = 5.0
    match_giou: float = 2.0
    classes: Literal["softmax", "focal", "varifocal", "matchability"] = "softmax"
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    proposal_weight: float = 1.0
    denoising_weight: float = 1.0
    match_union: bool = False
    fgl_weight: float = 0.15
    ddf_weight: float = 1.5
    assignment: Literal["set", "points"] = "set"
    centre_weight: float = 1.0
    centre_radius: float = 1.5


@dataclass(frozen=True)
class SupervisedStage:
    """One set of predictions that pays: a decoder layer, or the memory tokens.

    Args:
        name: suffix of its loss names; empty for the last layer.
        logits: its class logits.
        boxes_cxcywh: its boxes.
        match: which predictions answer for which objects.
        match_weight: weight of each pair, or None for one each.
        rest_weight: weight of each unmatched prediction in the class loss; 0 on padding.
        scale: weight of the whole stage in the total.
        groups: how many predictions each object has in this stage: its losses are divided by it.
        class_agnostic: every object is of class 0 here.
        pairs: predictions and objects that box losses take, where they are others than ``match``.
        pairs_each: how many such pairs there are for each object: box losses are divided by it.
        corners: its edge distributions, for models that have them.
        quality: the score that is asked of each pair, which also weighs its box losses; None asks for the IoU.
    """

    name: str
    logits: Float[Tensor, "batch queries classes"]
    boxes_cxcywh: Float[Tensor, "batch queries 4"]
    match: Match
    match_weight: Float[Tensor, " matches"] | None
    rest_weight: Float[Tensor, "batch queries"]
    scale: float = 1.0
    groups: int = 1
    class_agnostic: bool = False
    pairs: Match | None = None
    pairs_each: float = 1.0
    corners: CornerStage | None = None
    quality: Float[Tensor, " matches"] | None = None


@dataclass(frozen=True)
class LossReport:
    """The total to descend, and its unweighted parts by name.

    Args:
        total: weighted sum of the parts.
        parts: ``class``, ``l1`` and ``giou``, with ``_0``, ``_1``, ... for earlier layers, ``_memory`` for tokens,
            ``_proposals`` for the encoder's proposals and ``_denoising_0``, ... for denoising queries; ``fgl`` and
            ``ddf`` with the same endings for models with edge distributions; ``mask`` and ``dice`` of the last layer
            for models with a mask head. Of a dense detector ``class``, ``giou``, ``centre`` and ``missed``.
        matches: the assignment of each decoder layer, first to last.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Tensor]
    matches: list[Match]
