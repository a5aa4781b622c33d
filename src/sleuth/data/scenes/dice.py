"""Random decisions that come out the same on every machine and with every release of numpy."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_CHUNK = 192
_Item = TypeVar("_Item")


class Dice:
    """A stream of random decisions that is a function of its key alone.

    Only the raw bits of PCG64 are used, whose stream numpy guarantees; every conversion is done here, in exact
    arithmetic.

    Args:
        key: whole numbers, for example seed, split and index.
    """

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))
        self._units: list[float] = []

    def unit(self) -> float:
        """A number from 0 (included) to 1 (excluded)."""
        if not self._units:
            self._units = ((self._bits.random_raw(_CHUNK) >> np.uint64(11)) * 2.0**-53).tolist()
        return self._units.pop()

    def uniform(self, low: float | int, high: float | int) -> float:
        """A number between two bounds."""
        return low + (high - low) * self.unit()

    def integer(self, low: int, high: int) -> int:
        """A whole number between two bounds, both included."""
        return low + int(self.unit() * (high - low + 1))

    def chance(self, probability: float | int) -> bool:
        """True with this probability."""
        return self.unit() < probability

    def choice(self, items: Sequence[_Item]) -> _Item:
        """One of the items, each as likely as the others."""
        return items[int(self.unit() * len(items))]

    def sample(self, count: int, items: Sequence[_Item]) -> list[_Item]:
        """Some of the items, none twice, in random order."""
        rest = list(items)
        return [rest.pop(int(self.unit() * len(rest))) for _ in range(min(count, len(rest)))]

    def bytes(self, count: int) -> np.ndarray:
        """Random bytes as a uint8 array, the same on machines of either byte order."""
        raw: np.ndarray = self._bits.random_raw(-(-count // 8)).astype("<u8")
        return raw.view(np.uint8)[:count].copy()
