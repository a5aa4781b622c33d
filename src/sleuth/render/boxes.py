"""Drawing labelled boxes so that they can be read on any picture."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw

from sleuth.render.palette import Colour, colour_of
from sleuth.render.tags import Rectangle, Tags, around, line_width, text_size

CROWD, CROWDED = 10, 0.25
"""Where more tags than this would cover more than this share of a picture, only those are drawn that cover nothing."""

__all__ = ["caption", "draw_boxes", "line_width", "text_size"]


def draw_boxes(
    picture: UInt8[np.ndarray, "height width 3"],
    boxes_xyxy_px: Float[np.ndarray, "objects 4"],
    labels: Int[np.ndarray, " objects"],
    captions: Sequence[str] = (),
) -> UInt8[np.ndarray, "height width 3"]:
    """A copy of the picture with an outline and a caption for each box.

    Lines and letters grow with the picture. Each line has a dark rim outside, so that it shows on any ground. In a
    crowded picture a caption is left out where it would cover another, or a box.

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
    tags = Tags(canvas)
    told = [row for row in order if captions and captions[row]]
    covered = sum(math.prod(tags.size_of(captions[row])) for row in told)
    crowded = len(told) > CROWD and covered > CROWDED * canvas.width * canvas.height
    if crowded:
        tags.taken += [_corners(box) for box in boxes_xyxy_px]
    for row in told:
        places = around(_corners(boxes_xyxy_px[row]), tags.size_of(captions[row]))
        tags.put(captions[row], colour_of(int(labels[row])), places, always=not crowded)
    return np.asarray(canvas).copy()


def caption(name: str, score: float | None = None) -> str:
    """A box's text: the class, and the score if there is one.

    >>> caption("cat", 0.987)
    'cat 0.99'
    """
    return name if score is None else f"{name} {score:.2f}"


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
