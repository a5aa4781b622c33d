"""Which part of a picture training sees, and how large: safe crops, scale jitter and zooming out."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from sleuth.data.draws import between, chance, uniform
from sleuth.data.moves import Window, cut, hw_of, on_canvas
from sleuth.data.samples import Sample


@dataclass(frozen=True)
class Framing:
    """A random part of a picture at a random scale, as one resize.

    Args:
        safe_crop: share of the pictures that are cut to a random part around a whole object.
        safe_crop_least: least side of that part, as a share of the picture's.
        scale_jitter: least and greatest scale beyond the one that the size asked for gives. Above 1 a part of the
            picture fills that size, below 1 all of it lies on grey.
        zoom_out: share of the pictures that lie on a larger grey canvas.
        zoom_out_most: largest side of that canvas, as a multiple of the picture's.
        least_visible: an object that is cut is dropped where less than this share of its box is left.
    """

    safe_crop: float = 0.0
    safe_crop_least: float = 0.5
    scale_jitter: tuple[float, float] = (1.0, 1.0)
    zoom_out: float = 0.0
    zoom_out_most: float = 2.0
    least_visible: float = 0.15

    def __bool__(self) -> bool:
        """Whether it does anything."""
        return bool(self.safe_crop or self.zoom_out or self.scale_jitter != (1.0, 1.0))

    def part(self, sample: Sample) -> Window:
        """The part of the picture that is used, before its scale is chosen."""
        size_hw = hw_of(sample)
        if not (self.safe_crop and chance(self.safe_crop)):
            return Window.whole(size_hw)
        sides = [max(1, round(side * uniform(self.safe_crop_least, 1.0))) for side in size_hw]
        return window_around(_one_of(sample), (sides[0], sides[1]), size_hw)

    def take(self, sample: Sample, part: Window, size_hw: tuple[int, int]) -> Sample:
        """That part at about ``size_hw``: as it is, or by the scale jitter closer or farther away."""
        scale = uniform(*self.scale_jitter) if self.scale_jitter != (1.0, 1.0) else 1.0
        if self.zoom_out and chance(self.zoom_out):
            scale /= uniform(1.0, self.zoom_out_most)
        if scale == 1.0:
            return cut(sample, part, size_hw, self.least_visible)
        if scale > 1.0:
            sides = max(1, round(part.height / scale)), max(1, round(part.width / scale))
            inside = cut(sample, part, part.hw, self.least_visible)
            window = window_around(_middle(_one_of(inside), sides), sides, part.hw)
            return cut(inside, window, size_hw, self.least_visible)
        small_hw = max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))
        small = cut(sample, part, small_hw, self.least_visible)
        return on_canvas(small, size_hw, between(0, size_hw[0] - small_hw[0]), between(0, size_hw[1] - small_hw[1]))


def window_around(box: Float32[Tensor, "4"] | None, window_hw: tuple[int, int], size_hw: tuple[int, int]) -> Window:
    """A random window of a picture that holds a box whole.

    Args:
        box: corners in pixels, or None to take any window.
        window_hw: height and width of the window; it grows to hold the box as far as the picture allows.
        size_hw: height and width of the picture.
    """
    if box is None:
        height, width = window_hw
        return Window(between(0, size_hw[0] - height), between(0, size_hw[1] - width), height, width)
    left, top, right, bottom = box.tolist()
    first, height = _span(top, bottom, window_hw[0], size_hw[0])
    start, width = _span(left, right, window_hw[1], size_hw[1])
    return Window(first, start, height, width)


def _span(low: float, high: float, length: int, size: int) -> tuple[int, int]:
    """Start and length of a random stretch of pixels that holds ``low`` to ``high``, within a size."""
    first, last = min(size - 1, max(0, math.floor(low))), max(1, min(size, math.ceil(high)))
    length = min(size, max(length, last - first))
    return between(max(0, last - length), min(first, size - length)), length


def _middle(box: Float32[Tensor, "4"] | None, window_hw: tuple[int, int]) -> Float32[Tensor, "4"] | None:
    """The box, or as much of its middle as a window holds with a pixel to spare."""
    if box is None:
        return None
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    half = half.minimum(torch.tensor([window_hw[1] - 2, window_hw[0] - 2]).clamp(min=0) / 2)
    return torch.cat((centre - half, centre + half))


def _one_of(sample: Sample) -> Float32[Tensor, "4"] | None:
    boxes = sample.boxes_xyxy_px
    return boxes[between(0, len(boxes) - 1)] if len(boxes) else None
