"""Pictures that are held out of data in one split, so that there is something to measure on."""

import hashlib
from collections.abc import Sequence

from sleuth.data.records import PictureRecord

HELD_OUT = 5
"""Of data in one split, one picture in so many is held out for measuring, by a hash of its name."""

REST_PART, HELD_OUT_PART = "rest", "held-out"
"""Of a detector's data in one split, the part to learn from and the part to measure on, as splits are named."""

LEAST_PICTURES = 25
"""Fewer are not parted where nobody asks for it: each of them is needed to learn from."""


def is_held_out(name: str) -> bool:
    """Whether a picture of this name is among the fifth that is held out, whatever else there is.

    >>> sum(is_held_out(f"{number}.jpg") for number in range(1000))
    214
    """
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=4).digest()[0] % HELD_OUT == 0


def held_out_count(pictures: Sequence[PictureRecord]) -> int:
    """How many pictures a training holds out by itself: none where they are few, or a part would have no objects."""
    with_objects = {is_held_out(picture.name) for picture in pictures if len(picture)}
    if len(pictures) < LEAST_PICTURES or with_objects != {True, False}:
        return 0
    return sum(is_held_out(picture.name) for picture in pictures)
