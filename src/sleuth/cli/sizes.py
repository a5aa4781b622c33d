"""Sizes as a person writes them."""

import re

from sleuth.errors import UserError


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
