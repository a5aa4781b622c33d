"""Decoded samples kept in memory as far as there is room: small data is read once, not once an epoch."""

from collections.abc import Callable
from typing import Generic, TypeVar

from sleuth.data.cache import CACHE_SHARE, free_memory

Kept = TypeVar("Kept")


class Keeper(Generic[Kept]):
    """Samples that are kept once they were loaded, until a number of bytes is reached.

    Args:
        load: loads the sample of an index.
        size: of a sample in bytes.
        budget: most bytes to keep.
    """

    def __init__(self, load: Callable[[int], Kept], size: Callable[[Kept], int], budget: int) -> None:
        self._load, self._size, self.budget = load, size, budget
        self.kept_bytes = 0
        self._kept: dict[int, Kept] = {}

    def load(self, index: int) -> Kept:
        """The sample at ``index``; it may be lent again, so that nobody changes it in place.

        Raises:
            UserError: it cannot be read.
        """
        sample = self._kept.get(index)
        if sample is None:
            sample = self._load(index)
            size = self._size(sample)
            if self.kept_bytes + size <= self.budget:
                self._kept[index] = sample
                self.kept_bytes += size
        return sample


def usual_budget(processes: int) -> int:
    """Bytes that each of so many processes of this machine may keep: together a quarter of what is free."""
    return int(free_memory() * CACHE_SHARE / max(1, processes))
