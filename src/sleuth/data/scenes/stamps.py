"""Stamps: a glyph scaled and turned, ready to be painted into a picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Int16, UInt8

from sleuth.data.scenes.glyphs import FIELD, Glyph

OPAQUE = 128
_UNIT = 1 << 14


@dataclass(frozen=True, eq=False)
class Stamp:
    """A glyph as it will appear in the picture.

    Args:
        cover: how much of each pixel the glyph covers, 0 to 128.
        mask: True where it covers half the pixel or more.
        area: number of True pixels.
    """

    cover: Int16[np.ndarray, "height width"]
    mask: Bool[np.ndarray, "height width"]
    area: int


@cache
def _turn(degrees: int) -> tuple[int, int]:
    """Cosine and sine as whole numbers over 2**14, so that no rounding of the maths library reaches the picture."""
    angle = math.radians(degrees)
    return round(math.cos(angle) * _UNIT), round(math.sin(angle) * _UNIT)


@cache
def _steps(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int32)


def make_stamp(glyph: Glyph, size: float | int, degrees: int) -> Stamp:
    """Scale a glyph so that the longer side of its ink measures ``size`` pixels, and turn it clockwise."""
    zoom = glyph.extent / size
    left, top, right, bottom = glyph.box
    cosine, sine = _turn(degrees)
    wide, high = right - left, bottom - top
    width = int((abs(cosine) * wide + abs(sine) * high) / (_UNIT * zoom)) + 3
    height = int((abs(sine) * wide + abs(cosine) * high) / (_UNIT * zoom)) + 3
    along, across = int(cosine * zoom), int(sine * zoom)
    half = _UNIT >> 1
    # Centre of the first pixel relative to the centre of the stamp, turned back into the field.
    x0 = ((left + right) * half) - (along * (width - 1) + across * (height - 1)) // 2
    y0 = ((top + bottom) * half) - (along * (height - 1) - across * (width - 1)) // 2
    columns, rows = _steps(width), _steps(height)[:, None]
    x = (columns * along + x0) + rows * across
    y = (columns * -across + y0) + rows * along
    x >>= 14
    y >>= 14
    np.maximum(x, 0, out=x)
    np.minimum(x, FIELD - 1, out=x)
    np.maximum(y, 0, out=y)
    np.minimum(y, FIELD - 1, out=y)
    y <<= 7
    y += x
    levels = glyph.field.take(y)
    mask = levels >= 128
    gain = min(255, max(1, int(16 * OPAQUE / (glyph.slope * zoom))))
    cover = levels.astype(np.int16)
    cover -= 128
    cover *= np.int16(gain)
    cover >>= 4
    cover += OPAQUE // 2
    np.maximum(cover, 0, out=cover)
    np.minimum(cover, OPAQUE, out=cover)
    return Stamp(cover, mask, int(np.count_nonzero(mask)))


def field_to_stamp(
    glyph: Glyph, size: float | int, degrees: int, stamp: Stamp, points: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Where points of a glyph's field lie in its stamp, as x, y in pixels from the stamp's top left corner."""
    shrink = size / (glyph.extent * _UNIT)
    left, top, right, bottom = glyph.box
    cosine, sine = _turn(degrees)
    height, width = stamp.mask.shape
    moved = []
    for x, y in points:
        dx, dy = (x - (left + right) / 2) * shrink, (y - (top + bottom) / 2) * shrink
        moved.append((width / 2 + cosine * dx - sine * dy, height / 2 + sine * dx + cosine * dy))
    return moved


def clipped(
    shape_hw: tuple[int, int], left: int, top: int, size_hw: tuple[int, int]
) -> tuple[tuple[slice, slice], ...]:
    """Where a stamp placed at (left, top) meets the picture: the slices of the picture, and those of the stamp."""
    right, bottom = min(left + shape_hw[1], size_hw[1]), min(top + shape_hw[0], size_hw[0])
    x, y = max(left, 0), max(top, 0)
    right, bottom = max(right, x), max(bottom, y)
    return (slice(y, bottom), slice(x, right)), (slice(y - top, bottom - top), slice(x - left, right - left))


@cache
def _light(height: int) -> np.ndarray:
    """Light from above: a little brighter at the top of a stamp, darker at its bottom."""
    return (14 - np.arange(height) * 28 // max(height, 1)).astype(np.int16)[:, None, None]


def paint(
    pixels: UInt8[np.ndarray, "height width 4"],
    stamp: Stamp,
    left: int,
    top: int,
    colour: tuple[int, int, int],
    strength: int = OPAQUE,
) -> None:
    """Paint a stamp into the picture, in place.

    Args:
        pixels: the picture, its fourth channel unused.
        stamp: what to paint.
        left: column of the stamp's first pixel; may be negative.
        top: row of the stamp's first pixel; may be negative.
        colour: red, green, blue, 14 to 241.
        strength: 128 for opaque, less for translucent.
    """
    inside, part = clipped(stamp.mask.shape, left, top, pixels.shape[:2])
    below = pixels[inside]
    cover = stamp.cover[part]
    if strength != OPAQUE:
        cover = cover * np.int16(strength) >> 7
    ink = np.array((*colour, 0), np.int16) + _light(stamp.mask.shape[0])[part[0]]
    change = ink - below
    change *= cover[:, :, None]
    change >>= 7
    change += below
    pixels[inside] = change


_SHADE = 5


def cast_shadow(pixels: UInt8[np.ndarray, "height width 4"], stamp: Stamp, left: int, top: int) -> None:
    """Darken the picture where the stamp's shadow falls, in place, by up to five sixteenths of its brightness."""
    inside, part = clipped(stamp.mask.shape, left, top, pixels.shape[:2])
    below = pixels[inside]
    light = (OPAQUE - (stamp.cover[part] * np.int16(_SHADE) >> 4)).astype(np.uint16)
    pixels[inside] = below * light[:, :, None] >> 7
