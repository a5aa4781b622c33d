"""Colours that people with any colour vision tell apart, and a font for labels."""

import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from PIL import ImageFont

Colour = tuple[int, int, int]

# Okabe and Ito 2008 without black, then four of Tol's "bright" and "muted" schemes.
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (187, 187, 187),
    (136, 34, 85),
    (153, 153, 51),
    (51, 34, 136),
)

PAPER: Colour = (250, 250, 248)
"""What is around pictures on a page."""
INK: Colour = (30, 30, 30)
"""Letters on paper."""

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_SHADES: tuple[tuple[Colour, float], ...] = (
    (_BLACK, 0.0),
    (_WHITE, 0.4),
    (_BLACK, 0.35),
    (_WHITE, 0.65),
    (_BLACK, 0.55),
    (_WHITE, 0.2),
    (_BLACK, 0.18),
)


def colour_of(label: int) -> Colour:
    """The colour of a class; after eleven classes they repeat."""
    return PALETTE[label % len(PALETTE)]


def class_colours(labels: Iterable[int]) -> dict[int, Colour]:
    """A colour for each class of a picture, such that as few as possible share one.

    A class gets its own colour if no class before it has it; after eleven classes darker ones are given.

    >>> colours = class_colours([0, 11])
    >>> colours[0] == colour_of(0), colours[11] == colour_of(0)
    (True, False)
    """
    found: dict[int, Colour] = {}
    every = [*PALETTE, *(_mix(colour, _BLACK, 0.45) for colour in PALETTE)]
    for label in labels:
        if label in found:
            continue
        wanted = [colour_of(label), *every]
        found[label] = next((colour for colour in wanted if colour not in found.values()), wanted[0])
    return found


def shade(colour: Colour, number: int) -> Colour:
    """A lighter or darker colour of the same hue for each object of a class; number 0 has the colour itself."""
    towards, share = _SHADES[number % len(_SHADES)]
    return _mix(colour, towards, share)


def _mix(colour: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def ink_on(colour: Colour) -> Colour:
    """Black or white, whichever is read more easily on a colour.

    Source: relative luminance and contrast ratio of WCAG 2.
    """
    luminance = sum(
        weight * _linear(value / 255) for weight, value in zip((0.2126, 0.7152, 0.0722), colour, strict=True)
    )
    return (0, 0, 0) if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else (255, 255, 255)


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A sans-serif font of this height in pixels, with accents, Greek and Cyrillic."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        file = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if file.is_file():
            return ImageFont.truetype(str(file), size)
    return ImageFont.load_default(size)
