"""Composing a scene: what is placed where, and the picture with the number of the object seen at each pixel."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from sleuth.data.scenes.backgrounds import Background, add_grain, paint_background
from sleuth.data.scenes.classes import NAMES, draw_glyph
from sleuth.data.scenes.config import SceneConfig
from sleuth.data.scenes.dice import Dice
from sleuth.data.scenes.glyphs import Glyph, Split
from sleuth.data.scenes.lanes import Curve, paint_road
from sleuth.data.scenes.palette import Colour, visible_colour
from sleuth.data.scenes.shapes import clutter_glyphs
from sleuth.data.scenes.stamps import Stamp, cast_shadow, clipped, make_stamp, paint

_TRIES = 14


@dataclass(frozen=True, eq=False)
class Placement:
    """One thing in the picture: what it is and where it lies.

    Args:
        label: class, 0 to classes - 1.
        glyph: what it is cut from.
        size: longer side of its unrotated ink in pixels.
        degrees: how far it is turned clockwise.
        left: column of its stamp's first pixel.
        top: row of its stamp's first pixel.
        colour_name: the name of its colour.
        colour: its paint.
        stamp: the glyph at this size and angle.
    """

    label: int
    glyph: Glyph
    size: float
    degrees: int
    left: int
    top: int
    colour_name: str
    colour: Colour
    stamp: Stamp


@dataclass(frozen=True, eq=False)
class Composition:
    """A composed scene, before anything is read off it.

    Args:
        pixels: the picture; the fourth channel is unused.
        object_at: 0 on background, k + 1 where the object ``placements[k]`` is seen.
        placements: the objects, from back to front.
        background: the regions behind them.
        sun: which way shadows fall: -1 left, 0 straight down, 1 right.
        curves: lane markings, if the config asks for them.
        backdrop: the picture before any object and without grain, if it was to be kept.
    """

    pixels: UInt8[np.ndarray, "height width 4"]
    object_at: UInt8[np.ndarray, "height width"]
    placements: tuple[Placement, ...]
    background: Background
    sun: int
    curves: tuple[Curve, ...] = ()
    backdrop: UInt8[np.ndarray, "height width 4"] | None = None


class _Layout:
    """Finds a fair place for one object after the other."""

    def __init__(self, config: SceneConfig) -> None:
        self.config = config
        self.object_at = np.zeros(config.size_hw, np.uint8)
        self.visible = [0]
        self.full = [0]
        self.boxes: list[tuple[int, int, int, int]] = []

    def place(self, stamp: Stamp, dice: Dice) -> tuple[int, int] | None:
        """Left and top for the stamp, or None if no try was fair; the place found is taken."""
        height, width = self.config.size_hw
        high, wide = stamp.mask.shape
        over_x, over_y = int(wide * self.config.overhang), int(high * self.config.overhang)
        apart = not dice.chance(self.config.overlap)
        for attempt in range(_TRIES):
            left = dice.integer(-over_x, max(width - wide + over_x, -over_x))
            top = dice.integer(-over_y, max(height - high + over_y, -over_y))
            met = any(
                left < box[2] and box[0] < left + wide and top < box[3] and box[1] < top + high for box in self.boxes
            )
            if met and apart and attempt < _TRIES - 4:
                continue
            if self._take(stamp, left, top, met):
                return left, top
        return None

    def met(self, left: int, top: int) -> list[int]:
        """Numbers of the earlier objects whose stamps meet the newest one, which lies at (left, top)."""
        _, _, right, bottom = self.boxes[-1]
        earlier = enumerate(self.boxes[:-1])
        return [
            number for number, box in earlier if left < box[2] and box[0] < right and top < box[3] and box[1] < bottom
        ]

    def _take(self, stamp: Stamp, left: int, top: int, met: bool) -> bool:
        """Put the stamp on top here if every object stays visible enough."""
        least = self.config.min_visible
        inside, part = clipped(stamp.mask.shape, left, top, self.config.size_hw)
        mask = stamp.mask[part]
        area = int(np.count_nonzero(mask))
        if area == 0 or area < least * stamp.area:
            return False
        below = self.object_at[inside]
        if met:
            hidden = np.bincount(below[mask], minlength=len(self.visible)).tolist()
            for number in range(1, len(self.visible)):
                if hidden[number] and self.visible[number] - hidden[number] < least * self.full[number]:
                    return False
            self.visible = [seen - lost for seen, lost in zip(self.visible, hidden, strict=True)]
        np.copyto(below, len(self.visible), where=mask)
        self.visible.append(area)
        self.full.append(stamp.area)
        self.boxes.append((left, top, left + stamp.mask.shape[1], top + stamp.mask.shape[0]))
        return True


def _colour_behind(pixels: np.ndarray, stamp: Stamp, left: int, top: int) -> Colour:
    """Mean colour of what the stamp will cover, from every third pixel."""
    inside, _ = clipped(stamp.mask.shape, left, top, pixels.shape[:2])
    some = pixels[inside][1::3, 1::3].reshape(-1, 4)
    count = max(len(some), 1)
    red, green, blue, _ = (some.sum(0, dtype=np.int64) // count).tolist()
    return red, green, blue


def _scatter_clutter(pixels: np.ndarray, config: SceneConfig, dice: Dice) -> None:
    """Paint strokes and blobs that are no objects."""
    height, width = config.size_hw
    for _ in range(dice.integer(0, config.clutter)):
        stamp = make_stamp(dice.choice(clutter_glyphs()), dice.uniform(10, min(54, 0.5 * height)), dice.integer(0, 359))
        left, top = dice.integer(-8, width - 8), dice.integer(-8, height - 8)
        behind = _colour_behind(pixels, stamp, left, top)
        _, colour = visible_colour(behind, dice)
        paint(pixels, stamp, left, top, colour, strength=dice.integer(30, 70))


def largest_size(config: SceneConfig) -> int:
    """Size of the largest object that such a picture may hold, in pixels."""
    return max(config.min_size, min(config.max_size, 3 * min(config.size_hw) // 4))


def draw(pixels: np.ndarray, placement: Placement, sun: int) -> None:
    """Paint an object and its shadow, in place."""
    reach = 1 + int(placement.size) // 24
    cast_shadow(pixels, placement.stamp, placement.left + reach * sun, placement.top + reach)
    paint(pixels, placement.stamp, placement.left, placement.top, placement.colour)


def _place_objects(pixels: np.ndarray, layout: _Layout, split: Split, sun: int, dice: Dice) -> Iterator[Placement]:
    """Place and paint one object after the other, from back to front."""
    config = layout.config
    largest = largest_size(config)
    colours: list[Colour] = []
    for _ in range(dice.integer(config.min_objects, config.max_objects)):
        label = dice.integer(0, len(NAMES) - 1)
        glyph = draw_glyph(label, split, dice)
        size = dice.uniform(config.min_size, largest)
        degrees = dice.integer(-config.rotation_degrees, config.rotation_degrees)
        stamp = make_stamp(glyph, size, degrees)
        place = layout.place(stamp, dice)
        if place is None:
            continue
        left, top = place
        touched = [colours[other] for other in layout.met(left, top)]
        name, colour = visible_colour(_colour_behind(pixels, stamp, left, top), dice, touched)
        placement = Placement(label, glyph, size, degrees, left, top, name, colour, stamp)
        draw(pixels, placement, sun)
        colours.append(colour)
        yield placement


def compose(split: Split, config: SceneConfig, dice: Dice, *, keep_backdrop: bool = False) -> Composition:
    """Compose one scene from the dice alone."""
    curves: tuple[Curve, ...] = ()
    if config.lanes:
        background, curves = paint_road(config.size_hw, dice)
    else:
        background = paint_background(config.size_hw, config.max_regions, dice)
    pixels = background.pixels
    if config.clutter:
        _scatter_clutter(pixels, config, dice)
    backdrop = pixels.copy() if keep_backdrop else None
    layout = _Layout(config)
    sun = dice.integer(-1, 1)
    placements = tuple(_place_objects(pixels, layout, split, sun, dice))
    add_grain(pixels, dice)
    return Composition(pixels, layout.object_at, placements, background, sun, curves, backdrop)


def visible_box(composition: Composition, number: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the visible part of an object, in pixels; right and bottom are exclusive."""
    placement = composition.placements[number]
    inside, _ = clipped(placement.stamp.mask.shape, placement.left, placement.top, composition.object_at.shape)
    left, top, right, bottom = tight_box(composition.object_at[inside] == number + 1)
    x, y = inside[1].start, inside[0].start
    return x + left, y + top, x + right, y + bottom


def tight_box(mask: Bool[np.ndarray, "height width"]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the True pixels, of which there must be one; right and bottom are exclusive."""
    columns, rows = np.logical_or.reduce(mask, 0), np.logical_or.reduce(mask, 1)
    left, right = int(columns.argmax()), len(columns) - int(columns[::-1].argmax())
    top, bottom = int(rows.argmax()), len(rows) - int(rows[::-1].argmax())
    return left, top, right, bottom
