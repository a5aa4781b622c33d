"""How a picture becomes a model's input: its size, its pixels' scale, its padding. Part of a model's identity."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torchvision.transforms.v2.functional as TF
from jaxtyping import UInt8
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode

from sleuth.errors import UserError
from sleuth.types.batches import ImageBatch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Resize = Literal["shortest", "within", "cover", "exact", "none"]
Rounding = Literal["original", "huggingface"]
Resample = Literal["nearest", "bilinear", "bicubic", "lanczos"]

# PIL's names; its nearest takes the pixel at the centre, which torchvision calls exact.
_FILTERS = {
    "nearest": InterpolationMode.NEAREST_EXACT,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "lanczos": InterpolationMode.LANCZOS,
}


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the model's input; part of a model's identity.

    Args:
        shortest: the shorter side after resizing, in pixels.
        longest: the longer side at most.
        mean: of each channel, on the scale of the rescaled pixels.
        std: of each channel, on the same scale.
        resize: shortest (by ``shortest`` and ``longest``), within (as large as fits into ``size_hw``), cover (as small
            as covers ``size_hw``), exact (to ``size_hw``, whatever the shape), or none.
        size_hw: height and width in pixels for within, cover and exact.
        rounding: where ``longest`` binds, the longer side follows from the rounded shorter side (original) or from the
            shorter side before it was rounded (huggingface); the two differ by some pixels. So does the first pixel
            of a crop, see `middle_of`.
        resample: the filter; where pictures shrink, it is antialiased.
        rescale: what pixels from 0 to 255 are multiplied by.
        normalise: subtract the mean and divide by the standard deviation.
        pad_hw: pad every picture to this size; None pads to the largest of the batch.
        crop_hw: after resizing, the middle of this size is cut out, filled up with black where the picture is smaller;
            None keeps all of it. For classifiers: boxes do not follow.

    Raises:
        ValueError: a size below 1, or channels that cannot be normalised.

    Source: Carion et al. 2020, section 4 (800, 1333).
    """

    shortest: int = 800
    longest: int = 1333
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    resize: Resize = "shortest"
    size_hw: tuple[int, int] | None = None
    rounding: Rounding = "original"
    resample: Resample = "bilinear"
    rescale: float = 1 / 255
    normalise: bool = True
    pad_hw: tuple[int, int] | None = None
    crop_hw: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        sizes = (self.shortest, self.longest, *(self.size_hw or ()), *(self.pad_hw or ()), *(self.crop_hw or ()))
        if min(sizes) < 1:
            raise ValueError(f"sizes must be at least 1, not {', '.join(map(str, sizes))}")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, self.mean)) or not min(self.std) > 0:
            raise ValueError(f"mean {self.mean} and std {self.std} must be three numbers each, and std above 0")
        if not (math.isfinite(self.rescale) and self.rescale > 0):
            raise ValueError(f"rescale must be a number above 0, not {self.rescale}")
        if self.resize not in get_args(Resize):
            raise ValueError(f"resize is {', '.join(get_args(Resize))}, not {self.resize!r}")
        if self.rounding not in ("original", "huggingface"):
            raise ValueError(f"rounding is original or huggingface, not {self.rounding!r}")
        if self.resample not in _FILTERS:
            raise ValueError(f"resample is {', '.join(_FILTERS)}, not {self.resample!r}")
        if self.resize in ("within", "cover", "exact") and self.size_hw is None:
            raise ValueError(f"resize = {self.resize} wants size_hw, height and width in pixels")

    @property
    def blank(self) -> tuple[float, float, float]:
        """The colour that becomes 0, on the scale of 0 to 1: what pictures are filled up with; grey without a mean."""
        if not self.normalise:
            return (0.5, 0.5, 0.5)
        scale = 1 / (255 * self.rescale)
        red, green, blue = (channel * scale for channel in self.mean)
        return (red, green, blue)

    def size_for(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width that a picture of ``size_hw`` is resized to.

        >>> Preprocess().size_for((480, 640))
        (800, 1066)
        >>> Preprocess(resize="exact", size_hw=(300, 300)).size_for((480, 640))
        (300, 300)
        """
        if self.resize == "none":
            return size_hw
        if self.resize == "shortest":
            return self._by_shortest(*size_hw)
        assert self.size_hw is not None
        if self.resize == "exact":
            return self.size_hw
        if self.resize == "cover":
            scale = max(self.size_hw[0] / size_hw[0], self.size_hw[1] / size_hw[1])
            return round(size_hw[0] * scale), round(size_hw[1] * scale)
        scale = min(self.size_hw[0] / size_hw[0], self.size_hw[1] / size_hw[1])
        return max(1, int(size_hw[0] * scale)), max(1, int(size_hw[1] * scale))

    def _by_shortest(self, height: int, width: int) -> tuple[int, int]:
        low, high = min(height, width), max(height, width)
        shortest: int = self.shortest
        basis: float = shortest
        if high / low * shortest > self.longest:
            unrounded = self.longest * low / high
            shortest = round(unrounded)
            basis = unrounded if self.rounding == "huggingface" else shortest
        if shortest < 1:  # a line, thinner than a pixel at that length
            return (1, self.longest) if height <= width else (self.longest, 1)
        if low == shortest:
            return height, width
        if height <= width:
            return shortest, max(1, int(basis * width / height))
        return max(1, int(basis * height / width)), shortest


def normalise_and_pad(
    images: Sequence[UInt8[Tensor, "3 _ _"]],
    *,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    rescale: float = 1 / 255,
    normalise: bool = True,
    pad_hw: tuple[int, int] | None = None,
) -> ImageBatch:
    """Bring pictures of any sizes into one batch, padded at the bottom and right with zeros.

    Args:
        images: RGB, 0 to 255.
        mean: of each channel, on the scale of the rescaled pixels.
        std: of each channel, on the same scale.
        rescale: what pixels are multiplied by.
        normalise: subtract the mean and divide by the standard deviation.
        pad_hw: the padded height and width in pixels; by default those of the highest and the widest picture.

    Raises:
        UserError: a picture is larger than ``pad_hw``.
    """
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    if pad_hw is not None:
        if height > pad_hw[0] or width > pad_hw[1]:
            what = f"a picture of {height}x{width} does not fit into the {pad_hw[0]}x{pad_hw[1]} that the model takes"
            raise UserError(what, mend="make the picture smaller")
        height, width = pad_hw
    # As one step: fewer roundings than rescaling first.
    mean_t = torch.tensor(mean).view(3, 1, 1) * (1 / rescale)
    std_t = torch.tensor(std).view(3, 1, 1) * (1 / rescale)
    pixels = torch.zeros(len(images), 3, height, width)
    valid = torch.zeros(len(images), height, width, dtype=torch.bool)
    for row, image in enumerate(images):
        h, w = image.shape[1:]
        # In place: a third of the memory traffic.
        own = pixels[row, :, :h, :w].copy_(image)
        if normalise:
            own.sub_(mean_t).div_(std_t)
        else:
            own.mul_(rescale)
        valid[row, :h, :w] = True
    return ImageBatch(pixels=pixels, valid=valid)


def normalised(
    images: Sequence[UInt8[Tensor, "3 _ _"]], preprocess: Preprocess, pad_hw: tuple[int, int] | None = None
) -> ImageBatch:
    """Pictures that have their sizes as one batch, in colours as the model was trained.

    Args:
        images: RGB, 0 to 255.
        preprocess: mean, standard deviation and scale.
        pad_hw: the padded height and width in pixels; by default those of the highest and the widest picture.

    Raises:
        UserError: a picture is larger than ``pad_hw``.
    """
    return normalise_and_pad(
        images,
        mean=preprocess.mean,
        std=preprocess.std,
        rescale=preprocess.rescale,
        normalise=preprocess.normalise,
        pad_hw=pad_hw,
    )


def middle_of(
    image: UInt8[Tensor, "channels _ _"], size_hw: tuple[int, int], rounding: Rounding
) -> UInt8[Tensor, "channels _ _"]:
    """The middle of a picture, filled up with black where it is smaller.

    Args:
        image: a picture.
        size_hw: height and width of the middle.
        rounding: where an odd number of pixels is left over, the first is half of it, rounded to even (original, as
            torchvision and timm do) or down (huggingface).
    """
    if rounding == "original":
        return TF.center_crop(image, list(size_hw))
    height, width = (max(wanted - side, 0) for wanted, side in zip(size_hw, image.shape[1:], strict=True))
    image = TF.pad(image, [width // 2, height // 2, -(-width // 2), -(-height // 2)])
    top, left = ((side - wanted) // 2 for wanted, side in zip(size_hw, image.shape[1:], strict=True))
    return image[:, top : top + size_hw[0], left : left + size_hw[1]]


def preprocess_images(images: Sequence[UInt8[Tensor, "3 _ _"]], preprocess: Preprocess) -> ImageBatch:
    """Resize, rescale, normalise and pad pictures as the model was trained.

    Raises:
        UserError: a picture is larger than the padded size.
    """
    resized = []
    for image in images:
        size = preprocess.size_for((image.shape[1], image.shape[2]))
        if size != tuple(image.shape[1:]):
            image = TF.resize(
                image.contiguous(), list(size), interpolation=_FILTERS[preprocess.resample], antialias=True
            )
        if preprocess.crop_hw is not None:
            image = middle_of(image, preprocess.crop_hw, preprocess.rounding)
        resized.append(image)
    return normalised(resized, preprocess, preprocess.pad_hw)
