"""Clips: the objects of a scene moving from frame to frame."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import floor

import numpy as np

from sleuth.data.scenes.backgrounds import add_grain
from sleuth.data.scenes.compose import Composition, Placement, draw
from sleuth.data.scenes.config import SceneConfig
from sleuth.data.scenes.dice import Dice
from sleuth.data.scenes.stamps import clipped, make_stamp


@dataclass(frozen=True)
class Motion:
    """How one object moves.

    Args:
        across: pixels per frame to the right.
        down: pixels per frame downwards.
        spin: degrees per frame, clockwise; the angle swings back at the largest rotation.
    """

    across: float
    down: float
    spin: float


def draw_motion(config: SceneConfig, dice: Dice) -> Motion:
    """A random motion: up to three pixels a frame in a picture of 128 pixels."""
    fastest = 3 * min(config.size_hw) / 128
    return Motion(dice.uniform(-fastest, fastest), dice.uniform(-fastest, fastest), dice.uniform(-3, 3))


def reflected(position: float | int, low: float | int, high: float | int) -> float | int:
    """A position that bounces between two bounds, as of a ball between two walls."""
    if high <= low:
        return low
    span = high - low
    within = (position - low) % (2 * span)
    return low + (within if within <= span else 2 * span - within)


def move(placement: Placement, motion: Motion, frame: int, config: SceneConfig) -> Placement:
    """Where an object is, and how it is turned, in a later frame; bounces off the picture's edges and ±rotation."""
    height, width = config.size_hw
    largest = config.rotation_degrees
    degrees = round(reflected(placement.degrees + motion.spin * frame, -largest, largest))
    stamp = make_stamp(placement.glyph, placement.size, degrees)
    high, wide = stamp.mask.shape
    x = placement.left + placement.stamp.mask.shape[1] / 2
    y = placement.top + placement.stamp.mask.shape[0] / 2
    # An object that begins partly outside may stay that far outside, so that the first step is no jump.
    low_x, high_x = min(x, wide / 2), max(x, width - wide / 2)
    low_y, high_y = min(y, high / 2), max(y, height - high / 2)
    x = reflected(x + motion.across * frame, low_x, high_x)
    y = reflected(y + motion.down * frame, low_y, high_y)
    return replace(placement, degrees=degrees, stamp=stamp, left=floor(x - wide / 2), top=floor(y - high / 2))


def frames_of(first: Composition, count: int, config: SceneConfig, dice: Dice) -> Iterator[Composition]:
    """The frames of a clip; the first is the still scene itself.

    Args:
        first: the still scene, composed with its backdrop kept.
        count: how many frames.
        config: what the scene looks like.
        dice: decides the motions and the grain of later frames.
    """
    if first.backdrop is None:
        raise ValueError("a clip needs the scene's backdrop: compose it with keep_backdrop=True")
    motions = [draw_motion(config, dice) for _ in first.placements]
    yield first
    for frame in range(1, count):
        pixels = first.backdrop.copy()
        object_at = np.zeros_like(first.object_at)
        placements = []
        for number, (still, motion) in enumerate(zip(first.placements, motions, strict=True)):
            placement = move(still, motion, frame, config)
            draw(pixels, placement, first.sun)
            inside, part = clipped(placement.stamp.mask.shape, placement.left, placement.top, object_at.shape)
            np.copyto(object_at[inside], number + 1, where=placement.stamp.mask[part])
            placements.append(placement)
        add_grain(pixels, dice)
        yield replace(first, pixels=pixels, object_at=object_at, placements=tuple(placements))
