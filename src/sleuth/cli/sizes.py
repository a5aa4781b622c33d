"""Sizes as a person writes them."""

import re

from sleuth.errors import UserError
from sleuth.geometry.tiles import Tiling


def parse_tiling(text: str | None, overlap: float | None) -> Tiling | None:
    """What ``--tile`` and ``--tile-overlap`` say: a side in pixels, or height x width.

    Raises:
        UserError: not a size, out of range, or an overlap of no tiles.

    >>> parse_tiling("640", None)
    Tiling(size_hw=(640, 640), overlap=0.2)
    """
    if text is None:
        if overlap is not None:
            raise UserError("--tile-overlap is of no use without --tile", mend="give --tile 640")
        return None
    size_hw = parse_side(text, "--tile")
    return Tiling(size_hw) if overlap is None else Tiling(size_hw, overlap)


def parse_side(text: str, option: str) -> tuple[int, int]:
    """Height and width from a side in pixels, or from height x width.

    Args:
        text: what was said.
        option: where, for messages.

    Raises:
        UserError: not a size.

    >>> parse_side("640", "--tile"), parse_side("480x640", "--tile")
    ((640, 640), (480, 640))
    """
    match = re.fullmatch(r"(\d{1,6})(?:\s*[x\u00d7X]\s*(\d{1,6}))?", text.strip())
    if match is None:
        mend = "give a side in pixels, such as 640, or height x width"
        raise UserError(f"{text!r} is not a size", where=option, mend=mend)
    return int(match[1]), int(match[2] or match[1])


def parse_size(text: str, *, least: int = 32, most: int = 8192) -> tuple[int, int]:
    """Height and width from ``800x600``.

    Raises:
        UserError: another form, or a side out of range.

    >>> parse_size("800x600")
    (800, 600)
    """
    match = re.fullmatch(r"(\d{1,6})\s*[x\u00d7X]\s*(\d{1,6})", text.strip())
    if match is None:
        raise UserError(f"{text!r} is not a size", where="--size", mend="write height x width, such as 800x600")
    height, width = int(match[1]), int(match[2])
    if not (least <= height <= most and least <= width <= most):
        raise UserError(f"{text!r} is out of range", where="--size", mend=f"give sides of {least} to {most} pixels")
    return height, width


def parse_lengths(text: str, *, most: int) -> tuple[int, int]:
    """Words of a source and of a target from ``12x10``.

    Raises:
        UserError: another form, none, or more than the model has positions.

    >>> parse_lengths("12x10", most=512)
    (12, 10)
    """
    match = re.fullmatch(r"(\d{1,6})\s*[x\u00d7X]\s*(\d{1,6})", text.strip())
    if match is None:
        mend = "write source x target words, such as 12x10"
        raise UserError(f"{text!r} is not a size of text", where="--size", mend=mend)
    source, target = int(match[1]), int(match[2])
    if not (1 <= source <= most and 1 <= target <= most):
        raise UserError(f"{text!r} is out of range", where="--size", mend=f"give 1 to {most} words on either side")
    return source, target
