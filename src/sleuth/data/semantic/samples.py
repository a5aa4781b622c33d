"""A picture with the class of each pixel, and the protocol of everything that can serve such pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from sleuth.errors import UserError
from sleuth.tasks.semantic import UNLABELLED


@dataclass(frozen=True, eq=False)
class SemanticSample:
    """A picture and what each of its pixels shows.

    Args:
        image: RGB, 0 to 255.
        labels: the class of each pixel; 255 where nobody has said.
        name: its file or number: errors and skipped steps name it.
    """

    image: UInt8[Tensor, "3 height width"]
    labels: UInt8[Tensor, "height width"]
    name: str


@runtime_checkable
class SemanticSource(Protocol):
    """Anything that serves numbered pictures with the classes of their pixels.

    ``load(index)`` is a pure function of the source and the index, so that a training run can be resumed exactly.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        ...

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def load(self, index: int) -> SemanticSample:
        """The picture at ``index``."""
        ...


class ChangedSource:
    """A source of which only the first pictures are served, or each is changed on the way.

    Args:
        source: where they come from.
        count: how many are served; None serves all.
        names: of the classes, where they are others than the source's.
        change: of each sample.
    """

    def __init__(
        self,
        source: SemanticSource,
        *,
        count: int | None = None,
        names: tuple[str, ...] | None = None,
        change: Callable[[SemanticSample], SemanticSample] | None = None,
    ) -> None:
        self.source, self.change = source, change
        self.count = len(source) if count is None else min(count, len(source))
        self._names = names

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.source.names if self._names is None else self._names

    def __len__(self) -> int:
        """Number of pictures."""
        return self.count

    def load(self, index: int) -> SemanticSample:
        """The picture at ``index``, 0 to len - 1."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        sample = self.source.load(index)
        return sample if self.change is None else self.change(sample)


def first_pictures(source: SemanticSource, count: int) -> SemanticSource:
    """The first so many pictures of a source; all where ``count`` is 0."""
    return ChangedSource(source, count=count) if count else source


def relabelled(source: SemanticSource, names: Sequence[str], where: object) -> SemanticSource:
    """A source with the classes of a model, in its order.

    Args:
        source: the pictures.
        names: classes of the model.
        where: the data, for messages.

    Raises:
        UserError: the data has a class that the model does not know.
    """
    if tuple(names) == tuple(source.names):
        return source
    places = {name: place for place, name in enumerate(names)}
    if unknown := [name for name in source.names if name not in places]:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        what = f"there is a class {unknown[0]!r}, which is none of the model's {len(names)} ({shown})"
        raise UserError(what, where=where, mend="name data of the same classes")
    table = np.full(256, UNLABELLED, dtype=np.uint8)
    table[: len(source.names)] = [places[name] for name in source.names]
    lookup = torch.from_numpy(table)

    def change(sample: SemanticSample) -> SemanticSample:
        return replace(sample, labels=lookup[sample.labels.int()])

    return ChangedSource(source, names=tuple(names), change=change)
