"""Decoded pictures kept in memory: small data is read once, not once an epoch."""

import os
from dataclasses import replace
from pathlib import Path

from sleuth.data.moves import hw_of, resize
from sleuth.data.samples import Sample, SampleSource

CACHE_SHARE = 0.25
"""The part of the free memory that all processes of a run together fill with pictures."""

_WORTH_SHRINKING = 1.25
_UNKNOWN_MEMORY = 2**31


class CachedSource:
    """A source whose samples are kept once they were loaded, until a number of bytes is reached.

    Samples are the same whether they were kept or not, so that memory decides about speed alone. Each process that
    loads samples keeps its own.

    Args:
        source: where samples come from.
        budget: most bytes to keep.
        longest: pictures whose longer side is a good deal more pixels are brought down to this; None leaves all as
            they are. The size of the original stays known to the sample.
    """

    def __init__(self, source: SampleSource, *, budget: int, longest: int | None = None) -> None:
        self.source, self.budget, self.longest = source, budget, longest
        self.kept_bytes = 0
        self._kept: dict[int, Sample] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.source.names

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The category id that each label has in the data set's own format."""
        return self.source.category_ids

    @property
    def is_thing(self) -> tuple[bool, ...]:
        """For each label, whether it is a countable thing."""
        return self.source.is_thing

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.source)

    def load(self, index: int) -> Sample:
        """The sample at ``index``; its tensors may be lent again, so that nobody changes them in place.

        Raises:
            UserError: it cannot be read.
        """
        sample = self._kept.get(index)
        if sample is None:
            sample = self._shrunk(self.source.load(index))
            # Colours side by side, as resizing likes them: three times as fast.
            image = sample.image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
            sample = replace(sample, image=image)
            size = image.nbytes + sample.boxes_xyxy_px.nbytes + sample.labels.nbytes
            size += 0 if sample.masks is None else sample.masks.nbytes
            if self.kept_bytes + size <= self.budget:
                self._kept[index] = sample
                self.kept_bytes += size
        return sample

    def _shrunk(self, sample: Sample) -> Sample:
        height, width = hw_of(sample)
        if self.longest is None or max(height, width) <= self.longest * _WORTH_SHRINKING:
            return sample
        scale = self.longest / max(height, width)
        return resize(sample, (max(1, round(height * scale)), max(1, round(width * scale))))


def cached(source: SampleSource, *, longest: int | None, processes: int) -> CachedSource:
    """The source with a cache that fills this process's part of a quarter of the free memory.

    Args:
        source: where samples come from.
        longest: as for :class:`CachedSource`.
        processes: how many processes of this machine load samples.
    """
    return CachedSource(source, budget=int(free_memory() * CACHE_SHARE / max(1, processes)), longest=longest)


def free_memory() -> int:
    """Bytes of main memory that are free for use, within the limit of the container if there is one."""
    free = _UNKNOWN_MEMORY
    meminfo = _lines(Path("/proc/meminfo"))
    for line in meminfo:
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    if not meminfo and "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        # No way to ask for what is free: half of what there is.
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        most, now = _lines(Path("/sys/fs/cgroup") / limit), _lines(Path("/sys/fs/cgroup") / used)
        if most and now and most[0].isdigit() and now[0].isdigit():
            free = min(free, max(0, int(most[0]) - int(now[0])))
    return free


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
