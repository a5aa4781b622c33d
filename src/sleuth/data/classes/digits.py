"""The built-in pictures of classes: scikit-learn's handwritten digits, 1,797 of 8 x 8 pixels, offline."""

from functools import cache

import numpy as np
import torch

from sleuth.data.classes.samples import ClassSample
from sleuth.data.held_out import HELD_OUT
from sleuth.errors import UserError

DIGITS = "digits"
"""As ``data.path``, these pictures."""

SPLITS = ("train", "val", "all")

_SEED = 20


class DigitPictures:
    """Handwritten digits; a `ClassSource`.

    A fifth of each digit, drawn once and for all by a fixed seed, is the split ``val``.

    Args:
        split: ``train``, ``val`` or ``all``.

    Raises:
        UserError: there is no such split.

    Source: E. Alpaydin and C. Kaynak 1998, "Optical Recognition of Handwritten Digits"; its test part, as scikit-learn
    has it (CC BY 4.0).
    """

    names = tuple(map(str, range(10)))

    def __init__(self, split: str = "train") -> None:
        if split not in SPLITS:
            raise UserError(f"the digits have no split {split!r}", where="data", mend=f"there are {', '.join(SPLITS)}")
        self.split = split
        images, labels = _digits()
        held_out = _held_out(labels)
        chosen = np.ones(len(labels), dtype=bool) if split == "all" else held_out == (split == "val")
        self._numbers = np.flatnonzero(chosen)
        self._images, self._labels = images[chosen], labels[chosen]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._labels)

    def load(self, index: int) -> ClassSample:
        """The picture at ``index``, grey in all three colours."""
        image = torch.from_numpy(self._images[index])
        return ClassSample(image.expand(3, -1, -1).contiguous(), self.label(index), f"digit {self._numbers[index]}")

    def label(self, index: int) -> int:
        """The digit at ``index``."""
        return int(self._labels[index])


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    # Imported here: it takes a second that only these pictures are worth.
    from sklearn.datasets import load_digits

    found = load_digits()
    # Its values go from 0 to 16.
    return np.rint(found.images * (255 / 16)).astype(np.uint8), found.target.astype(np.int64)


def _held_out(labels: np.ndarray) -> np.ndarray:
    """True on a fifth of each class."""
    order = np.random.default_rng(_SEED).permutation(len(labels))
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        chosen[members[: len(members) // HELD_OUT]] = True
    return chosen
