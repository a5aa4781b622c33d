"""Which tokens of the memory stand on which object: the assignment behind encoder supervision."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sleuth.geometry.boxes import cxcywh_to_xyxy
from sleuth.matching.costs import PaddedTargets
from sleuth.matching.hungarian import Match
from sleuth.types.memory import Memory


@dataclass(frozen=True)
class DenseMatch:
    """Tokens and the objects they stand on; each object's tokens share a weight of one.

    Args:
        match: picture, token and object of each pair.
        weight: one over the number of tokens that the object has.
    """

    match: Match
    weight: Float[Tensor, " matches"]


def token_centres(memory: Memory) -> Float[Tensor, "batch tokens 2"]:
    """Centre of each token (x, y), relative to the unpadded picture."""
    ((height, width),) = memory.grids_hw
    batch = len(memory.tokens)
    device = memory.tokens.device
    valid: Bool[Tensor, "batch height width"]
    if memory.valid is None:
        valid = torch.ones(batch, height, width, dtype=torch.bool, device=device)
    else:
        valid = memory.valid.view(batch, height, width)
    count = valid.float()
    y, x = count.cumsum(1), count.cumsum(2)
    y = (y - 0.5) / y[:, -1:, :].clamp(min=1)
    x = (x - 0.5) / x[:, :, -1:].clamp(min=1)
    return torch.stack((x, y), dim=-1).flatten(1, 2)


@torch.no_grad()
def dense_match(memory: Memory, targets: PaddedTargets, *, core: float = 0.5) -> DenseMatch:
    """Give each object the tokens in its core, and at least one: the nearest to its centre that is left.

    Where cores overlap, the smaller object has the token. With more objects than tokens, the largest go without.

    Args:
        memory: whose tokens are given away.
        targets: the objects.
        core: the part of the box, in each direction, that counts as its core.
    """
    centres = token_centres(memory)
    true = targets.boxes_cxcywh
    cored = cxcywh_to_xyxy(torch.cat((true[..., :2], true[..., 2:] * core), dim=-1))
    at = centres[:, :, None, :]
    inside = ((at >= cored[:, None, :, :2]) & (at <= cored[:, None, :, 2:])).all(-1)
    if memory.valid is not None:
        inside &= memory.valid[:, :, None]
    area = true[..., 2] * true[..., 3]
    owner = _smallest(inside & targets.present[:, None, :], area)
    owner = _with_nearest(owner, centres, targets, memory.valid)
    picture, token = (owner >= 0).nonzero(as_tuple=True)
    target = owner[picture, token]
    held = torch.zeros_like(area).index_put_((picture, target), torch.ones_like(area[picture, target]), accumulate=True)
    return DenseMatch(Match(picture, token, target), 1 / held[picture, target])


def _smallest(inside: Bool[Tensor, "batch tokens objects"], area: Float[Tensor, "batch objects"]) -> Tensor:
    """The smallest object that claims each token, or -1."""
    if not inside.shape[-1]:
        return torch.full(inside.shape[:2], -1, dtype=torch.int64, device=inside.device)
    claims = torch.where(inside, area[:, None, :], torch.inf)
    best, owner = claims.min(-1)
    return owner.masked_fill(best.isinf(), -1)


def _with_nearest(
    owner: Int[Tensor, "batch tokens"],
    centres: Float[Tensor, "batch tokens 2"],
    targets: PaddedTargets,
    valid: Bool[Tensor, "batch tokens"] | None,
) -> Int[Tensor, "batch tokens"]:
    """Small objects first, then large: each gets the nearest token that no other object has got in this way."""
    distance = (centres[:, :, None, :] - targets.boxes_cxcywh[:, None, :, :2]).square().sum(-1)
    free = torch.ones_like(owner, dtype=torch.bool) if valid is None else valid.clone()
    row = torch.arange(len(owner), device=owner.device)
    area = (targets.boxes_cxcywh[..., 2] * targets.boxes_cxcywh[..., 3]).masked_fill(~targets.present, torch.inf)
    for target in area.argsort(dim=1, stable=True).T:
        nearest = distance[row, :, target].masked_fill(~free, torch.inf).argmin(1)
        takes = targets.present[row, target] & free[row, nearest]
        owner[row, nearest] = torch.where(takes, target, owner[row, nearest])
        free[row, nearest] &= ~takes
    return owner
