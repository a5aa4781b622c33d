"""Training augmentation and evaluation resizing: transforms v2 on a picture, its boxes and its masks together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from sleuth.data.samples import Sample
from sleuth.errors import UserError
from sleuth.tasks.detection import Preprocess

PAPER_SCALE = 800
PAPER_LONGEST = 1333
NO_LIMIT = 2**40


def resized_hw(size_hw: tuple[int, int], shortest: int, longest: int | None) -> tuple[int, int]:
    """The size that brings the shorter side to ``shortest`` while the longer one stays within ``longest``.

    >>> resized_hw((480, 640), 800, 1333)
    (800, 1066)
    >>> resized_hw((100, 400), 800, 1333)
    (333, 1332)

    The same rule as at evaluation: `Preprocess.size_for`.
    """
    limit = NO_LIMIT if longest is None else longest
    return Preprocess(shortest=shortest, longest=limit).size_for(size_hw)


@dataclass(frozen=True)
class Resize:
    """Evaluation transform: shorter side to ``shortest`` pixels, longer side at most ``longest``.

    Args:
        shortest: pixels of the shorter side.
        longest: most pixels of the longer side; None sets no limit.
    """

    shortest: int = PAPER_SCALE
    longest: int | None = PAPER_LONGEST

    def __call__(self, sample: Sample) -> Sample:
        """The resized sample with all its objects; the very same one where its size is right already."""
        return _resize(sample, resized_hw(_hw(sample), self.shortest, self.longest))


@dataclass(frozen=True)
class Augmentation:
    """The paper's training augmentation: flip, then resize to a random scale, half the time through a random crop.

    Draws from PyTorch's global generator; the training stream seeds it per item.

    Args:
        scales: sizes in pixels of the shorter side, one drawn per picture; empty keeps pictures at their size.
        longest: most pixels of the longer side after the last resize; None sets no limit.
        crop_prob: share of the pictures that go through resize, crop, resize.
        crop_sizes: least and greatest side of the crop in pixels.
        pre_scales: sizes of the shorter side before the crop, one drawn per picture; empty crops at the original size.
        flip: mirror left and right half of the time.
        color_jitter: strength of random brightness, contrast and saturation, 0 to 1 (not in the paper).

    Source: Carion et al. 2020, appendix A.4; `make_coco_transforms` of the original implementation.
    """

    scales: tuple[int, ...] = tuple(range(480, 801, 32))
    longest: int | None = PAPER_LONGEST
    crop_prob: float = 0.5
    crop_sizes: tuple[int, int] = (384, 600)
    pre_scales: tuple[int, ...] = (400, 500, 600)
    flip: bool = True
    color_jitter: float = 0.0

    def __post_init__(self) -> None:
        sides = (*self.scales, *self.pre_scales, *self.crop_sizes, *(() if self.longest is None else (self.longest,)))
        if any(side < 1 for side in sides):
            raise UserError("sizes must be at least 1 pixel", where="augmentation", mend="give positive sizes")
        if self.crop_sizes[0] > self.crop_sizes[1]:
            raise UserError(
                f"crop_sizes {self.crop_sizes} is upside down", where="augmentation", mend="give the least side first"
            )
        for name, share in (("crop_prob", self.crop_prob), ("color_jitter", self.color_jitter)):
            if not 0 <= share <= 1:
                raise UserError(f"{name} is {share}", where="augmentation", mend=f"give {name} between 0 and 1")

    @classmethod
    def for_scale(cls, scale: int, **changes: object) -> "Augmentation":
        """The paper's augmentation in proportion to another scale; 800 gives the paper's own numbers.

        >>> Augmentation.for_scale(800) == Augmentation()
        True
        >>> Augmentation.for_scale(256).scales[0], Augmentation.for_scale(256).longest
        (154, 427)
        """
        paper = cls()
        ratio = scale / PAPER_SCALE

        def scaled(sizes: Sequence[int]) -> tuple[int, ...]:
            return tuple(max(1, round(size * ratio)) for size in sizes)

        low, high = scaled(paper.crop_sizes)
        values: dict[str, object] = {
            "scales": scaled(paper.scales),
            "longest": scaled((PAPER_LONGEST,))[0],
            "crop_sizes": (low, high),
            "pre_scales": scaled(paper.pre_scales),
        }
        return replace(paper, **(values | changes))  # type: ignore[arg-type]

    @classmethod
    def flip_only(cls, flip: bool = True) -> "Augmentation":
        """No change of size: for pictures that come in the right size, such as scenes."""
        return cls(scales=(), crop_prob=0.0, flip=flip)

    def __call__(self, sample: Sample) -> Sample:
        """An augmented copy; an object is removed where its box leaves the picture, or no pixel of its mask is left."""
        if self.flip and _chance(0.5):
            sample = _apply(sample, F.horizontal_flip)
        if self.crop_prob and _chance(self.crop_prob):
            sample = self._crop(sample)
        if self.scales:
            sample = _resize(sample, resized_hw(_hw(sample), _pick(self.scales), self.longest))
        sample = _with_pixels(sample)
        if self.color_jitter:
            sample = replace(sample, image=self._jitter()(sample.image))
        return sample

    def _crop(self, sample: Sample) -> Sample:
        """Resize to one of ``pre_scales``, then keep a random rectangle."""
        if self.pre_scales:
            sample = _resize(sample, resized_hw(_hw(sample), _pick(self.pre_scales), None))
        height, width = _hw(sample)
        crop_w = _between(min(self.crop_sizes[0], width), min(self.crop_sizes[1], width))
        crop_h = _between(min(self.crop_sizes[0], height), min(self.crop_sizes[1], height))
        top, left = _between(0, height - crop_h), _between(0, width - crop_w)
        return _visible(_apply(sample, F.crop, top, left, crop_h, crop_w))

    def _jitter(self) -> v2.ColorJitter:
        strength = self.color_jitter
        return v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength)


def _hw(sample: Sample) -> tuple[int, int]:
    return sample.image.shape[-2], sample.image.shape[-1]


def _chance(probability: float) -> bool:
    return float(torch.rand(())) < probability


def _between(low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, ()))


def _pick(sizes: Sequence[int]) -> int:
    return sizes[_between(0, len(sizes) - 1)]


def _apply(sample: Sample, operation: object, *args: object, **kwargs: object) -> Sample:
    """Run one geometric function of transforms v2 on the picture, its boxes and its masks; masks by nearest."""
    boxes = tv_tensors.BoundingBoxes(
        sample.boxes_xyxy_px, format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=_hw(sample)
    )
    image = operation(tv_tensors.Image(sample.image), *args, **kwargs)  # type: ignore[operator]
    moved = operation(boxes, *args, **kwargs)  # type: ignore[operator]
    masks = sample.masks
    if masks is not None:
        if len(masks) == 0:
            masks = masks.new_zeros(0, *image.shape[-2:])
        else:  # As bytes, without a copy: resizing would turn Bool into floats four times the size.
            seen = operation(tv_tensors.Mask(masks.view(torch.uint8)), *args, **kwargs)  # type: ignore[operator]
            masks = seen.as_subclass(Tensor).view(torch.bool)
    return replace(sample, image=image.as_subclass(Tensor), boxes_xyxy_px=moved.as_subclass(Tensor), masks=masks)


def _resize(sample: Sample, size_hw: tuple[int, int]) -> Sample:
    if size_hw == _hw(sample):
        return sample
    return _apply(sample, F.resize, size=list(size_hw), interpolation=v2.InterpolationMode.BILINEAR, antialias=True)


def _visible(sample: Sample) -> Sample:
    """Without the boxes that have no area left, as the original keeps any box with a visible part."""
    boxes = sample.boxes_xyxy_px
    return _keep(sample, (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))


def _with_pixels(sample: Sample) -> Sample:
    """Without the objects whose mask is empty, such as a small one that shrank away."""
    if sample.masks is None:
        return sample
    keep = sample.masks.flatten(1).any(1)
    return sample if bool(keep.all()) else _keep(sample, keep)


def _keep(sample: Sample, keep: Tensor) -> Sample:
    return replace(
        sample,
        boxes_xyxy_px=sample.boxes_xyxy_px[keep],
        labels=sample.labels[keep],
        masks=None if sample.masks is None else sample.masks[keep],
    )
