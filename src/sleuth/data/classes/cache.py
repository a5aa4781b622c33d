"""Decoded pictures of classes, kept in memory as far as there is room."""

from sleuth.data.cache import CACHE_SHARE, free_memory
from sleuth.data.classes.samples import ClassSample, ClassSource


class CachedClasses:
    """A source whose pictures are kept once they were decoded; the samples are the same either way.

    Args:
        source: where pictures come from.
        budget: most bytes to keep.
    """

    def __init__(self, source: ClassSource, *, budget: int) -> None:
        self.source, self.budget = source, budget
        self.kept_bytes = 0
        self._kept: dict[int, ClassSample] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.source.names

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.source)

    def load(self, index: int) -> ClassSample:
        """The picture at ``index``; it may be lent again, so that nobody changes it in place.

        Raises:
            UserError: it cannot be read.
        """
        sample = self._kept.get(index)
        if sample is None:
            sample = self.source.load(index)
            if self.kept_bytes + sample.image.nbytes <= self.budget:
                self._kept[index] = sample
                self.kept_bytes += sample.image.nbytes
        return sample

    def label(self, index: int) -> int:
        """The label of the picture at ``index``."""
        return self.source.label(index)


def cached_classes(source: ClassSource, *, processes: int) -> CachedClasses:
    """The source with a cache that fills this process's part of a quarter of the free memory.

    Args:
        source: where pictures come from.
        processes: how many processes of this machine load pictures.
    """
    return CachedClasses(source, budget=int(free_memory() * CACHE_SHARE / max(1, processes)))
