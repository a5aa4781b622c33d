"""What objects are cut from: smooth fields of the handwritten digits and of simple shapes.

A glyph is a picture of 128 x 128 levels whose outline is the level 128. Scaling, turning and softening the edge then
need no more than one look-up per pixel. All of it is exact arithmetic, so that scenes are the same everywhere.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8

from sleuth.data.scenes.dice import Dice

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

DIGITS = tuple(str(digit) for digit in range(10))
SHAPES = ("circle", "square", "triangle", "star", "heart")
NAMES = DIGITS + SHAPES
"""The classes of scenes, by label."""

FIELD = 128
INK = 112
_CELL = INK // 8
_DIGIT_OUTLINE = 6.5
_DIGIT_SLOPE = 13
_SHAPE_SLOPE = 8
_SHARES = {"train": (0, 60), "val": (60, 80), "test": (80, 100)}


@dataclass(frozen=True, eq=False)
class Glyph:
    """A shape to be scaled, turned and stamped.

    Args:
        field: levels, inside at 128 and above.
        slope: change of level per pixel of the field at the outline.
        box: left, top, right, bottom of the ink in pixels of the field.
    """

    field: UInt8[np.ndarray, "128 128"]
    slope: int
    box: tuple[int, int, int, int]

    @property
    def extent(self) -> int:
        """The longer side of the ink in pixels of the field."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])

    def tips(self) -> tuple[tuple[float, float], ...]:
        """Centre of the ink's box, then its topmost, bottommost, leftmost and rightmost points, as x, y of the field."""
        ink = self.field >= 128
        left, top, right, bottom = self.box
        rows, columns = ink[top], ink[bottom - 1]
        across = [float(np.flatnonzero(line).mean()) + 0.5 for line in (rows, columns, ink[:, left], ink[:, right - 1])]
        return (
            ((left + right) / 2, (top + bottom) / 2),
            (across[0], float(top)),
            (across[1], float(bottom)),
            (float(left), across[2]),
            (float(right), across[3]),
        )


def make_glyph(field: np.ndarray, slope: int) -> Glyph:
    """A glyph from its levels, with the box of its ink."""
    ink = field >= 128
    columns, rows = np.flatnonzero(ink.any(0)), np.flatnonzero(ink.any(1))
    return Glyph(field, slope, (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def distance_glyph(distance: np.ndarray) -> Glyph:
    """A glyph from the signed distance to its outline, positive inside, in pixels of the field."""
    levels = np.clip(np.floor(distance * _SHAPE_SLOPE) + 128, 0, 255)
    return make_glyph(levels.astype(np.uint8), _SHAPE_SLOPE)


@cache
def _digit_scans() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 scans of scikit-learn, 0 to 16, and their digits, in a fixed shuffled order."""
    from sklearn.datasets import load_digits

    data = load_digits()
    shuffled = np.argsort(np.random.PCG64(20240229).random_raw(len(data.target)), kind="stable")
    return data.images[shuffled].astype(np.float32), data.target[shuffled].astype(np.int64)


@cache
def digit_numbers(split: Split) -> tuple[tuple[int, ...], ...]:
    """Which scans show each digit in a split; no scan is in two splits."""
    digits = _digit_scans()[1]
    low, high = (len(digits) * share // 100 for share in _SHARES[split])
    return tuple(tuple((np.flatnonzero(digits[low:high] == digit) + low).tolist()) for digit in range(10))


@cache
def _upscaling() -> np.ndarray:
    """Weights [128, 8] of a cubic upscaling from 8 cells to 112 pixels, whole numbers that add up to 256 inside."""
    weights = np.zeros((FIELD, 8), np.float32)
    for pixel in range(FIELD):
        cell = (pixel - (FIELD - INK) / 2 + 0.5) / _CELL - 0.5
        for source in range(8):
            away = abs(cell - source)
            if away < 1:  # Mitchell and Netravali's cubic, B = C = 1/3
                weight = (7 * away**3 - 12 * away**2 + 16 / 3) / 6
            elif away < 2:
                weight = (-7 / 3 * away**3 + 12 * away**2 - 20 * away + 32 / 3) / 6
            else:
                continue
            weights[pixel, source] = round(weight * 256)
    return weights


@lru_cache(maxsize=2048)
def digit_glyph(number: int) -> Glyph:
    """The glyph of one handwritten digit, upscaled smoothly.

    Both products are sums of whole numbers below 2**24: exact in float32 in whatever order they are added.
    """
    weights = _upscaling()
    levels = weights @ _digit_scans()[0][number] @ weights.T
    levels *= np.float32(128 / (_DIGIT_OUTLINE * 65536))
    levels[[0, -1]] = 0
    levels[:, [0, -1]] = 0
    return make_glyph(np.clip(levels, 0, 255).astype(np.uint8), _DIGIT_SLOPE)


def polygon_distance(corners: list[tuple[float, float]]) -> np.ndarray:
    """Signed distance to a closed polygon at each pixel of the field, positive inside."""
    y, x = np.mgrid[0:FIELD, 0:FIELD] + 0.5
    nearest = np.full((FIELD, FIELD), np.inf)
    inside = np.zeros((FIELD, FIELD), bool)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        nearest = np.minimum(nearest, segment_distance(x, y, (x0, y0), (x1, y1)))
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return np.where(inside, nearest, -nearest)


def segment_distance(x: np.ndarray, y: np.ndarray, start: tuple[float, float], end: tuple[float, float]) -> np.ndarray:
    """Distance of each point to a line segment."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = dx * dx + dy * dy
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (length or 1.0), 0, 1)
    away: np.ndarray = np.sqrt((x - start[0] - along * dx) ** 2 + (y - start[1] - along * dy) ** 2)
    return away


@cache
def shape_glyph(name: str) -> Glyph:
    """The glyph of a simple shape by its name."""
    y, x = np.mgrid[0:FIELD, 0:FIELD] + 0.5
    if name == "circle":
        return distance_glyph(54 - np.sqrt((x - 64) ** 2 + (y - 64) ** 2))
    if name == "square":
        return distance_glyph(polygon_distance([(14, 14), (114, 14), (114, 114), (14, 114)]))
    if name == "triangle":
        return distance_glyph(polygon_distance([(64, 14), (120, 111), (8, 111)]))
    if name == "star":
        corners = [(64, 8), (78, 49), (121, 49.5), (86.5, 75.5), (99, 117), (64, 92), (29, 117), (41.5, 75.5)]
        return distance_glyph(polygon_distance([*corners, (7, 49.5), (50, 49)]))
    if name == "heart":
        tip = polygon_distance([(64, 42), (100.2, 69.2), (64, 117), (27.8, 69.2)])
        left, right = (29 - np.sqrt((x - centre) ** 2 + (y - 45) ** 2) for centre in (37, 91))
        body = polygon_distance([(14.5, 62), (64, 30), (113.5, 62), (64, 117)])
        return distance_glyph(np.maximum(np.maximum(left, right), np.maximum(tip, body)))
    raise ValueError(f"no shape of this name: {name}")


def draw_glyph(label: int, split: Split, dice: Dice) -> Glyph:
    """A glyph of a class: one of the split's handwritten digits, or the shape."""
    if label < len(DIGITS):
        return digit_glyph(dice.choice(digit_numbers(split)[label]))
    return shape_glyph(NAMES[label])


@cache
def clutter_glyphs() -> tuple[Glyph, ...]:
    """Glyphs that are no objects: thin strokes, zigzags, scattered specks and ragged blobs."""
    dice = Dice(20240301)
    y, x = np.mgrid[0:FIELD, 0:FIELD] + 0.5
    glyphs = []
    for number in range(24):
        points = [(dice.uniform(14, 114), dice.uniform(14, 114)) for _ in range(4)]
        if number % 3 == 0:  # a thin bent stroke
            start, middle, end = (12.0, dice.uniform(20, 108)), points[0], (116.0, dice.uniform(20, 108))
            steps = [i / 10 for i in range(11)]
            curve = [
                tuple(
                    (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t * t * c
                    for a, b, c in zip(start, middle, end, strict=True)
                )
                for t in steps
            ]
            parts = [
                4 - segment_distance(x, y, (a[0], a[1]), (b[0], b[1])) for a, b in zip(curve, curve[1:], strict=False)
            ]
        elif number % 3 == 1:  # specks
            points += [(dice.uniform(14, 114), dice.uniform(14, 114)) for _ in range(5)]
            parts = [dice.uniform(4, 10) - np.sqrt((x - a) ** 2 + (y - b) ** 2) for a, b in points]
        else:  # a ragged blob of small discs along a path
            points = [(14 + 0.5 * a, 14 + 0.8 * b) for a, b in points] + [(50 + 0.5 * a, b) for a, b in points[:2]]
            parts = [9 - segment_distance(x, y, a, b) for a, b in zip(points, points[1:], strict=False)]
            parts += [dice.uniform(12, 20) - np.sqrt((x - a) ** 2 + (y - b) ** 2) for a, b in points]
        distance = parts[0]
        for part in parts[1:]:
            distance = np.maximum(distance, part)
        border = np.minimum(np.minimum(x, FIELD - x), np.minimum(y, FIELD - y)) - 3
        glyphs.append(distance_glyph(np.minimum(distance, border)))
    return tuple(glyphs)
