"""The frame of models without padding masks: they see the padded input as one picture, and answer for the real one.

Such a model computes with boxes relative to its whole input. Objects go in by `into_input`, answers come out by
`out_of_input`; where nothing is padded both change nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sleuth.nn.fdr_decoder import FineRefinement
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.predictions import Corners


def padded_to(images: ImageBatch, multiple: int) -> ImageBatch:
    """Pictures padded further at the bottom and right, to sides that are multiples of so many pixels."""
    height, width = images.pixels.shape[-2:]
    more = (0, -width % multiple, 0, -height % multiple)
    if not any(more):
        return images
    return ImageBatch(pixels=F.pad(images.pixels, more), valid=F.pad(images.valid, more))


def picture_share(valid: Bool[Tensor, "batch height width"]) -> Float[Tensor, "batch 4"]:
    """How much of the input's width and height is picture, as (width, height, width, height), 0 to 1."""
    height, width = valid.shape[-2:]
    share = torch.stack((valid[:, 0].sum(1) / width, valid[:, :, 0].sum(1) / height), dim=-1)
    return share.repeat(1, 2)


def into_input(targets: Sequence[Target], share: Float[Tensor, "batch 4"]) -> list[Target]:
    """Targets whose boxes are relative to the padded input."""
    return [
        replace(target, boxes_cxcywh=target.boxes_cxcywh * part.to(target.boxes_cxcywh))
        for target, part in zip(targets, share, strict=True)
    ]


def out_of_input(
    boxes_cxcywh: Float[Tensor, "*layers batch queries 4"], share: Float[Tensor, "batch 4"]
) -> Float[Tensor, "*layers batch queries 4"]:
    """Boxes relative to the unpadded picture."""
    return boxes_cxcywh / share[:, None]


def corners_out_of_input(found: FineRefinement, queries: slice, share: Float[Tensor, "batch 4"]) -> Corners:
    """The edge distributions of some queries, measured from boxes relative to the unpadded picture."""
    return Corners(
        logits=found.corners[:, :, queries],
        references_cxcywh=out_of_input(found.references_cxcywh[:, queries], share),
        reg_scale=found.reg_scale,
        up=found.up,
    )
