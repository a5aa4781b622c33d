"""What a model of pixel classes sees of a picture while it learns: another size, a part, mirrored, other colours.

All of it is torchvision's, which moves pictures and masks alike; here is what is chosen of it, as values of a recipe.
"""

from dataclasses import dataclass, replace
from functools import cache

import torch
import torchvision.transforms.v2.functional as TF
from jaxtyping import UInt8
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from sleuth.tasks.semantic import UNLABELLED

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class SemanticAugmentation:
    """The ``[augmentation]`` of a recipe for semantic segmentation.

    Args:
        crop_hw: height and width of the part that is trained on; None for the size that the model's positions are of.
        scale: pictures are resized to between so many and so many times the size that the model sees them at; then a
            random part of the size that it is trained at is taken, and smaller pictures are filled up with the mean
            colour, which has no class.
        flip: mirror half of the pictures, left for right.
        colour: how much brightness, contrast and saturation may change, as a share; 0 leaves them.
        turn: most degrees by which pictures are turned to either side.

    Source: the usual ones of semantic segmentation, as in Strudel et al. 2021, section 4.2.
    """

    crop_hw: tuple[int, int] | None = None
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    colour: float = 0.4
    turn: float = 0.0

    def __post_init__(self) -> None:
        if self.crop_hw is not None and (len(self.crop_hw) != 2 or min(self.crop_hw) < 1):
            raise ValueError(f"crop_hw = {self.crop_hw} is not two sides above 0")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale = {self.scale} is not two numbers above 0, the smaller first")
        if not 0 <= self.colour < 1:
            raise ValueError(f"colour = {self.colour} is not at least 0 and below 1")
        if self.turn < 0:
            raise ValueError("turn must not be negative")

    def closed(self) -> "SemanticAugmentation":
        """What is left of it at the end of a run: sizes, parts and flips."""
        return replace(self, colour=0.0, turn=0.0)

    def __call__(
        self,
        image: UInt8[Tensor, "3 _ _"],
        labels: UInt8[Tensor, "_ _"],
        *,
        base_hw: tuple[int, int],
        size_hw: tuple[int, int],
        mean: Colour,
    ) -> tuple[UInt8[Tensor, "3 height width"], UInt8[Tensor, "height width"]]:
        """One picture and its classes, drawing from PyTorch's global generator.

        Args:
            image: RGB, 0 to 255; it is not changed.
            labels: of its pixels.
            base_hw: height and width at which the model sees the picture.
            size_hw: height and width of the part that it is trained on.
            mean: the mean colour, 0 to 1.
        """
        seen, mask = _resize(self, base_hw, mean)(tv_tensors.Image(image), tv_tensors.Mask(labels[None]))
        changed, mask = _rest(self, size_hw)(*_filled_up(seen, mask, size_hw, mean))
        return changed.as_subclass(Tensor), mask.as_subclass(Tensor)[0].contiguous()


def _filled_up(
    image: tv_tensors.Image, mask: tv_tensors.Mask, size_hw: tuple[int, int], mean: Colour
) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Both at least of a size, the picture somewhere in it."""
    more = [max(wanted - side, 0) for wanted, side in zip(size_hw, image.shape[1:], strict=True)]
    if not any(more):
        return image, mask
    top, left = (int(torch.randint(side + 1, ())) for side in more)
    padding = [left, top, more[1] - left, more[0] - top]
    return TF.pad(image, padding, fill=_bytes(mean)), TF.pad(mask, padding, fill=UNLABELLED)


@cache
def _resize(settings: SemanticAugmentation, base_hw: tuple[int, int], mean: Colour) -> v2.Transform:
    # This one wants the width first.
    steps: list[v2.Transform] = [v2.ScaleJitter(base_hw[::-1], scale_range=settings.scale, antialias=True)]
    if settings.turn:
        fill = {tv_tensors.Image: _bytes(mean), tv_tensors.Mask: UNLABELLED}
        steps.append(v2.RandomRotation(settings.turn, interpolation=InterpolationMode.BILINEAR, fill=fill))
    return v2.Compose(steps)


@cache
def _rest(settings: SemanticAugmentation, size_hw: tuple[int, int]) -> v2.Transform:
    steps: list[v2.Transform] = [v2.RandomCrop(list(size_hw))]
    if settings.flip:
        steps.append(v2.RandomHorizontalFlip())
    if settings.colour:
        share = settings.colour
        steps.append(v2.ColorJitter(brightness=share, contrast=share, saturation=share))
    return v2.Compose(steps)


def _bytes(colour: Colour) -> list[int]:
    return [round(255 * channel) for channel in colour]
