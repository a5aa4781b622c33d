"""Geometry on a picture, its boxes and its masks together: resize, turn, cut out a window, set into a canvas."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from sleuth.data.draws import between, chance
from sleuth.data.samples import Sample

GREY = 114
"""The colour of a canvas where there is no picture."""

_LEAST_SIDE_PX = 2.0


@dataclass(frozen=True)
class Window:
    """A rectangle of whole pixels inside a picture."""

    top: int
    left: int
    height: int
    width: int

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @classmethod
    def whole(cls, size_hw: tuple[int, int]) -> "Window":
        """All of a picture."""
        return cls(0, 0, *size_hw)


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a picture down: mirrored, then turned to the left by quarters."""

    left_right: bool = False
    up_down: bool = False
    quarters: int = 0

    @classmethod
    def draw(cls, flip: bool, flip_vertical: bool, turn: bool) -> "Orientation":
        """Each mirroring that is allowed half of the time, each turn as often as the others."""
        left_right = flip and chance(0.5)
        up_down = flip_vertical and chance(0.5)
        return cls(left_right, up_down, between(0, 3) if turn else 0)

    def of(self, sample: Sample) -> Sample:
        """The sample laid down this way; the very same one where nothing changes."""
        if self.left_right:
            sample = mirrored(sample)
        if self.up_down:
            sample = upside_down(sample)
        for _ in range(self.quarters):
            sample = turned(sample)
        return sample

    def hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a picture of ``size_hw`` after it; or before it, of one of that size after it."""
        return (size_hw[1], size_hw[0]) if self.quarters % 2 else size_hw


def hw_of(sample: Sample) -> tuple[int, int]:
    """Height and width of the sample's picture."""
    return sample.image.shape[-2], sample.image.shape[-1]


def apply(sample: Sample, operation: object, *args: object, **kwargs: object) -> Sample:
    """Run one geometric function of transforms v2 on the picture, its boxes and its masks; masks by nearest."""
    boxes = tv_tensors.BoundingBoxes(
        sample.boxes_xyxy_px, format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=hw_of(sample)
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


def resize(sample: Sample, size_hw: tuple[int, int]) -> Sample:
    """The sample at another size, with all its objects; the very same one where its size is right already."""
    if size_hw == hw_of(sample):
        return sample
    sample = replace(sample, image=_resizable(sample.image, size_hw))
    return apply(sample, F.resize, size=list(size_hw), interpolation=v2.InterpolationMode.BILINEAR, antialias=True)


def mirrored(sample: Sample) -> Sample:
    """Left and right exchanged."""
    left, top, right, bottom = sample.boxes_xyxy_px.unbind(1)
    width = sample.image.shape[-1]
    return replace(
        sample,
        image=sample.image.flip(-1),
        boxes_xyxy_px=torch.stack((width - right, top, width - left, bottom), dim=1),
        masks=None if sample.masks is None else sample.masks.flip(-1),
    )


def upside_down(sample: Sample) -> Sample:
    """Up and down exchanged."""
    left, top, right, bottom = sample.boxes_xyxy_px.unbind(1)
    height = sample.image.shape[-2]
    return replace(
        sample,
        image=sample.image.flip(-2),
        boxes_xyxy_px=torch.stack((left, height - bottom, right, height - top), dim=1),
        masks=None if sample.masks is None else sample.masks.flip(-2),
    )


def turned(sample: Sample) -> Sample:
    """A quarter turn to the left."""
    left, top, right, bottom = sample.boxes_xyxy_px.unbind(1)
    width = sample.image.shape[-1]
    return replace(
        sample,
        image=sample.image.rot90(1, (1, 2)),
        boxes_xyxy_px=torch.stack((top, width - right, bottom, width - left), dim=1),
        masks=None if sample.masks is None else sample.masks.rot90(1, (1, 2)),
    )


def cut(sample: Sample, window: Window, size_hw: tuple[int, int], least_visible: float) -> Sample:
    """A window of the picture at another size, with what is left of its objects.

    Args:
        sample: the picture.
        window: the part of it to keep.
        size_hw: height and width that the part is brought to.
        least_visible: an object that the window cuts is dropped if a smaller share of its box is left, or less than
            two pixels a side. Whole ones are kept, however small.
    """
    rows = slice(window.top, window.top + window.height)
    columns = slice(window.left, window.left + window.width)
    image, masks = sample.image[:, rows, columns], sample.masks
    if masks is not None:
        masks = masks[:, rows, columns]
    if size_hw != window.hw:
        image = F.resize_image(
            _resizable(image, size_hw), list(size_hw), interpolation=v2.InterpolationMode.BILINEAR, antialias=True
        )
        if masks is not None:
            masks = _resized_masks(masks, size_hw)
    y, x = size_hw[0] / window.height, size_hw[1] / window.width
    shift = torch.tensor([window.left, window.top, window.left, window.top])
    boxes = (sample.boxes_xyxy_px - shift) * torch.tensor([x, y, x, y])
    inside = boxes.clamp(min=0).minimum(torch.tensor([size_hw[1], size_hw[0]] * 2))
    moved = replace(sample, image=image, boxes_xyxy_px=inside, masks=masks)
    return keep(moved, _enough_left(boxes, inside, least_visible))


def _enough_left(boxes: Tensor, inside: Tensor, least_visible: float) -> Tensor:
    sides, left = boxes[:, 2:] - boxes[:, :2], inside[:, 2:] - inside[:, :2]
    area, visible = sides.prod(1), left.clamp(min=0).prod(1)
    whole = visible >= area * (1 - 1e-4)
    enough = (visible >= least_visible * area) & (left >= _LEAST_SIDE_PX).all(1)
    return (left > 0).all(1) & (whole | enough)


def on_canvas(sample: Sample, size_hw: tuple[int, int], top: int, left: int) -> Sample:
    """The sample set into a grey canvas, its own corner at ``top``, ``left``."""
    height, width = hw_of(sample)
    canvas = sample.image.new_full((3, *size_hw), GREY)
    canvas[:, top : top + height, left : left + width] = sample.image
    masks = None if sample.masks is None else masks_on_canvas(sample.masks, size_hw, top, left)
    boxes = sample.boxes_xyxy_px + torch.tensor([left, top, left, top])
    return replace(sample, image=canvas, boxes_xyxy_px=boxes, masks=masks)


def masks_on_canvas(
    masks: Bool[Tensor, "objects _ _"], size_hw: tuple[int, int], top: int, left: int
) -> Bool[Tensor, "objects height width"]:
    """The masks of what was set into a canvas with its corner at ``top``, ``left``."""
    placed = masks.new_zeros(len(masks), *size_hw)
    placed[:, top : top + masks.shape[1], left : left + masks.shape[2]] = masks
    return placed


def crop(sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
    """A rectangle of the picture; any object with a visible part is kept, as the original implementation does."""
    return visible(apply(sample, F.crop, top, left, height, width))


def visible(sample: Sample) -> Sample:
    """Without the boxes that have no area left, as the original keeps any box with a visible part."""
    boxes = sample.boxes_xyxy_px
    return keep(sample, (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))


def with_pixels(sample: Sample) -> Sample:
    """Without the objects whose mask is empty, such as a small one that shrank away."""
    if sample.masks is None:
        return sample
    seen = sample.masks.flatten(1).any(1)
    return sample if bool(seen.all()) else keep(sample, seen)


def keep(sample: Sample, kept: Bool[Tensor, " objects"]) -> Sample:
    """The sample with some of its objects."""
    return replace(
        sample,
        boxes_xyxy_px=sample.boxes_xyxy_px[kept],
        labels=sample.labels[kept],
        masks=None if sample.masks is None else sample.masks[kept],
    )


def _resizable(image: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """To a single pixel, PyTorch 2.15 resizes bytes only where the colours of a pixel lie side by side."""
    return image.permute(1, 2, 0).contiguous().permute(2, 0, 1) if size_hw == (1, 1) else image


def _resized_masks(masks: Tensor, size_hw: tuple[int, int]) -> Tensor:
    if len(masks) == 0:
        return masks.new_zeros(0, *size_hw)
    return F.resize_mask(masks.view(torch.uint8), list(size_hw)).view(torch.bool)
