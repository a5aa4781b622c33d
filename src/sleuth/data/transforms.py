"""Training augmentation and evaluation resizing, of a picture, its boxes and its masks together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torchvision.transforms import v2

from sleuth.data.colour import ColourJitter
from sleuth.data.copy_paste import CopyPaste
from sleuth.data.draws import between, chance, pick
from sleuth.data.framing import Framing
from sleuth.data.mosaic import Mosaic, mixup
from sleuth.data.moves import Orientation, crop, hw_of, resize, with_pixels
from sleuth.data.samples import Sample
from sleuth.errors import UserError
from sleuth.tasks.detection import Preprocess

PAPER_SCALE = 800
PAPER_LONGEST = 1333
NO_LIMIT = 2**40

_STEP = 32
"""Sizes of batches differ by multiples of this: the coarsest grid that models of one stride or another ask for."""

_SHARES = (
    *("crop_prob", "color_jitter", "safe_crop", "safe_crop_least", "zoom_out", "mosaic", "mixup", "copy_paste"),
    *("least_visible", "brightness", "contrast", "saturation"),
)


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
        return resize(sample, resized_hw(hw_of(sample), self.shortest, self.longest))


@dataclass(frozen=True)
class Augmentation:
    """Training augmentation: the paper's flip, crop and random scale; and, where asked for, what small data needs.

    By default it is the paper's: flip, then resize to a random scale, half the time through a random crop. All keys
    from ``flip_vertical`` on are not in the paper and off by default. Every draw is from PyTorch's global generator;
    the training stream seeds it per item, and lends other pictures of the data to mosaic, mixup and copy-paste.

    Args:
        scales: sizes in pixels of the shorter side, one drawn per picture; empty keeps pictures at their size.
        longest: most pixels of the longer side after the last resize; None sets no limit.
        crop_prob: share of the pictures that go through resize, crop, resize.
        crop_sizes: least and greatest side of the crop in pixels.
        pre_scales: sizes of the shorter side before the crop, one drawn per picture; empty crops at the original size.
        flip: mirror left and right half of the time.
        color_jitter: strength of random brightness, contrast and saturation, 0 to 1.
        flip_vertical: mirror up and down half of the time: where no side is up, as in microscopy and from the air.
        turn: turn by a random number of quarters, for the same pictures.
        fit: height and width in pixels that pictures are made to fit into, in place of ``scales``; batches are padded
            to exactly that.
        stretch: bring pictures to exactly ``fit``, whatever their shape.
        multi_scale: least and greatest size of a batch, as a multiple of ``fit``, in steps of 32 pixels; all pictures
            of a batch share it.
        safe_crop: share of the pictures that are cut to a random part around a whole object.
        safe_crop_least: least side of that part, as a share of the picture's.
        scale_jitter: least and greatest scale beyond the one that the size gives: above 1 a part of the picture, below
            1 all of it on grey.
        zoom_out: share of the pictures that lie on a larger grey canvas.
        zoom_out_most: largest side of that canvas, as a multiple of the picture's.
        mosaic: share of the pictures that are made of four.
        mosaic_scale: least and greatest size of each of the four, as a share of the size it would have by itself.
        mixup: share of the pictures that another is laid over.
        copy_paste: share of the pictures that objects of another are pasted into.
        copy_paste_objects: most objects that are pasted into one picture.
        least_visible: an object that one of these cuts or hides is dropped where a smaller share of it is left.
        brightness: strength of random brightness, 0 to 1; the next three in place of ``color_jitter``, and faster.
        contrast: strength of random contrast, 0 to 1.
        saturation: strength of random saturation, 0 to 1.
        hue: most that colours turn, as a share of the colour circle, 0 to 0.5.

    Source: Carion et al. 2020, appendix A.4; `make_coco_transforms` of the original implementation.
    """

    scales: tuple[int, ...] = tuple(range(480, 801, 32))
    longest: int | None = PAPER_LONGEST
    crop_prob: float = 0.5
    crop_sizes: tuple[int, int] = (384, 600)
    pre_scales: tuple[int, ...] = (400, 500, 600)
    flip: bool = True
    color_jitter: float = 0.0
    flip_vertical: bool = False
    turn: bool = False
    fit: tuple[int, int] | None = None
    stretch: bool = False
    multi_scale: tuple[float, float] = (1.0, 1.0)
    safe_crop: float = 0.0
    safe_crop_least: float = 0.5
    scale_jitter: tuple[float, float] = (1.0, 1.0)
    zoom_out: float = 0.0
    zoom_out_most: float = 2.0
    mosaic: float = 0.0
    mosaic_scale: tuple[float, float] = (0.4, 1.0)
    mixup: float = 0.0
    copy_paste: float = 0.0
    copy_paste_objects: int = 5
    least_visible: float = 0.15
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        sides = (*self.scales, *self.pre_scales, *self.crop_sizes, *(self.fit or ()))
        if any(side < 1 for side in (*sides, *(() if self.longest is None else (self.longest,)))):
            raise _wrong("sizes must be at least 1 pixel", "give positive sizes")
        if self.crop_sizes[0] > self.crop_sizes[1]:
            raise _wrong(f"crop_sizes {self.crop_sizes} is upside down", "give the least side first")
        for name in _SHARES:
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise _wrong(f"{name} is {share}", f"give {name} between 0 and 1")
        for name in ("multi_scale", "scale_jitter", "mosaic_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 10:
                raise _wrong(f"{name} is {low:g} to {high:g}", "give the least first, above 0, and at most 10")
        if not 0 <= self.hue <= 0.5:
            raise _wrong(f"hue is {self.hue}", "give hue between 0 and 0.5")
        if self.safe_crop_least == 0 or self.zoom_out_most < 1 or self.copy_paste_objects < 1:
            raise _wrong(
                "a part of no size", "give safe_crop_least above 0, zoom_out_most and copy_paste_objects from 1"
            )
        if self.fit and self.scales:
            raise _wrong("both fit and scales say how large pictures are", "give one of them")
        if self.fit is None and (self.stretch or self.multi_scale != (1.0, 1.0)):
            raise _wrong("stretch and multi_scale change fit, which is not given", "give fit = [height, width]")

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

    @classmethod
    def fitted(cls, fit: tuple[int, int], **changes: object) -> "Augmentation":
        """Pictures as large as fit into a height and a width, without the paper's crop."""
        values: dict[str, object] = {"scales": (), "crop_prob": 0.0, "fit": fit}
        return cls(**(values | changes))  # type: ignore[arg-type]

    @property
    def several(self) -> bool:
        """Whether it takes other pictures of the data besides the one it changes."""
        return bool(self.mosaic or self.mixup or self.copy_paste)

    def closed(self) -> "Augmentation":
        """What is left at the end of a training: pictures as they are at prediction, but for the paper's own changes.

        Flips, turns, the paper's crop and ``color_jitter`` stay.

        Source: Ge et al. 2021, YOLOX, section 2.2 (the last epochs without mosaic and mixup).
        """
        off = dict.fromkeys(("mosaic", "mixup", "copy_paste", "safe_crop", "zoom_out"), 0.0)
        off |= dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0)
        return replace(self, **off, scale_jitter=(1.0, 1.0), multi_scale=(1.0, 1.0))  # type: ignore[arg-type]

    def padded_hw(self, batch_seed: int) -> tuple[int, int] | None:
        """Height and width of all batches, or of the batch of this seed; None where each is as large as its pictures.

        >>> Augmentation.fitted((240, 320)).padded_hw(7)
        (240, 320)
        """
        if self.fit is None or self.multi_scale == (1.0, 1.0):
            return self.fit
        low, high = self.multi_scale
        heights = [h for h in range(_STEP, int(self.fit[0] * high) + 1, _STEP) if h >= self.fit[0] * low]
        generator = torch.Generator().manual_seed(batch_seed)
        choice = int(torch.randint(0, len(heights) + 1, (), generator=generator))
        if choice == len(heights) or heights[choice] == self.fit[0]:
            return self.fit
        return heights[choice], max(_STEP, round(self.fit[1] * heights[choice] / self.fit[0] / _STEP) * _STEP)

    def longest_needed(self) -> int | None:
        """The side in pixels beyond which a picture has detail that training never shows; None where there is none."""
        if self.fit is None or (self.crop_prob and self.pre_scales):
            return None
        closer = max(1.0, self.scale_jitter[1]) / (self.safe_crop_least if self.safe_crop else 1.0)
        if self.mosaic:
            closer = max(closer, self.mosaic_scale[1])
        return round(max(self.fit) * max(1.0, self.multi_scale[1]) * closer)

    def __call__(self, sample: Sample) -> Sample:
        """An augmented copy of a picture that has no others beside it: where several are taken, it is all of them."""
        return self.compose(sample, lambda: sample, 0)

    def compose(self, sample: Sample, draw: Callable[[], Sample], batch_seed: int) -> Sample:
        """An augmented copy; an object is removed where its box leaves the picture, or no pixel of its mask is left.

        Args:
            sample: the picture.
            draw: a random picture of the data.
            batch_seed: the same for all pictures of a batch.
        """
        fit = self.padded_hw(batch_seed)
        made = self._picture(sample, draw, fit)
        if self.copy_paste and chance(self.copy_paste):
            other = draw()
            made = self._copy_paste()(made, other, self._scale(hw_of(other), fit))
        if self.mixup and chance(self.mixup):
            made = mixup(made, self._picture(draw(), draw, fit))
        made = with_pixels(made)
        if self.color_jitter:
            made = replace(made, image=self._jitter()(made.image))
        colour = ColourJitter(self.brightness, self.contrast, self.saturation, self.hue)
        return replace(made, image=colour(made.image)) if colour else made

    def _picture(self, sample: Sample, draw: Callable[[], Sample], fit: tuple[int, int] | None) -> Sample:
        """One picture or a mosaic of four, at its size."""
        if self.mosaic and chance(self.mosaic):
            size_hw = fit or self._size(hw_of(sample), None)
            if min(size_hw) > 1:
                four = (sample, draw(), draw(), draw())
                return Mosaic(self.mosaic_scale, self.least_visible)(four, size_hw, self._orientation)
        sample = self._orientation().of(sample)
        if self.crop_prob and chance(self.crop_prob):
            sample = self._crop(sample)
        framing = self._framing()
        if not framing:
            return resize(sample, self._size(hw_of(sample), fit))
        part = framing.part(sample)
        return framing.take(sample, part, self._size(part.hw, fit))

    def _size(self, size_hw: tuple[int, int], fit: tuple[int, int] | None) -> tuple[int, int]:
        """The size that a picture of ``size_hw`` is brought to."""
        if fit is not None:
            return Preprocess(resize="exact" if self.stretch else "within", size_hw=fit).size_for(size_hw)
        return resized_hw(size_hw, pick(self.scales), self.longest) if self.scales else size_hw

    def _scale(self, size_hw: tuple[int, int], fit: tuple[int, int] | None) -> float:
        height, width = self._size(size_hw, fit)
        return min(height / size_hw[0], width / size_hw[1])

    def _orientation(self) -> Orientation:
        return Orientation.draw(self.flip, self.flip_vertical, self.turn)

    def _framing(self) -> Framing:
        return Framing(
            safe_crop=self.safe_crop,
            safe_crop_least=self.safe_crop_least,
            scale_jitter=self.scale_jitter,
            zoom_out=self.zoom_out,
            zoom_out_most=self.zoom_out_most,
            least_visible=self.least_visible,
        )

    def _copy_paste(self) -> CopyPaste:
        return CopyPaste(objects=self.copy_paste_objects, least_visible=self.least_visible)

    def _crop(self, sample: Sample) -> Sample:
        """Resize to one of ``pre_scales``, then keep a random rectangle."""
        if self.pre_scales:
            sample = resize(sample, resized_hw(hw_of(sample), pick(self.pre_scales), None))
        height, width = hw_of(sample)
        crop_w = between(min(self.crop_sizes[0], width), min(self.crop_sizes[1], width))
        crop_h = between(min(self.crop_sizes[0], height), min(self.crop_sizes[1], height))
        top, left = between(0, height - crop_h), between(0, width - crop_w)
        return crop(sample, top, left, crop_h, crop_w)

    def _jitter(self) -> v2.ColorJitter:
        strength = self.color_jitter
        return v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength)


def _wrong(what: str, mend: str) -> UserError:
    return UserError(what, where="augmentation", mend=mend)
