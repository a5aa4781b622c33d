"""Decoded pictures of classes, kept in memory as far as there is room."""

from sleuth.data.classes.samples import ClassSample, ClassSource
from sleuth.data.kept import Keeper, usual_budget


class CachedClasses:
    """A source whose pictures are kept once they were decoded; the samples are the same either way.

    Args:
        source: where pictures come from.
        budget: most bytes to keep.
    """

    def __init__(self, source: ClassSource, *, budget: int) -> None:
        self.source = source
        self._keeper: Keeper[ClassSample] = Keeper(source.load, _bytes_of, budget)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the pictures that are kept."""
        return self._keeper.kept_bytes

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
        return self._keeper.load(index)

    def label(self, index: int) -> int:
        """The label of the picture at ``index``."""
        return self.source.label(index)


def cached_classes(source: ClassSource, *, processes: int) -> CachedClasses:
    """The source with a cache that fills this process's part of a quarter of the free memory.

    Args:
        source: where pictures come from.
        processes: how many processes of this machine load pictures.
    """
    return CachedClasses(source, budget=usual_budget(processes))


def _bytes_of(sample: ClassSample) -> int:
    return sample.image.nbytes
