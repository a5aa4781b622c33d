"""What a classifier sees of a picture while it learns: crops, flips, RandAugment, erasing, and mixtures of two.

All of it is torchvision's; here is what is chosen of it, in which order, as values of a recipe.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class ClassAugmentation:
    """The ``[augmentation]`` of a classification recipe.

    Args:
        crop: resized (a part of random size and shape is brought to the model's size), padded (the picture is brought
            to the model's size, padded at all sides, and a random place of it taken), or none.
        least_area: of resized crops, the smallest share of the picture.
        padding: of padded crops, in pixels.
        fill: what lies beyond the edge of padded and turned pictures, and in erased parts: the mean colour, or black,
            for pictures on a black ground.
        flip: mirror half of the pictures, left for right.
        turn: most degrees by which pictures are turned to either side.
        randaugment: how many random operations of colour and shape; 0 for none.
        magnitude: how strong they are, 0 to 30.
        erase: share of the pictures of which a random part is blanked out.
        mixup: pictures are blended with others of the batch by shares from a beta distribution of this parameter; 0
            for none.
        cutmix: a part of another picture is put in, its area drawn likewise; where both are there, a coin decides for
            each batch.
        mix_share: share of the batches that are mixed.

    Source: Szegedy et al. 2015 (resized crops); Cubuk et al. 2020 (RandAugment); Zhong et al. 2020 (erasing); Zhang et
    al. 2018 (mixup); Yun et al. 2019 (cutmix); all together as in Touvron et al. 2021, table 9.
    """

    crop: Literal["resized", "padded", "none"] = "resized"
    least_area: float = 0.08
    padding: int = 4
    fill: Literal["mean", "black"] = "mean"
    flip: bool = True
    turn: float = 0.0
    randaugment: int = 0
    magnitude: int = 9
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.least_area <= 1:
            raise ValueError(f"least_area = {self.least_area} is not above 0 and at most 1")
        for name in ("padding", "turn", "randaugment", "mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        if not 0 <= self.magnitude <= 30:
            raise ValueError(f"magnitude = {self.magnitude} is not between 0 and 30")
        for name in ("erase", "mix_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1")

    @property
    def mixes(self) -> bool:
        """Whether pictures of a batch are mixed."""
        return bool(self.mixup or self.cutmix) and self.mix_share > 0

    def closed(self) -> "ClassAugmentation":
        """What is left of it at the end of a run: crops and flips."""
        return replace(self, randaugment=0, erase=0.0, mixup=0.0, cutmix=0.0)

    def one(
        self, image: UInt8[Tensor, "3 _ _"], size_hw: tuple[int, int], mean: Colour
    ) -> UInt8[Tensor, "3 height width"]:
        """One picture, drawing from PyTorch's global generator.

        Args:
            image: RGB, 0 to 255; it is not changed.
            size_hw: the model's size.
            mean: the mean colour, 0 to 1.
        """
        return _single(self, size_hw, mean)(image)

    def batch(
        self, pixels: Float[Tensor, "batch 3 height width"], labels: Int[Tensor, " batch"], classes: int
    ) -> tuple[Float[Tensor, "batch 3 height width"], Float[Tensor, "batch classes"] | None]:
        """Mix the pictures of a batch with each other, or leave them as they are.

        Returns:
            Pixels, and the share of each class; None where nothing was mixed.
        """
        if not self.mixes or len(labels) < 2 or float(torch.rand(())) >= self.mix_share:
            return pixels, None
        kinds: list[v2.Transform] = []
        if self.mixup:
            kinds.append(v2.MixUp(alpha=self.mixup, num_classes=classes))
        if self.cutmix:
            kinds.append(v2.CutMix(alpha=self.cutmix, num_classes=classes))
        mixed, wanted = kinds[int(torch.randint(len(kinds), ()))](pixels, labels)
        return mixed, wanted


@cache
def _single(settings: ClassAugmentation, size_hw: tuple[int, int], mean: Colour) -> v2.Transform:
    fill = [0, 0, 0] if settings.fill == "black" else [round(255 * channel) for channel in mean]
    steps: Sequence[v2.Transform | None] = (
        *_crop(settings, size_hw, fill),
        v2.RandomHorizontalFlip() if settings.flip else None,
        v2.RandomRotation(settings.turn, interpolation=InterpolationMode.BILINEAR, fill=fill)
        if settings.turn
        else None,
        v2.RandAugment(
            num_ops=settings.randaugment,
            magnitude=settings.magnitude,
            interpolation=InterpolationMode.BILINEAR,
            fill=fill,
        )
        if settings.randaugment
        else None,
        v2.RandomErasing(p=settings.erase, value=fill) if settings.erase else None,
    )
    chosen = [step for step in steps if step is not None]
    return v2.Compose(chosen) if chosen else v2.Identity()


def _crop(settings: ClassAugmentation, size_hw: tuple[int, int], fill: list[int]) -> list[v2.Transform]:
    size = list(size_hw)
    if settings.crop == "resized":
        return [v2.RandomResizedCrop(size, scale=(settings.least_area, 1.0), antialias=True)]
    resized: list[v2.Transform] = [v2.Resize(size, antialias=True)]
    if settings.crop == "padded" and settings.padding:
        return [*resized, v2.RandomCrop(size, padding=settings.padding, fill=fill)]
    return resized
