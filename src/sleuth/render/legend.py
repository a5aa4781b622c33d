"""Legends below a picture: which colour is which class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from sleuth.render.palette import INK, PAPER, Colour, font
from sleuth.render.tags import text_size

_MOST_SWATCHES = 4


@dataclass(frozen=True)
class LegendEntry:
    """One class of a legend.

    Args:
        name: its name.
        colours: its colour, or the shades of its objects.
        count: how many objects there are; more than one is said.
    """

    name: str
    colours: tuple[Colour, ...]
    count: int = 1

    @property
    def text(self) -> str:
        """The name on one line, with the number of objects."""
        name = " ".join(self.name.split())
        return name if self.count < 2 else f"{name} \u00d7{self.count}"


def add_legend(
    picture: UInt8[np.ndarray, "height width 3"], entries: Sequence[LegendEntry]
) -> UInt8[np.ndarray, "taller width 3"]:
    """The picture with a legend below it, outside the picture, in as many lines as it takes.

    Args:
        picture: RGB, 0 to 255.
        entries: the classes, in order; without any the picture is returned as it is.
    """
    if not entries:
        return picture
    height, width = picture.shape[:2]
    size = text_size(height, width)
    gap, line = size // 2, size + size // 2 + 2
    rows = _rows(entries, width, size, gap)
    page = Image.new("RGB", (width, height + gap + line * len(rows) + gap // 2), PAPER)
    page.paste(Image.fromarray(picture))
    draw = ImageDraw.Draw(page)
    for number, row in enumerate(rows):
        for left, entry in row:
            _draw_entry(draw, entry, (left, height + gap + number * line), size, width)
    return np.asarray(page).copy()


def _rows(entries: Sequence[LegendEntry], width: int, size: int, gap: int) -> list[list[tuple[int, LegendEntry]]]:
    """The entries in lines, each with its left edge."""
    rows: list[list[tuple[int, LegendEntry]]] = [[]]
    left = gap
    for entry in entries:
        wide = _swatches_width(entry, size) + size // 3 + round(font(size).getlength(entry.text))
        if rows[-1] and left + wide > width - gap:
            rows.append([])
            left = gap
        rows[-1].append((left, entry))
        left += wide + 2 * gap
    return rows


def _swatches_width(entry: LegendEntry, size: int) -> int:
    shown = min(len(entry.colours), _MOST_SWATCHES)
    return size + (shown - 1) * (size * 2 // 3)


def _draw_entry(draw: ImageDraw.ImageDraw, entry: LegendEntry, at: tuple[int, int], size: int, width: int) -> None:
    left, top = at
    shown = entry.colours[:_MOST_SWATCHES]
    # The last is drawn first: the others overlap it, like cards held in a hand.
    for number in reversed(range(len(shown))):
        x = left + number * (size * 2 // 3)
        draw.rectangle((x, top, x + size - 1, top + size - 1), fill=shown[number], outline=INK)
    _, low, _, high = draw.textbbox((0, 0), "Ag|", font=font(size))
    x = left + _swatches_width(entry, size) + size // 3
    text = entry.text
    while len(text) > 1 and x + draw.textlength(text, font=font(size)) > width:
        text = text[:-2] + "\u2026"
    draw.text((x, top + (size - (high - low)) // 2 - low), text, fill=INK, font=font(size))
