"""Detection: pictures in, boxes out. What happens before the model is in `preprocess`, what after it is here."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import batched_nms

from sleuth.geometry.boxes import cxcywh_to_xyxy, scale_boxes
from sleuth.tasks.detection_loss import DetectionLoss, DetectionLossConfig
from sleuth.tasks.point_loss import PointLoss
from sleuth.tasks.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess, normalise_and_pad, preprocess_images
from sleuth.types.predictions import SetPrediction

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "DetectionLoss",
    "DetectionLossConfig",
    "PointLoss",
    "Preprocess",
    "RawDetections",
    "build_criterion",
    "decode_detections",
    "normalise_and_pad",
    "preprocess_images",
]


@dataclass(frozen=True)
class RawDetections:
    """Scored boxes of one picture, best first.

    Args:
        boxes_xyxy_px: corners in pixels of the original picture.
        scores: probability of the class, 0 to 1.
        labels: contiguous class ids.
        queries: which query found it: what to ask for its mask.
    """

    boxes_xyxy_px: Float[Tensor, "detections 4"]
    scores: Float[Tensor, " detections"]
    labels: Int[Tensor, " detections"]
    queries: Int[Tensor, " detections"]


def build_criterion(config: DetectionLossConfig) -> DetectionLoss | PointLoss:
    """The loss of a config: of sets, or of a dense detector's points.

    Raises:
        UserError: losses that do not go together.
    """
    return PointLoss(config) if config.assignment == "points" else DetectionLoss(config)


@torch.no_grad()
def decode_detections(
    prediction: SetPrediction,
    sizes_hw: Sequence[tuple[int, int]],
    *,
    threshold: float = 0.0,
    layer: int = -1,
    suppress: bool = True,
) -> list[RawDetections]:
    """The best answers of each picture, their boxes in pixels of the original.

    With softmax scores a query gives one answer: its best class but no-object. With sigmoid scores every class of every
    query is an answer, and as many are kept as there are queries, so that a query may answer twice. The score of a
    point of a dense detector is the geometric mean of that of its class and of its centreness.

    Args:
        prediction: of a model.
        sizes_hw: size of each original picture, in pixels.
        threshold: the least score to keep.
        layer: which decoder layer answers; the last by default.
        suppress: do what the model's family declares about several answers for one object; False shows them all.

    Returns: the detections of each picture, best first. Of families that declare no suppression, as all that have a
        decoder, no box is suppressed by another.
    """
    scores, labels, queries = _answers(prediction, layer)
    rule = prediction.suppression if suppress else None
    boxes = cxcywh_to_xyxy(prediction.boxes_cxcywh[layer].float())
    found = []
    for row, size_hw in enumerate(sizes_hw):
        order = scores[row].argsort(descending=True, stable=True)
        order = order[scores[row][order] >= threshold]
        if rule is not None:
            at = order[: rule.candidates]
            kept = batched_nms(
                scale_boxes(boxes[row][queries[row][at]], size_hw), scores[row][at], labels[row][at], rule.iou
            )
            order = at[kept[: rule.most]]
        found.append(
            RawDetections(
                boxes_xyxy_px=scale_boxes(boxes[row][queries[row][order]], size_hw),
                scores=scores[row][order],
                labels=labels[row][order],
                queries=queries[row][order],
            )
        )
    return found


def _answers(prediction: SetPrediction, layer: int) -> tuple[Tensor, Tensor, Tensor]:
    """Score, class and query of each answer, [batch, answers]."""
    logits, points = prediction.logits[layer].float(), prediction.points
    batch, queries, classes = logits.shape
    if prediction.activation == "softmax":
        scores, labels = logits.softmax(-1)[..., :-1].max(-1)
        return scores, labels, torch.arange(queries, device=logits.device).expand(batch, -1)
    scores = logits.sigmoid()
    if points is not None:
        scores = (scores * points.centreness.to(scores).sigmoid()[..., None]).sqrt()
    best, index = scores.flatten(1).topk(queries, dim=1)
    return best, index % classes, index // classes
