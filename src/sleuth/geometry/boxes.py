"""Boxes: conversions, overlap, generalised overlap. Pure tensor functions that never assert and never divide by zero.

Formats live in the names: ``cxcywh`` is centre and size, ``xyxy`` two corners. Units are the caller's.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def cxcywh_to_xyxy(boxes: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 4"]:
    """Centre and size to corners.

    >>> cxcywh_to_xyxy(torch.tensor([[0.5, 0.5, 0.2, 0.4]]))
    tensor([[0.4000, 0.3000, 0.6000, 0.7000]])
    """
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def xyxy_to_cxcywh(boxes: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 4"]:
    """Corners to centre and size; the inverse of `cxcywh_to_xyxy`."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def xyxy_to_xywh(boxes: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 4"]:
    """Corners to COCO's form: left, top, width, height."""
    return torch.cat((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), dim=-1)


def xywh_to_xyxy(boxes: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 4"]:
    """COCO's left, top, width, height to corners."""
    return torch.cat((boxes[..., :2], boxes[..., :2] + boxes[..., 2:]), dim=-1)


def scale_boxes(boxes: Float[Tensor, "boxes 4"], size_hw: tuple[int, int]) -> Float[Tensor, "boxes 4"]:
    """Relative boxes (0 to 1, any format) to pixels of a picture of ``size_hw``."""
    height, width = size_hw
    return boxes * boxes.new_tensor([width, height, width, height])


def clip_boxes(boxes_xyxy: Float[Tensor, "boxes 4"], size_hw: tuple[int, int]) -> Float[Tensor, "boxes 4"]:
    """Corners moved into the picture."""
    height, width = size_hw
    limit = boxes_xyxy.new_tensor([width, height, width, height])
    return torch.minimum(boxes_xyxy.clamp(min=0), limit)


def box_area(boxes_xyxy: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape"]:
    """Area of each box; an inverted box has none."""
    sides = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection and union of boxes that broadcast against each other."""
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    intersection = sides[..., 0] * sides[..., 1]
    return intersection, box_area(a) + box_area(b) - intersection


_NO_AREA = 1e-30
"""Areas up to here count as none: their reciprocals would overflow in the gradient."""


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and 0 where the whole has no area: also in the gradient."""
    empty = whole <= _NO_AREA
    return torch.where(empty, torch.zeros_like(part), part / torch.where(empty, torch.ones_like(whole), whole))


def _iou(a: Tensor, b: Tensor) -> Tensor:
    return _ratio(*_overlap(a, b))


def _giou(a: Tensor, b: Tensor) -> Tensor:
    intersection, union = _overlap(a, b)
    sides = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0)
    hull = sides[..., 0] * sides[..., 1]
    return _ratio(intersection, union) - _ratio(hull - union, hull)


def pairwise_iou(a_xyxy: Float[Tensor, "a 4"], b_xyxy: Float[Tensor, "b 4"]) -> Float[Tensor, "a b"]:
    """Intersection over union of every box of ``a`` with every box of ``b``, 0 to 1."""
    return _iou(a_xyxy[:, None], b_xyxy[None])


def pairwise_giou(a_xyxy: Float[Tensor, "a 4"], b_xyxy: Float[Tensor, "b 4"]) -> Float[Tensor, "a b"]:
    """Generalised IoU of every pair, -1 to 1: IoU less the share of the common hull that neither covers.

    Where not even the hull has an area, as of two equal points, it is 0 rather than a division by zero.

    Source: Rezatofighi et al. 2019, algorithm 1.
    """
    return _giou(a_xyxy[:, None], b_xyxy[None])


def paired_iou(a_xyxy: Float[Tensor, "boxes 4"], b_xyxy: Float[Tensor, "boxes 4"]) -> Float[Tensor, " boxes"]:
    """IoU of the i-th box of ``a`` with the i-th of ``b``."""
    return _iou(a_xyxy, b_xyxy)


def paired_giou(a_xyxy: Float[Tensor, "boxes 4"], b_xyxy: Float[Tensor, "boxes 4"]) -> Float[Tensor, " boxes"]:
    """Generalised IoU of the i-th box of ``a`` with the i-th of ``b``."""
    return _giou(a_xyxy, b_xyxy)
