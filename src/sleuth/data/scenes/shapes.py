"""The simple shapes, and the clutter that is no object: glyphs from signed distances."""

from functools import cache
from itertools import pairwise

import numpy as np

from sleuth.data.scenes.dice import Dice
from sleuth.data.scenes.glyphs import FIELD, Glyph, make_glyph

SHAPES = ("circle", "square", "triangle", "star", "heart")
Point = tuple[float | int, float | int]
_SLOPE = 8
_CLUTTER = 24


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """x and y of the pixel centres of the field."""
    y, x = np.mgrid[0:FIELD, 0:FIELD] + 0.5
    return x, y


def distance_glyph(distance: np.ndarray) -> Glyph:
    """A glyph from the signed distance to its outline, positive inside, in pixels of the field."""
    levels = np.clip(np.floor(distance * _SLOPE) + 128, 0, 255)
    return make_glyph(levels.astype(np.uint8), _SLOPE)


def polygon_distance(corners: list[Point]) -> np.ndarray:
    """Signed distance to a closed polygon at each pixel of the field, positive inside."""
    x, y = _grid()
    nearest = np.full((FIELD, FIELD), np.inf)
    inside = np.zeros((FIELD, FIELD), bool)
    for (x0, y0), (x1, y1) in pairwise([*corners, corners[0]]):
        nearest = np.minimum(nearest, segment_distance(x, y, (x0, y0), (x1, y1)))
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return np.where(inside, nearest, -nearest)


def segment_distance(x: np.ndarray, y: np.ndarray, start: Point, end: Point) -> np.ndarray:
    """Distance of each point to a line segment."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = dx * dx + dy * dy
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (length or 1.0), 0, 1)
    away: np.ndarray = np.sqrt((x - start[0] - along * dx) ** 2 + (y - start[1] - along * dy) ** 2)
    return away


@cache
def shape_glyph(name: str) -> Glyph:
    """The glyph of a simple shape by its name."""
    x, y = _grid()
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


def _disc(centre: Point, radius: float | int) -> np.ndarray:
    x, y = _grid()
    inside: np.ndarray = radius - np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2)
    return inside


def _line(points: list[Point], half_width: float | int) -> np.ndarray:
    x, y = _grid()
    parts = [half_width - segment_distance(x, y, start, end) for start, end in pairwise(points)]
    return _union(parts)


def _union(parts: list[np.ndarray]) -> np.ndarray:
    whole: np.ndarray = np.max(np.stack(parts), axis=0)
    return whole


def _somewhere(dice: Dice) -> Point:
    return dice.uniform(14, 114), dice.uniform(14, 114)


def _stroke(dice: Dice) -> np.ndarray:
    """A thin bent stroke: too thin for its length to be a 1."""
    start, end = dice.uniform(20, 108), dice.uniform(20, 108)
    bend_x, bend_y = _somewhere(dice)
    points = []
    for step in range(11):
        t = step / 10
        rest = 1 - t
        x = rest * rest * 12 + 2 * t * rest * bend_x + t * t * 116
        y = rest * rest * start + 2 * t * rest * bend_y + t * t * end
        points.append((x, y))
    return _line(points, 4)


def _specks(dice: Dice) -> np.ndarray:
    """Scattered small discs."""
    return _union([_disc(_somewhere(dice), dice.uniform(4, 10)) for _ in range(9)])


def _blob(dice: Dice) -> np.ndarray:
    """A ragged blob: discs of different sizes along a crooked path."""
    points = [(x * 0.6 + 26, y) for x, y in (_somewhere(dice) for _ in range(5))]
    return _union([_line(points, 9), *(_disc(point, dice.uniform(12, 20)) for point in points)])


@cache
def clutter_glyphs() -> tuple[Glyph, ...]:
    """Glyphs that are no objects."""
    dice = Dice(20240301)
    x, y = _grid()
    border = np.minimum(np.minimum(x, FIELD - x), np.minimum(y, FIELD - y)) - 3
    makers = (_stroke, _specks, _blob)
    return tuple(distance_glyph(np.minimum(makers[number % 3](dice), border)) for number in range(_CLUTTER))
