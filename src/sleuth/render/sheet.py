"""Contact sheets: many annotated pictures on one page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw

from sleuth.render.boxes import draw_boxes
from sleuth.render.palette import INK, PAPER, colour_of, font, ink_on

GAP = 10
TITLE_SIZE = 13
LINE = 26
EMPTY_HEIGHT = 80


@dataclass(frozen=True, eq=False)
class Cell:
    """One picture of a sheet.

    Args:
        picture: RGB, 0 to 255; None leaves the place empty but for the title.
        title: text below the picture.
        boxes_xyxy_px: corners in pixels of the picture.
        labels: class of each box.
        captions: text for each box; empty draws outlines only.
    """

    picture: UInt8[np.ndarray, "height width 3"] | None
    title: str
    boxes_xyxy_px: Float[np.ndarray, "objects 4"]
    labels: Int[np.ndarray, " objects"]
    captions: tuple[str, ...] = ()


def contact_sheet(
    cells: Sequence[Cell],
    *,
    columns: int | None = None,
    side: int = 320,
    heading: str = "",
    legend: Sequence[tuple[int, str]] = (),
) -> UInt8[np.ndarray, "height width 3"]:
    """A page of annotated pictures, each brought to fit a square.

    Args:
        cells: the pictures.
        columns: pictures side by side; None makes the page about square.
        side: side of each picture's square in pixels.
        heading: a line above the pictures.
        legend: class and its name, shown in the class's colour below the heading.
    """
    columns = columns or max(1, math.ceil(math.sqrt(len(cells))))
    page_w = columns * (side + GAP) + GAP
    legend_rows = _legend_rows(legend, page_w)
    drawn = [None if cell.picture is None else annotated(cell, side) for cell in cells]
    rows = [range(first, min(first + columns, len(cells))) for first in range(0, len(cells), columns)]
    heights = [max(EMPTY_HEIGHT if (image := drawn[n]) is None else image.shape[0] for n in row) for row in rows]
    top = GAP + LINE * (bool(heading) + len(legend_rows))
    page = Image.new("RGB", (page_w, top + sum(heights) + len(rows) * (LINE + GAP) + GAP), PAPER)
    draw = ImageDraw.Draw(page)
    if heading:
        draw.text((GAP, GAP - 2), _shortened(draw, heading, page_w - 2 * GAP, 16), fill=INK, font=font(16))
    for number, entries in enumerate(legend_rows):
        _draw_legend(draw, entries, GAP + LINE * (bool(heading) + number))
    for row, height in zip(rows, heights, strict=True):
        for place, number in enumerate(row):
            _draw_cell(page, drawn[number], cells[number].title, GAP + place * (side + GAP), top, (side, height))
        top += height + LINE + GAP
    return np.asarray(page).copy()


def _draw_cell(
    page: Image.Image, drawn: np.ndarray | None, title: str, left: int, top: int, size: tuple[int, int]
) -> None:
    """A picture in the middle of its place, or an empty frame, with the title below."""
    draw = ImageDraw.Draw(page)
    width, height = size
    if drawn is None:
        draw.rectangle((left, top, left + width - 1, top + height - 1), outline=(180, 180, 180))
    else:
        across, down = (width - drawn.shape[1]) // 2, (height - drawn.shape[0]) // 2
        page.paste(Image.fromarray(drawn), (left + across, top + down))
    text = _shortened(draw, title, width, TITLE_SIZE)
    draw.text((left, top + height + 3), text, fill=INK, font=font(TITLE_SIZE))


def annotated(cell: Cell, side: int) -> UInt8[np.ndarray, "height width 3"]:
    """The picture of a cell with its longer side at ``side`` pixels, and its boxes drawn at that size."""
    if cell.picture is None:
        raise ValueError("the cell has no picture")
    height, width = cell.picture.shape[:2]
    ratio = side / max(height, width)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    resized = np.asarray(Image.fromarray(cell.picture).resize(size, Image.Resampling.BICUBIC))
    scale = np.array([size[0] / width, size[1] / height] * 2)
    return draw_boxes(resized, cell.boxes_xyxy_px * scale, cell.labels, cell.captions)


def _legend_rows(legend: Sequence[tuple[int, str]], width: int) -> list[list[tuple[int, int, str]]]:
    """The legend broken into lines: (left edge, class, name) of each entry."""
    rows: list[list[tuple[int, int, str]]] = []
    left = width
    for label, words in legend:
        name = " ".join(words.split())
        wide = round(font(TITLE_SIZE).getlength(name)) + 12
        if left + wide > width - GAP:
            rows.append([])
            left = GAP
        rows[-1].append((left, label, name))
        left += wide + 8
    return rows


def _draw_legend(draw: ImageDraw.ImageDraw, entries: list[tuple[int, int, str]], top: int) -> None:
    for left, label, name in entries:
        wide = round(font(TITLE_SIZE).getlength(name)) + 12
        colour = colour_of(label)
        draw.rectangle((left, top, left + wide, top + 20), fill=colour, outline=(0, 0, 0))
        draw.text((left + 6, top + 2), name, fill=ink_on(colour), font=font(TITLE_SIZE))


def _shortened(draw: ImageDraw.ImageDraw, text: str, width: int, size: int) -> str:
    """The text on one line, cut with an ellipsis where it is too wide."""
    text = " ".join(text.split())
    if draw.textlength(text, font=font(size)) <= width:
        return text
    while text and draw.textlength(text + "\u2026", font=font(size)) > width:
        text = text[:-1]
    return text + "\u2026"
