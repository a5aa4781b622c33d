"""One pair of sentences, and the protocol of everything that can serve such pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class TextSample:
    """A sentence and what it is to become.

    Args:
        source: what is given; it may begin with a prefix such as ``>>deu<<``.
        target: what is wanted.
        name: file and line, or number: errors and skipped steps name it.
    """

    source: str
    target: str
    name: str


@runtime_checkable
class TextSource(Protocol):
    """Anything that serves numbered pairs: lines of files, or pairs that are made up on the fly.

    ``load(index)`` is a pure function of the source and the index, so that a training run can be resumed exactly.
    """

    @property
    def endless(self) -> bool:
        """True where any index has a pair of its own, and len only says how many make an epoch."""
        ...

    def __len__(self) -> int:
        """Number of pairs."""
        ...

    def load(self, index: int) -> TextSample:
        """The pair at ``index``."""
        ...

    def name(self, index: int) -> str:
        """The name of the pair at ``index``, for less than the pair itself."""
        ...


@dataclass(frozen=True)
class TextPairs:
    """Pairs of sentences read from files.

    Args:
        sources: the source sentences.
        targets: the target sentences, one for each.
        lines: the line of each pair in its file, counted from 1.
        file: name of the file that errors speak of: that of the sources.
        languages: of source and target, where they are known.
    """

    sources: Sequence[str]
    targets: Sequence[str]
    lines: Sequence[int]
    file: str
    languages: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        if not len(self.sources) == len(self.targets) == len(self.lines):
            raise ValueError("sources, targets and lines differ in length")

    @property
    def endless(self) -> bool:
        """Files end."""
        return False

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.sources)

    def load(self, index: int) -> TextSample:
        """The pair at ``index``, 0 to len - 1."""
        return TextSample(self.sources[index], self.targets[index], self.name(index))

    def name(self, index: int) -> str:
        """File and line of the pair at ``index``."""
        return f"{self.file}, line {self.lines[index]}"

    def select(self, indices: Sequence[int]) -> "TextPairs":
        """The pairs at these indices, in their order."""
        return replace(
            self,
            sources=[self.sources[i] for i in indices],
            targets=[self.targets[i] for i in indices],
            lines=[self.lines[i] for i in indices],
        )

    def first(self, count: int) -> "TextPairs":
        """The first so many pairs; 0 takes all."""
        return self if count == 0 else self.select(range(min(count, len(self))))
