"""Task-aligned matching: each object is answered for by several tokens, those that score and fit it best already."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sleuth.geometry.boxes import cxcywh_to_xyxy, paired_iou
from sleuth.matching.costs import PaddedTargets
from sleuth.types.predictions import Match

TOKENS_PER_OBJECT = 10
SCORE_POWER, OVERLAP_POWER = 0.5, 6.0


@dataclass(frozen=True)
class AlignedMatch:
    """Tokens and the objects they answer for.

    Args:
        match: picture, token and object of each pair.
        quality: the score that is asked of each, 0 to 1: the best of an object's tokens is asked for its IoU, the
            others for less as they are less aligned.
    """

    match: Match
    quality: Float[Tensor, " matches"]


@torch.no_grad()
def aligned_match(
    logits: Float[Tensor, "batch tokens classes"],
    boxes_cxcywh: Float[Tensor, "batch tokens 4"],
    centres: Float[Tensor, "#batch tokens 2"],
    targets: PaddedTargets,
    *,
    tokens_per_object: int = TOKENS_PER_OBJECT,
) -> AlignedMatch:
    """Give each object the best aligned of the tokens that stand on it.

    Alignment is score ** 0.5 * IoU ** 6. An object on which no token stands takes the nearest. A token that several
    objects want goes to the one it fits best.

    Args:
        logits: class logits of every token.
        boxes_cxcywh: its box.
        centres: where it stands (x, y), in the frame of the boxes.
        targets: the objects.
        tokens_per_object: how many tokens an object may have.

    Source: Feng et al. 2021, "TOOD", section 3.2.
    """
    batch, tokens, _ = logits.shape
    objects = targets.labels.shape[1]
    if not objects:
        nothing = torch.zeros(0, dtype=torch.int64, device=logits.device)
        return AlignedMatch(Match(nothing, nothing, nothing), logits.new_zeros(0, dtype=torch.float32))
    true = targets.boxes_cxcywh
    corners = cxcywh_to_xyxy(true)
    at = centres[:, None].expand(batch, objects, -1, -1)
    inside = ((at > corners[:, :, None, :2]) & (at < corners[:, :, None, 2:])).all(-1)
    distance = (at - true[:, :, None, :2]).square().sum(-1)
    nearest = torch.zeros_like(inside).scatter_(2, distance.argmin(2, keepdim=True), True)
    inside = (inside | (nearest & ~inside.any(2, keepdim=True))) & targets.present[:, :, None]
    # Only pairs that may be matched are worth an IoU.
    row, target, token = inside.nonzero(as_tuple=True)
    overlap = torch.zeros(inside.shape, device=logits.device)
    overlap[row, target, token] = paired_iou(
        cxcywh_to_xyxy(boxes_cxcywh[row, token].float()), corners[row, target].float()
    )
    score = torch.zeros_like(overlap)
    score[row, target, token] = logits[row, token, targets.labels[row, target]].float().sigmoid()
    # A little more than nothing, so that tokens inside come before all others even where no box overlaps yet.
    alignment = (score**SCORE_POWER * overlap**OVERLAP_POWER + 1e-9) * inside
    best = alignment.topk(min(tokens_per_object, tokens), dim=2)
    chosen = torch.zeros_like(inside).scatter_(2, best.indices, best.values > 0)
    # Of several objects that chose a token, it goes to the one it overlaps most.
    owner = torch.where(chosen, overlap, -1.0).argmax(1)
    chosen &= torch.zeros_like(inside).scatter_(1, owner[:, None], True)
    alignment = alignment * chosen
    most, widest = alignment.amax(2, keepdim=True), (overlap * chosen).amax(2, keepdim=True)
    quality = alignment / most.clamp(min=1e-12) * widest
    picture, target, token = chosen.nonzero(as_tuple=True)
    return AlignedMatch(Match(picture, token, target), quality[picture, target, token])
