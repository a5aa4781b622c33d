"""What a training shows to a model, and what is wanted of it: pictures, their classes, their objects.

All masks have one polarity: True takes part (``valid``), as in PyTorch's fused attention.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


@dataclass(frozen=True)
class ImageBatch:
    """Normalised pictures, zero-padded at the bottom and right to one size.

    Args:
        pixels: normalised pixels, zero where padded.
        valid: True on the picture, False on padding.
    """

    pixels: Float[Tensor, "batch channels height width"]
    valid: Bool[Tensor, "batch height width"]

    def to(self, device: torch.device | str) -> "ImageBatch":
        """The same batch on another device."""
        return replace(
            self,
            pixels=self.pixels.to(device, non_blocking=True),
            valid=self.valid.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class ClassBatch:
    """Pictures with what they show.

    Args:
        images: the pictures.
        labels: the class of each; where two were mixed, that of the larger share.
        wanted: the share of each class, where pictures were mixed; None where each is of its class alone.
        names: each picture's file or number: errors and skipped steps name it.
    """

    images: ImageBatch
    labels: Int[Tensor, " batch"]
    wanted: Float[Tensor, "batch classes"] | None
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.names)

    def to(self, device: torch.device | str) -> "ClassBatch":
        """The same batch on another device."""
        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device, non_blocking=True),
            wanted=None if self.wanted is None else self.wanted.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class SemanticBatch:
    """Pictures with the class of each of their pixels.

    Args:
        images: the pictures.
        labels: the class of each pixel, and 255 where nobody has said, or where there is no picture.
        names: each picture's file or number: errors and skipped steps name it.
    """

    images: ImageBatch
    labels: UInt8[Tensor, "batch height width"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.names)

    def to(self, device: torch.device | str) -> "SemanticBatch":
        """The same batch on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device, non_blocking=True))


@dataclass(frozen=True)
class Target:
    """The objects of one picture, as the losses want them.

    Args:
        labels: contiguous class ids, 0 to classes - 1.
        boxes_cxcywh: boxes relative to the (transformed, unpadded) picture, 0 to 1.
        name: the picture's file name or scene number: errors and skipped steps name it.
        image_id: the picture's id in its data set.
        size_hw: size of the picture in pixels before any transform.
        masks: the visible pixels of each object, at the size of the (transformed, unpadded) picture; None where the
            data has boxes only.
    """

    labels: Int[Tensor, " objects"]
    boxes_cxcywh: Float[Tensor, "objects 4"]
    name: str = ""
    image_id: int = 0
    size_hw: tuple[int, int] = (1, 1)
    masks: Bool[Tensor, "objects height width"] | None = None

    def to(self, device: torch.device | str) -> "Target":
        """The same target on another device."""
        return replace(
            self,
            labels=self.labels.to(device),
            boxes_cxcywh=self.boxes_cxcywh.to(device),
            masks=None if self.masks is None else self.masks.to(device),
        )
