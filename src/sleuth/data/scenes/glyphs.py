"""What digits are cut from: smooth fields of scikit-learn's handwritten ones.

A glyph is a picture of 128 x 128 levels whose outline is the level 128. Scaling, turning and softening the edge then
need no more than one look-up per pixel. All of it is exact arithmetic, so that scenes are the same everywhere.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

DIGITS = tuple(str(digit) for digit in range(10))

FIELD = 128
INK = 112
_CELL = INK // 8
_DIGIT_OUTLINE = 8
_DIGIT_SLOPE = 13
_SHARES = {"train": (0, 60), "val": (60, 80), "test": (80, 100)}


@dataclass(frozen=True, eq=False)
class Glyph:
    """A shape to be scaled, turned and stamped.

    Args:
        field: levels, inside at 128 and above.
        slope: change of level per pixel of the field at the outline.
        box: left, top, right, bottom of the ink in pixels of the field.
    """

    field: UInt8[np.ndarray, "128 128"]
    slope: int
    box: tuple[int, int, int, int]

    @property
    def extent(self) -> int:
        """The longer side of the ink in pixels of the field."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])

    def tips(self) -> tuple[tuple[float, float], ...]:
        """Centre of the ink's box, then its topmost, bottommost, leftmost and rightmost points: x, y in the field."""
        ink = self.field >= 128
        left, top, right, bottom = self.box
        x_top, x_bottom = _middle(ink[top]), _middle(ink[bottom - 1])
        y_left, y_right = _middle(ink[:, left]), _middle(ink[:, right - 1])
        return (
            ((left + right) / 2, (top + bottom) / 2),
            (x_top, float(top)),
            (x_bottom, float(bottom)),
            (float(left), y_left),
            (float(right), y_right),
        )


def _middle(line: np.ndarray) -> float:
    """Centre of the middle ink pixel of a row or column: on the ink even where it touches the line twice."""
    touching = np.flatnonzero(line)
    return float(touching[len(touching) // 2]) + 0.5


def make_glyph(field: np.ndarray, slope: int) -> Glyph:
    """A glyph from its levels, with the box of its ink."""
    ink = field >= 128
    columns, rows = np.flatnonzero(ink.any(0)), np.flatnonzero(ink.any(1))
    return Glyph(field, slope, (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


@cache
def _digit_scans() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 scans of scikit-learn, 0 to 16, and their digits, in a fixed shuffled order."""
    from sklearn.datasets import load_digits

    data = load_digits()
    shuffled = np.argsort(np.random.PCG64(20240229).random_raw(len(data.target)), kind="stable")
    return data.images[shuffled].astype(np.float32), data.target[shuffled].astype(np.int64)


@cache
def digit_numbers(split: Split) -> tuple[tuple[int, ...], ...]:
    """Which scans show each digit in a split; no scan is in two splits."""
    digits = _digit_scans()[1]
    low, high = (len(digits) * share // 100 for share in _SHARES[split])
    return tuple(tuple((np.flatnonzero(digits[low:high] == digit) + low).tolist()) for digit in range(10))


@cache
def _upscaling() -> np.ndarray:
    """Weights [128, 8] of a smooth cubic upscaling from 8 cells to 112 pixels, in 128ths."""
    weights = np.zeros((FIELD, 8), np.float32)
    for pixel in range(FIELD):
        cell = (pixel - (FIELD - INK) / 2 + 0.5) / _CELL - 0.5
        for source in range(8):
            away = abs(cell - source)
            if away < 1:  # the cubic of Mitchell and Netravali with B = 0.6, C = 0.2
                weight = (0.9 * away - 1.6) * away * away + 0.8
            elif away < 2:
                weight = ((1.6 - 0.3 * away) * away - 2.8) * away + 1.6
            else:
                continue
            weights[pixel, source] = round(weight * 128)
    return weights


def _sharpen(scan: np.ndarray) -> np.ndarray:
    """A scan in 128ths of full ink instead of 16ths, sharpened so that the holes of 4, 6, 8 and 9 stay open."""
    wide = np.pad(scan, 1)
    around = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    sharp: np.ndarray = np.maximum(8 * scan + 2 * (4 * scan - around), 0)
    return sharp


@lru_cache(maxsize=2048)
def digit_glyph(number: int) -> Glyph:
    """The glyph of one handwritten digit, upscaled smoothly.

    Both products are sums of whole numbers below 2**24: exact in float32 in whatever order they are added.
    """
    weights = _upscaling()
    levels = weights @ _sharpen(_digit_scans()[0][number]) @ weights.T
    levels *= np.float32(128 / (8 * _DIGIT_OUTLINE * 128 * 128))
    levels[[0, -1]] = 0
    levels[:, [0, -1]] = 0
    return make_glyph(np.clip(levels, 0, 255).astype(np.uint8), _DIGIT_SLOPE)
