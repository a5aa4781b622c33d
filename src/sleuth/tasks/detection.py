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
    """One detection a query: its best class but no-object, its box in pixels of the original picture.

    Args:
        prediction: of a model.
        sizes_hw: size of each original picture, in pixels.
        threshold: the least score to keep.
        layer: which decoder layer answers; the last by default.

    Returns: the detections of each picture, best first. No box is suppressed by another.
    """
    scores, labels = prediction.logits[layer].float().softmax(-1)[..., :-1].max(-1)
    boxes = cxcywh_to_xyxy(prediction.boxes_cxcywh[layer].float())
    found = []
    for row, size_hw in enumerate(sizes_hw):
        order = scores[row].argsort(descending=True, stable=True)
        order = order[scores[row][order] >= threshold]
        found.append(
            RawDetections(
                boxes_xyxy_px=scale_boxes(boxes[row][order], size_hw),
                scores=scores[row][order],
                labels=labels[row][order],
                queries=order,
            )
        )
    return found
