"""Drawing labelled boxes so that they can be read on any picture."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw

from sleuth.render.palette import Colour, colour_of, font, ink_on

Rectangle = tuple[float, float, float, float]


def draw_boxes(
    picture: UInt8[np.ndarray, "height width 3"],
    boxes_xyxy_px: Float[np.ndarray, "objects 4"],
    labels: Int[np.ndarray, " objects"],
    captions: Sequence[str] = (),
) -> UInt8[np.ndarray, "height width 3"]:
    """A copy of the picture with an outline and a caption for each box.

    Lines and letters grow with the picture. Each line has a dark rim outside, so that it shows on any ground.

    Args:
        picture: RGB, 0 to 255.
        boxes_xyxy_px: corners in pixels of the picture.
        labels: class of each box, which gives its colour.
        captions: text for each box; empty draws outlines only.
    """
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    width = line_width(picture.shape[0], picture.shape[1])
    # Large boxes first, so that small ones are drawn over them.
    sides = np.maximum(boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2], 0)
    order = [int(row) for row in np.argsort(-sides.prod(axis=1), kind="stable")]
    for row in order:
        _outline(draw, _corners(boxes_xyxy_px[row]), colour_of(int(labels[row])), width)
    taken: list[Rectangle] = []
    for row in order if captions else ():
        if captions[row]:
            _tag(draw, _corners(boxes_xyxy_px[row]), captions[row], colour_of(int(labels[row])), width, taken)
    return np.asarray(canvas).copy()


def caption(name: str, score: float | None = None) -> str:
    """A box's text: the class, and the score if there is one.

    >>> caption("cat", 0.987)
    'cat 0.99'
    """
    return name if score is None else f"{name} {score:.2f}"


def line_width(height: int, width: int) -> int:
    """Thickness of an outline in pixels for a picture of this size."""
    return max(2, round(max(height, width) / 320))


def text_size(height: int, width: int) -> int:
    """Height of letters in pixels for a picture of this size."""
    return max(11, round(max(height, width) / 45))


def _corners(box: np.ndarray) -> Rectangle:
    left, top, right, bottom = (float(value) for value in np.nan_to_num(box, posinf=1e6, neginf=-1e6))
    return min(left, right), min(top, bottom), max(left, right), max(top, bottom)


def _outline(draw: ImageDraw.ImageDraw, box: Rectangle, colour: Colour, width: int) -> None:
    left, top, right, bottom = box
    # The right and bottom edges of a box lie between pixels.
    right, bottom = max(left, right - 1), max(top, bottom - 1)
    rim = max(1, width // 3)
    draw.rectangle((left - rim, top - rim, right + rim, bottom + rim), outline=(0, 0, 0), width=width + rim)
    draw.rectangle((left, top, right, bottom), outline=colour, width=width)


def _tag(
    draw: ImageDraw.ImageDraw, box: Rectangle, text: str, colour: Colour, line: int, taken: list[Rectangle]
) -> None:
    """A filled tag at the box: above it, else where there is room that no other tag has."""
    canvas_w, canvas_h = draw.im.size
    letters = font(text_size(canvas_h, canvas_w))
    text = " ".join(text.split())
    pad = max(2, line)
    # Ascenders and descenders count for every text, so that all tags are equally high.
    _, low_y, _, high_y = draw.textbbox((0, 0), "Ag|", font=letters)
    wide, tall = float(draw.textlength(text, font=letters) + 2 * pad), float(high_y - low_y + pad)
    left, top, right, bottom = box
    places = [(left, top - tall), (left, top), (left, bottom), (right - wide, top - tall), (left, bottom - tall)]
    inside = [(_within(x, wide, canvas_w), _within(y, tall, canvas_h)) for x, y in places]
    areas = [(x, y, x + wide, y + tall) for x, y in inside]
    free = [area for area in areas if not any(_meet(area, other) for other in taken)]
    area = (free or areas)[0]
    taken.append(area)
    x, y = area[:2]
    draw.rectangle((x, y, x + wide - 1, y + tall - 1), fill=colour, outline=(0, 0, 0))
    draw.text((x + pad, y + pad // 2 - low_y), text, fill=ink_on(colour), font=letters)


def _within(start: float, length: float, limit: int) -> float:
    return max(0.0, min(start, limit - length))


def _meet(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
