"""Box losses of matched pairs: L1 and generalised IoU, summed and divided by the number of boxes."""

from jaxtyping import Float
from torch import Tensor

from sleuth.geometry.boxes import cxcywh_to_xyxy, paired_giou


def l1_loss(
    predicted: Float[Tensor, "matches 4"], true: Float[Tensor, "matches 4"], weights: Float[Tensor, " matches"] | None
) -> Float[Tensor, ""]:
    """Sum over pairs of the absolute differences of cx, cy, w, h.

    Source: Carion et al. 2020, section 3.1, "bounding box loss".
    """
    each = (predicted - true).abs().sum(-1)
    return each.sum() if weights is None else (each * weights).sum()


def giou_loss(
    predicted: Float[Tensor, "matches 4"], true: Float[Tensor, "matches 4"], weights: Float[Tensor, " matches"] | None
) -> Float[Tensor, ""]:
    """Sum over pairs of 1 - GIoU; boxes are cxcywh.

    Source: Rezatofighi et al. 2019.
    """
    each = 1 - paired_giou(cxcywh_to_xyxy(predicted), cxcywh_to_xyxy(true))
    return each.sum() if weights is None else (each * weights).sum()
