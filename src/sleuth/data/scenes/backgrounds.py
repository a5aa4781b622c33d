"""Backgrounds: one to three textured regions, each a kind of stuff with its mask."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import UInt8

from sleuth.data.scenes.dice import Dice
from sleuth.data.scenes.palette import QUIET, Colour, vary

STUFF = ("gradient", "clouds", "grain", "stripes", "checks", "dots", "road")
"""The kinds of background, by stuff label."""

ROAD = STUFF.index("road")
BACKDROPS = ROAD
"""How many kinds a background is usually made of: all but the road."""

_LEVELS = 64
_TILE = 256


@dataclass(frozen=True, eq=False)
class Background:
    """A painted background.

    Args:
        pixels: the picture so far; the fourth channel is unused.
        region_of: number of the region that each pixel belongs to.
        kinds: stuff label of each region.
    """

    pixels: UInt8[np.ndarray, "height width 4"]
    region_of: UInt8[np.ndarray, "height width"]
    kinds: tuple[int, ...]


@cache
def _noise_tile(blur: int) -> np.ndarray:
    """Smooth noise, 0 to 63, that repeats without a seam every 256 pixels; 512 on a side."""
    field = Dice(20240302, blur).bytes(_TILE * _TILE).astype(np.int64).reshape(_TILE, _TILE)
    if blur > 1:
        for axis in (0, 1):
            for _ in range(3):
                field = sum((np.roll(field, shift, axis) for shift in range(blur)), np.zeros_like(field))
    order = np.sort(field, axis=None)
    low, high = int(order[order.size // 50]), int(order[-order.size // 50])
    levels = np.clip((field - low) * (_LEVELS - 1) // (high - low), 0, _LEVELS - 1).astype(np.uint8)
    return np.tile(levels, (2, 2))


@cache
def _grain_tile() -> np.ndarray:
    """Fine grain of a camera, -5 to 5 as wrapped bytes, a little different in each channel; 512 x 512 x 4."""
    noise = Dice(20240303).bytes(_TILE * _TILE * 4).reshape(_TILE, _TILE, 4).astype(np.int16)
    grey = noise[:, :, 3:] % 8 - noise[:, :, 3:] // 8 % 8
    mixed = (grey + noise % 4 - noise // 4 % 4) // 2
    return np.tile(mixed.astype(np.uint8), (2, 2, 1))


def _window(tile: np.ndarray, size_hw: tuple[int, int], dice: Dice) -> np.ndarray:
    """A random window of a repeating tile."""
    top, left = dice.integer(0, _TILE - 1), dice.integer(0, _TILE - 1)
    if max(size_hw) > _TILE:
        repeats = -(-(max(size_hw) + _TILE) // (2 * _TILE))
        tile = np.tile(tile, (repeats, repeats) + (1,) * (tile.ndim - 2))
    window: np.ndarray = tile[top : top + size_hw[0], left : left + size_hw[1]]
    return window


def add_grain(pixels: np.ndarray, dice: Dice) -> None:
    """Lay fine grain over the whole picture, in place; colours of 6 to 249 do not overflow."""
    pixels += _window(_grain_tile(), pixels.shape[:2], dice)


def _ramp(length: int, slope: float) -> np.ndarray:
    return np.arange(length, dtype=np.float32) * np.float32(slope)


def _gradient(size_hw: tuple[int, int], dice: Dice) -> np.ndarray:
    height, width = size_hw
    tilt = dice.uniform(0, 1)
    across, down = tilt * 62 / width, (1 - tilt) * 62 / height
    columns, rows = _ramp(width, across), _ramp(height, down)
    if dice.chance(0.5):
        columns = columns[::-1]
    if dice.chance(0.5):
        rows = rows[::-1]
    levels: np.ndarray = (columns + rows[:, None]).astype(np.uint8)
    return levels


def _clouds(size_hw: tuple[int, int], dice: Dice) -> np.ndarray:
    return _window(_noise_tile(dice.choice((9, 17, 29))), size_hw, dice)


def _grain(size_hw: tuple[int, int], dice: Dice) -> np.ndarray:
    return _window(_noise_tile(dice.choice((1, 2, 3))), size_hw, dice)


def _stripes(size_hw: tuple[int, int], dice: Dice) -> np.ndarray:
    """Soft-edged stripes in any direction: a clipped triangle wave."""
    height, width = size_hw
    period = dice.uniform(7, 22)
    slant = dice.uniform(-1, 1)
    along, across = (1.0, slant) if dice.chance(0.5) else (slant, 1.0)
    scale = 256 / (period * (1 + 0.4 * slant * slant))
    columns = (_ramp(width, along * scale) + np.float32(dice.uniform(0, 256))).astype(np.int32).astype(np.uint8)
    rows = _ramp(height, across * scale).astype(np.int32).astype(np.uint8)
    levels: np.ndarray = _wave()[columns + rows[:, None]]
    return levels


@cache
def _wave() -> np.ndarray:
    step = np.arange(256)
    triangle = np.abs(step - 128) - 64
    return np.clip(triangle * 3 + 32, 0, _LEVELS - 1).astype(np.uint8)


def _checks(size_hw: tuple[int, int], dice: Dice) -> np.ndarray:
    height, width = size_hw
    period = dice.integer(6, 16)
    columns = ((np.arange(width) + dice.integer(0, 31)) // period % 2 * (_LEVELS - 1)).astype(np.uint8)
    rows = ((np.arange(height) + dice.integer(0, 31)) // period % 2 * (_LEVELS - 1)).astype(np.uint8)
    levels: np.ndarray = columns ^ rows[:, None]
    return levels


def _dots(size_hw: tuple[int, int], dice: Dice) -> np.ndarray:
    height, width = size_hw
    period = dice.integer(9, 18)
    columns = ((np.arange(width) + dice.integer(0, 31)) % period * 2 - period + 1).astype(np.int16)
    rows = ((np.arange(height) + dice.integer(0, 31)) % period * 2 - period + 1).astype(np.int16)
    radius = period * dice.uniform(0.45, 0.65)
    field = columns * columns + (rows * rows)[:, None]
    return np.clip((int(radius * radius) - field) * 2 + 32, 0, _LEVELS - 1).astype(np.uint8)


_TEXTURES = (_gradient, _clouds, _grain, _stripes, _checks, _dots, _grain)


def _border(length: int, mean: float, swing: float, dice: Dice) -> np.ndarray:
    """A gently bent line across the picture: a cubic through four random heights."""
    position = np.arange(length, dtype=np.float64) / max(length - 1, 1)
    a, b, c, d = (mean + dice.uniform(-swing, swing) for _ in range(4))
    rest = 1 - position
    bent = (a * rest + 3 * b * position) * rest * rest + (3 * c * rest + d * position) * position * position
    rows: np.ndarray = bent.astype(np.int32)
    return rows


def _split_regions(size_hw: tuple[int, int], count: int, dice: Dice) -> np.ndarray:
    """Number of the region of each pixel; bent borders run across the picture or down it."""
    height, width = size_hw
    region_of = np.zeros(size_hw, np.uint8)
    first_across = dice.chance(0.6)
    for number in range(1, count):
        across = first_across == (number == 1)
        length, other = (width, height) if across else (height, width)
        border = _border(length, other * dice.uniform(0.3, 0.7), other * 0.22, dice)
        axis = np.arange(other, dtype=np.int32)
        beyond = axis[:, None] > border if across else axis > border[:, None]
        if number == 1:
            region_of += beyond
        else:  # divides only one of the first two regions
            region_of[beyond & (region_of == dice.integer(0, 1))] = number
    return region_of


def _shades(kind: int, dice: Dice) -> tuple[Colour, Colour]:
    """The two ends of a region's colours: quiet, and not far from each other."""
    if kind == ROAD:
        grey = dice.integer(52, 84)
        return (grey, grey, grey + 4), (grey + 12, grey + 12, grey + 15)
    base = vary(dice.choice(QUIET), 14, dice)
    lift = dice.integer(14, 34) * (1 if dice.chance(0.5) else -1)
    red, green, blue = (min(228, max(24, channel + lift)) for channel in base)
    return base, (red, green, blue)


_BLEND = np.arange(_LEVELS, dtype=np.int32)[:, None]


def paint_background(size_hw: tuple[int, int], max_regions: int, dice: Dice) -> Background:
    """Compose a background of up to ``max_regions`` textured regions."""
    count = dice.integer(1, max_regions)
    region_of = _split_regions(size_hw, count, dice) if count > 1 else np.zeros(size_hw, np.uint8)
    kinds = tuple(dice.sample(count, range(BACKDROPS)))
    return texture_regions(region_of, kinds, dice)


def texture_regions(region_of: np.ndarray, kinds: tuple[int, ...], dice: Dice) -> Background:
    """Fill each region with its kind of texture."""
    shape = region_of.shape
    size_hw = (shape[0], shape[1])
    table = np.zeros((len(kinds) * _LEVELS, 4), np.uint8)
    levels = np.empty(size_hw, np.uint8)
    for number, kind in enumerate(kinds):
        dark, light = _shades(kind, dice)
        blend = np.array(dark, np.int32) + (np.array(light, np.int32) - np.array(dark, np.int32)) * _BLEND // _LEVELS
        table[number * _LEVELS : (number + 1) * _LEVELS, :3] = blend
        texture = _TEXTURES[kind](size_hw, dice)
        if number == 0:
            np.copyto(levels, texture)
        else:
            np.copyto(levels, texture + np.uint8(number * _LEVELS), where=region_of == number)
    packed = table.view(np.uint32)[:, 0].take(levels)
    return Background(packed.view(np.uint8).reshape(*size_hw, 4), region_of, kinds)
