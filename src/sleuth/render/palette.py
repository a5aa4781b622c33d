"""Colours that people with any colour vision tell apart, and a font for labels."""

import importlib.util
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


def colour_of(label: int) -> Colour:
    """The colour of a class; after eleven classes they repeat."""
    return PALETTE[label % len(PALETTE)]


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
