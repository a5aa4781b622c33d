"""A road with lane-like curves that meet towards the horizon."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from sleuth.data.scenes.backgrounds import BACKDROPS, ROAD, Background, texture_regions
from sleuth.data.scenes.dice import Dice
from sleuth.data.scenes.palette import COLOURS, vary

_POINT_STEP = 4


@dataclass(frozen=True, eq=False)
class Curve:
    """One lane marking, from the bottom of the picture towards the horizon.

    Args:
        points_xy_px: points on its centre line inside the picture, four rows apart.
        colour_name: white or yellow.
        dashed: whether the paint is broken; the points go on through the gaps.
    """

    points_xy_px: Float32[np.ndarray, "points 2"]
    colour_name: str
    dashed: bool


def paint_road(size_hw: tuple[int, int], dice: Dice) -> tuple[Background, tuple[Curve, ...]]:
    """A background of one backdrop above a road, and two to four curves on the road, from left to right."""
    height, width = size_hw
    horizon = int(height * dice.uniform(0.25, 0.4))
    region_of = np.zeros(size_hw, np.uint8)
    region_of[horizon:] = 1
    background = texture_regions(region_of, (dice.choice(range(BACKDROPS)), ROAD), dice)
    count = dice.integer(2, 4)
    vanishing = width * dice.uniform(0.35, 0.65)
    bend = width * dice.uniform(-0.5, 0.5)
    first = width * dice.uniform(-0.25, 0.15)
    last = width * dice.uniform(0.85, 1.25)
    curves = []
    for number in range(count):
        foot = first + (last - first) * number / (count - 1) + width * dice.uniform(-0.04, 0.04)
        outer = number in (0, count - 1)
        name = dice.choice(("white", "white", "yellow"))
        colour = vary(COLOURS[name], 8, dice)
        dashed = dice.chance(0.15 if outer else 0.7)
        curve = _paint_curve(background.pixels, horizon, (vanishing, foot, bend), colour, name, dashed)
        if len(curve.points_xy_px) > 1:
            curves.append(curve)
    return background, tuple(curves)


def _paint_curve(
    pixels: np.ndarray,
    horizon: int,
    shape: tuple[float, float, float],
    colour: tuple[int, int, int],
    name: str,
    dashed: bool,
) -> Curve:
    """Paint one marking, in place; ``shape`` is where it vanishes, where it meets the bottom, and how far it bends."""
    height, width = pixels.shape[:2]
    start = horizon + (height - horizon) // 10
    rows = np.arange(start, height)
    near = (rows + 0.5 - horizon) / (height - horizon)
    vanishing, foot, bend = shape
    centre = vanishing + (foot - vanishing) * near + bend * near * (1 - near)
    half_width = (0.5 + 1.9 * near) * (min(height, width) / 128)
    away = np.abs(np.arange(width) + 0.5 - centre[:, None])
    cover = np.clip((half_width[:, None] - away + 0.5) * 128, 0, 128).astype(np.int16)
    if dashed:  # dashes of equal length on the ground look shorter the farther they are
        cover[(1.2 / near).astype(np.int64) % 2 == 1] = 0
    below = pixels[start:]
    change = np.array((*colour, 0), np.int16) - below
    change *= cover[:, :, None]
    change >>= 7
    change += below
    pixels[start:] = change
    inside = (centre >= 0) & (centre < width)
    points = np.stack([centre, rows + 0.5], 1)[inside][::-1][::_POINT_STEP]
    return Curve(np.ascontiguousarray(points, np.float32), name, dashed)
