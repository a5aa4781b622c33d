"""From samples to what a model and a loss take: one padded batch and one target per picture."""

from collections.abc import Sequence

import torch

from sleuth.data.samples import Sample
from sleuth.geometry.boxes import xyxy_to_cxcywh
from sleuth.types import ImageBatch, Target

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def to_batch(
    samples: Sequence[Sample],
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    multiple: int = 1,
) -> tuple[ImageBatch, list[Target]]:
    """Normalise pictures and pad them with zeros at the bottom and right to one size.

    Args:
        samples: at least one picture, each of any size.
        mean: mean of each colour on the scale 0 to 1.
        std: standard deviation of each colour on the scale 0 to 1.
        multiple: the padded height and width are multiples of this number of pixels.

    Returns:
        The batch, and targets whose boxes are relative to each picture as it is in the sample, without the padding.
    """
    height = _round_up(max(sample.image.shape[1] for sample in samples), multiple)
    width = _round_up(max(sample.image.shape[2] for sample in samples), multiple)
    pixels = torch.zeros(len(samples), 3, height, width)
    valid = torch.zeros(len(samples), height, width, dtype=torch.bool)
    middle, spread = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
    for row, sample in enumerate(samples):
        h, w = sample.image.shape[1:]
        pixels[row, :, :h, :w] = sample.image.float().div_(255).sub_(middle).div_(spread)
        valid[row, :h, :w] = True
    return ImageBatch(pixels=pixels, valid=valid), [to_target(sample) for sample in samples]


def to_target(sample: Sample) -> Target:
    """The objects of a sample with boxes relative to its picture, 0 to 1."""
    height, width = sample.image.shape[1:]
    relative = sample.boxes_xyxy_px / torch.tensor([width, height, width, height])
    return Target(
        labels=sample.labels,
        boxes_cxcywh=xyxy_to_cxcywh(relative),
        name=sample.name,
        image_id=sample.image_id,
        size_hw=sample.size_hw,
    )


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
