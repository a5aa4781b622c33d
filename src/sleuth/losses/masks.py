"""Mask losses of matched pairs, focal and dice, at every pixel or at sampled points, whichever are fewer."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sleuth.errors import UserError
from sleuth.types.batches import Target

OVERSAMPLE = 3
UNCERTAIN_SHARE = 0.75
FOCAL_ALPHA = 0.25


def focal_loss(logits: Float[Tensor, "masks points"], true: Float[Tensor, "masks points"]) -> Float[Tensor, ""]:
    """Sum over masks of the mean focal loss of their points (alpha 0.25, gamma 2).

    Source: Lin et al. 2017; Carion et al. 2020, section 4.2.
    """
    probability = logits.sigmoid()
    wrong = probability * (1 - true) + (1 - probability) * true
    weight = FOCAL_ALPHA * true + (1 - FOCAL_ALPHA) * (1 - true)
    each = weight * wrong.square() * F.binary_cross_entropy_with_logits(logits, true, reduction="none")
    return each.mean(1).sum()


def dice_loss(logits: Float[Tensor, "masks points"], true: Float[Tensor, "masks points"]) -> Float[Tensor, ""]:
    """Sum over masks of 1 - dice; one is added above and below the line, so that empty masks are no fault.

    Source: Milletari et al. 2016; Carion et al. 2020, section 4.2.
    """
    probability = logits.sigmoid()
    both = (probability * true).sum(1)
    return (1 - (2 * both + 1) / (probability.sum(1) + true.sum(1) + 1)).sum()


def matched_masks(
    targets: Sequence[Target], picture: Int[Tensor, " masks"], target: Int[Tensor, " masks"], size_hw: tuple[int, int]
) -> Bool[Tensor, "masks height width"]:
    """The true masks of matched pairs, padded with False to the batch's size.

    Raises:
        UserError: a picture with objects comes without masks.
    """
    true = torch.zeros(len(picture), *size_hw, dtype=torch.bool, device=picture.device)
    for row, each in enumerate(targets):
        if not len(each.labels):
            continue
        if each.masks is None:
            raise UserError(
                "the picture has no masks to learn from",
                where=each.name,
                mend="set data.annotations to instances or panoptic, or model.masks = false",
            )
        height, width = each.masks.shape[1:]
        at = (picture == row).nonzero()[:, 0]
        true[at, :height, :width] = each.masks[target[at]].to(true.device)
    return true


def at_every_pixel(
    logits: Float[Tensor, "masks h w"], true: Bool[Tensor, "masks height width"]
) -> tuple[Float[Tensor, "masks points"], Float[Tensor, "masks points"]]:
    """Logits enlarged to the size of the true masks, and those, as rows of points."""
    enlarged = F.interpolate(logits[:, None], size=true.shape[1:], mode="bilinear", align_corners=False)
    return enlarged.flatten(1), true.flatten(1).to(logits.dtype)


def at_points(
    logits: Float[Tensor, "masks h w"], true: Bool[Tensor, "masks height width"], num_points: int
) -> tuple[Float[Tensor, "masks points"], Float[Tensor, "masks points"]]:
    """Logits and truth at points: three quarters where the logits are least certain, the rest anywhere.

    The points are drawn from PyTorch's global generator.

    Source: Kirillov et al. 2020, "PointRend", section 3.2; as in Mask2Former.
    """
    masks, uncertain = len(logits), int(UNCERTAIN_SHARE * num_points)
    tried = torch.rand(masks, num_points * OVERSAMPLE, 2, device=logits.device)
    order = _sample(logits.detach(), tried).abs().topk(uncertain, dim=1, largest=False).indices
    anywhere = torch.rand(masks, num_points - uncertain, 2, device=logits.device)
    points = torch.cat([tried.gather(1, order[..., None].expand(-1, -1, 2)), anywhere], dim=1)
    return _sample(logits, points), _sample(true.to(logits.dtype), points)


def _sample(maps: Tensor, points: Tensor) -> Tensor:
    """Values of each map at its points, given from 0 to 1 over its width and height."""
    return F.grid_sample(maps[:, None], 2 * points[:, :, None] - 1, align_corners=False)[:, 0, :, 0]
