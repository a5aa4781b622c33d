"""A picture and the one class that it shows, and the protocol of everything that can serve such pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import UInt8
from torch import Tensor

from sleuth.errors import UserError


@dataclass(frozen=True, eq=False)
class ClassSample:
    """A picture and what it shows.

    Args:
        image: RGB, 0 to 255.
        label: number of the class.
        name: its file or number: errors and skipped steps name it.
    """

    image: UInt8[Tensor, "3 height width"]
    label: int
    name: str


@runtime_checkable
class ClassSource(Protocol):
    """Anything that serves numbered pictures of classes.

    ``load(index)`` is a pure function of the source and the index, so that a training run can be resumed exactly.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        ...

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def load(self, index: int) -> ClassSample:
        """The picture at ``index``."""
        ...

    def label(self, index: int) -> int:
        """The label of the picture at ``index``, for less than the picture itself."""
        ...


class FirstPictures:
    """The first so many pictures of a source.

    Args:
        source: where they come from.
        count: how many; all of them where the source has no more.
    """

    def __init__(self, source: ClassSource, count: int) -> None:
        self.source, self.count = source, min(count, len(source))

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.source.names

    def __len__(self) -> int:
        """Number of pictures."""
        return self.count

    def load(self, index: int) -> ClassSample:
        """The picture at ``index``, 0 to len - 1."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.source.load(index)

    def label(self, index: int) -> int:
        """The label of the picture at ``index``."""
        return self.source.label(index)


def relabelled(names: Sequence[str], wanted: Sequence[str], where: object) -> list[int]:
    """The label that each class has in another order.

    Args:
        names: classes of the data.
        wanted: classes of the model.
        where: the data, for messages.

    Raises:
        UserError: the data has a class that the model does not know.
    """
    places = {name: place for place, name in enumerate(wanted)}
    if unknown := [name for name in names if name not in places]:
        shown = ", ".join(wanted[:5]) + (", ..." if len(wanted) > 5 else "")
        what = f"there is a class {unknown[0]!r}, which is none of the model's {len(wanted)} ({shown})"
        raise UserError(what, where=where, mend="name data of the same classes")
    return [places[name] for name in names]
