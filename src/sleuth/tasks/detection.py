"""Detection: pictures in, boxes out. What happens before the model is in `preprocess`, what after it is here."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sleuth.geometry.boxes import cxcywh_to_xyxy, scale_boxes
from sleuth.tasks.detection_loss import DetectionLoss, DetectionLossConfig
from sleuth.tasks.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess, normalise_and_pad, preprocess_images
from sleuth.types import SetPrediction

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "DetectionLoss",
    "DetectionLossConfig",
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


def build_criterion(config: DetectionLossConfig) -> DetectionLoss:
    """The set loss of a config."""
    return DetectionLoss(config)


@torch.no_grad()
def decode_detections(
    prediction: SetPrediction, sizes_hw: Sequence[tuple[int, int]], *, threshold: float = 0.0, layer: int = -1
) -> list[RawDetections]:
    """The best answers of each picture, their boxes in pixels of the original.

    With softmax scores a query gives one answer: its best class but no-object. With sigmoid scores every class of every
    query is an answer, and as many are kept as there are queries, so that a query may answer twice.

    Args:
        prediction: of a model.
        sizes_hw: size of each original picture, in pixels.
        threshold: the least score to keep.
        layer: which decoder layer answers; the last by default.

    Returns: the detections of each picture, best first. No box is suppressed by another.
    """
    scores, labels, queries = _answers(prediction.logits[layer].float(), prediction.activation)
    boxes = cxcywh_to_xyxy(prediction.boxes_cxcywh[layer].float())
    found = []
    for row, size_hw in enumerate(sizes_hw):
        order = scores[row].argsort(descending=True, stable=True)
        order = order[scores[row][order] >= threshold]
        found.append(
            RawDetections(
                boxes_xyxy_px=scale_boxes(boxes[row][queries[row][order]], size_hw),
                scores=scores[row][order],
                labels=labels[row][order],
                queries=queries[row][order],
            )
        )
    return found


def _answers(logits: Tensor, activation: str) -> tuple[Tensor, Tensor, Tensor]:
    """Score, class and query of each answer, [batch, answers]."""
    batch, queries, classes = logits.shape
    if activation == "softmax":
        scores, labels = logits.softmax(-1)[..., :-1].max(-1)
        return scores, labels, torch.arange(queries, device=logits.device).expand(batch, -1)
    scores, index = logits.sigmoid().flatten(1).topk(queries, dim=1)
    return scores, index % classes, index // classes
