"""From samples to what a model and a loss take: one padded batch and one target per picture."""

from collections.abc import Sequence

import torch
from torch.nn.functional import pad

from sleuth.data.samples import Sample
from sleuth.geometry.boxes import xyxy_to_cxcywh
from sleuth.tasks.detection import IMAGENET_MEAN, IMAGENET_STD, normalise_and_pad
from sleuth.types.batches import ImageBatch, Target

Colour = tuple[float, float, float]


def to_batch(
    samples: Sequence[Sample],
    mean: Colour = IMAGENET_MEAN,
    std: Colour = IMAGENET_STD,
    multiple: int = 1,
    padded_hw: tuple[int, int] | None = None,
) -> tuple[ImageBatch, list[Target]]:
    """Normalise pictures and pad them with zeros at the bottom and right to one size.

    Args:
        samples: at least one picture, each of any size.
        mean: mean of each colour on the scale 0 to 1.
        std: standard deviation of each colour on the scale 0 to 1.
        multiple: the padded height and width are multiples of this number of pixels.
        padded_hw: pad to this size, before ``multiple``; by default to that of the highest and the widest picture.

    Returns:
        The batch, and targets whose boxes are relative to each picture as it is in the sample, without the padding.
    """
    images = normalise_and_pad([sample.image for sample in samples], mean=mean, std=std, pad_hw=padded_hw)
    height, width = images.valid.shape[1:]
    more = (0, -width % multiple, 0, -height % multiple)
    if any(more):
        images = ImageBatch(pixels=pad(images.pixels, more), valid=pad(images.valid, more))
    return images, [to_target(sample) for sample in samples]


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
        masks=sample.masks,
    )
