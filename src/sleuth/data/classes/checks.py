"""Whether pictures of classes can be trained on, before anything is: classes, and the headers of all files."""

from collections import Counter
from dataclasses import dataclass

from sleuth.data.classes.open import ClassPictures
from sleuth.data.pictures import check_picture
from sleuth.errors import UserError


@dataclass(frozen=True)
class ClassReport:
    """What the checks found.

    Args:
        pictures: how many there are.
        classes: pictures of each class.
        empty: classes without a picture.
        unreadable: what is wrong with pictures that cannot be read, and their indices.
        lines: lines of tables that say nothing.
    """

    pictures: int
    classes: dict[str, int]
    empty: tuple[str, ...]
    unreadable: tuple[tuple[int, UserError], ...]
    lines: tuple[str, ...]

    def notes(self) -> list[str]:
        """What is worth saying, in lines."""
        told = [f"{self.pictures:,} pictures, {len(self.classes)} classes"]
        fewest, most = min(self.classes, key=self.classes.__getitem__), max(self.classes, key=self.classes.__getitem__)
        if self.classes[most] > 10 * self.classes[fewest]:
            told.append(
                f"warning: {self.classes[fewest]} pictures of {fewest!r}, {self.classes[most]:,} of {most!r}: "
                "rare classes are learned badly"
            )
        if self.empty:
            told.append(f"warning: no picture of {', '.join(map(repr, self.empty))}: left out")
        told += [f"warning: {line}: left out" for line in self.lines[:5]]
        if len(self.lines) > 5:
            told.append(f"warning: {len(self.lines) - 5} more lines left out")
        return told

    def raise_if_fatal(self, where: object) -> None:
        """Refuse what cannot be trained on.

        Raises:
            UserError: a picture that cannot be read, or fewer than two classes.
        """
        if self.unreadable:
            fault, more = self.unreadable[0][1], len(self.unreadable) - 1
            also = f" ({more} more cannot be read)" if more else ""
            raise UserError(f"{fault.what}{also}", where=fault.where, mend=f"{fault.mend}; or leave out: --skip-faulty")
        check_classes(tuple(self.classes), where)


def check_classes(names: tuple[str, ...], where: object) -> None:
    """Refuse a single class.

    Raises:
        UserError: there is one class, or none.
    """
    if len(names) < 2:
        what = f"there is one class only, {names[0]!r}: nothing to tell apart" if names else "there are no classes"
        raise UserError(what, where=where, mend="give each class a folder of its own, beside the others")


def check_pictures(data: ClassPictures) -> ClassReport:
    """Look at the header of every picture."""
    unreadable = []
    for index in range(len(data)):
        try:
            check_picture(data.content(index), data.where(index))
        except UserError as error:
            unreadable.append((index, error))
    counts = Counter(data.labels)
    return ClassReport(
        pictures=len(data),
        classes={name: counts[label] for label, name in enumerate(data.names) if counts[label]},
        empty=data.empty,
        unreadable=tuple(unreadable),
        lines=data.faults,
    )


def without_faulty(data: ClassPictures, report: ClassReport) -> ClassPictures:
    """The pictures that can be read."""
    faulty = {index for index, _ in report.unreadable}
    return data.select([index for index in range(len(data)) if index not in faulty])
