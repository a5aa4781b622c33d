"""Which points of a dense detector answer for which object: those near its centre, on the level for its size."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sleuth.types.predictions import Match, Points


@dataclass(frozen=True)
class PointMatch:
    """Points and the objects they answer for.

    Args:
        match: picture, point and object of each pair; a point answers for one object, an object has many points.
        centreness: of each pair, 1 in the middle of the object and 0 at its edge.
        missed: objects that no point answers for: too small for a point to lie in, or hidden behind smaller ones.
    """

    match: Match
    centreness: Float[Tensor, " matches"]
    missed: Bool[Tensor, "batch objects"]


@torch.no_grad()
def point_match(
    points: Points,
    boxes_xyxy_px: Float[Tensor, "batch objects 4"],
    present: Bool[Tensor, "batch objects"],
    *,
    radius: float = 1.5,
) -> PointMatch:
    """Give each point the smallest object that it may answer for.

    A point may answer for an object if it lies in its box, within ``radius`` strides of its centre in both directions,
    and if the farthest edge of the box is in the range of the point's level.

    Args:
        points: of the model.
        boxes_xyxy_px: the objects, in pixels of the padded input.
        present: False where there is no object.
        radius: how far from the centre, in strides.

    Source: Tian et al. 2019, section 3.2; centre sampling and centreness as in torchvision's FCOS.
    """
    # [batch, points, objects]: distances to left, top, right and bottom.
    x, y = points.centres_px[None, :, None].unbind(-1)
    left, top, right, bottom = boxes_xyxy_px[:, None].unbind(-1)
    edges = torch.stack((x - left, y - top, right - x, bottom - y), dim=-1)
    centres = (boxes_xyxy_px[:, None, :, :2] + boxes_xyxy_px[:, None, :, 2:]) / 2
    off_centre = (points.centres_px[None, :, None] - centres).abs().amax(-1)
    farthest = edges.amax(-1)
    low, high = points.ranges_px[None, :, None].unbind(-1)
    may = (edges.amin(-1) > 0) & (off_centre < radius * points.strides[None, :, None])
    may &= (farthest > low) & (farthest < high) & present[:, None]
    missed = present.clone()
    if not boxes_xyxy_px.shape[1]:
        nothing = torch.zeros(0, dtype=torch.int64, device=boxes_xyxy_px.device)
        return PointMatch(Match(nothing, nothing, nothing), boxes_xyxy_px.new_zeros(0), missed)
    area = (right - left) * (bottom - top)
    smallest, owner = torch.where(may, area, torch.inf).min(-1)
    picture, point = smallest.isfinite().nonzero(as_tuple=True)
    target = owner[picture, point]
    missed[picture, target] = False
    return PointMatch(Match(picture, point, target), centreness(edges[picture, point, target]), missed)


def centreness(edges: Float[Tensor, "matches 4"]) -> Float[Tensor, " matches"]:
    """How much a point is in the middle of its box: 1 in the middle, 0 at an edge.

    Args:
        edges: distances to left, top, right and bottom, above 0.

    Source: Tian et al. 2019, equation 3.
    """
    nearer = torch.minimum(edges[:, :2], edges[:, 2:])
    return (nearer / torch.maximum(edges[:, :2], edges[:, 2:])).prod(-1).sqrt()
