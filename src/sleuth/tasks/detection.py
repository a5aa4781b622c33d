"""Detection: pictures in, boxes out. What happens before and after the model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torchvision.transforms.v2.functional as TF
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from sleuth.geometry.boxes import cxcywh_to_xyxy, scale_boxes
from sleuth.tasks.detection_loss import DetectionLoss, DetectionLossConfig
from sleuth.types import ImageBatch, SetPrediction

__all__ = [
    "DetectionLoss",
    "DetectionLossConfig",
    "Preprocess",
    "RawDetections",
    "build_criterion",
    "decode_detections",
    "normalise_and_pad",
    "preprocess_images",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the model's input; part of a model's identity.

    Args:
        shortest: the shorter side after resizing, in pixels.
        longest: the longer side at most.
        mean: of each channel, on the 0 to 1 scale.
        std: of each channel, on the 0 to 1 scale.

    Raises:
        ValueError: a size below 1, or channels that cannot be normalised.

    Source: Carion et al. 2020, section 4 (800, 1333).
    """

    shortest: int = 800
    longest: int = 1333
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if self.shortest < 1 or self.longest < 1:
            raise ValueError(f"sizes must be at least 1, not {self.shortest} and {self.longest}")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, self.mean)) or not min(self.std) > 0:
            raise ValueError(f"mean {self.mean} and std {self.std} must be three numbers each, and std above 0")

    def size_for(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width that a picture of ``size_hw`` is resized to: its shape is kept.

        >>> Preprocess().size_for((480, 640))
        (800, 1066)
        """
        height, width = size_hw
        low, high = min(size_hw), max(size_hw)
        shortest = self.shortest
        if high / low * shortest > self.longest:
            shortest = round(self.longest * low / high)
        if shortest < 1:  # a line, thinner than a pixel at that length
            return (1, self.longest) if height <= width else (self.longest, 1)
        if height <= width:
            return shortest, int(shortest * width / height)
        return int(shortest * height / width), shortest


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


def normalise_and_pad(
    images: Sequence[UInt8[Tensor, "3 _ _"]],
    *,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> ImageBatch:
    """Bring pictures of any sizes into one batch, padded at the bottom and right with zeros."""
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    mean_t = torch.tensor(mean).view(3, 1, 1) * 255
    std_t = torch.tensor(std).view(3, 1, 1) * 255
    pixels = torch.zeros(len(images), 3, height, width)
    valid = torch.zeros(len(images), height, width, dtype=torch.bool)
    for row, image in enumerate(images):
        h, w = image.shape[1:]
        pixels[row, :, :h, :w] = (image.float() - mean_t) / std_t
        valid[row, :h, :w] = True
    return ImageBatch(pixels=pixels, valid=valid)


def preprocess_images(images: Sequence[UInt8[Tensor, "3 _ _"]], preprocess: Preprocess) -> ImageBatch:
    """Resize (bilinear, antialiased), normalise and pad pictures as the model was trained."""
    resized = []
    for image in images:
        size = preprocess.size_for((image.shape[1], image.shape[2]))
        same = size == tuple(image.shape[1:])
        resized.append(image if same else TF.resize(image, list(size), antialias=True))
    return normalise_and_pad(resized, mean=preprocess.mean, std=preprocess.std)


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
