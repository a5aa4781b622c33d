"""Pictures that are held out of data in one split, so that there is something to measure on."""

import hashlib

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
