"""Whether pictures with masks can be trained on, before anything is: every mask is read, and every picture's header."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sleuth.data.faults import Fault
from sleuth.data.open import match_split
from sleuth.data.pictures import decode_picture, picture_size
from sleuth.data.report import LINES_PER_KIND, faults_json, render_faults
from sleuth.data.semantic.open import SemanticPictures, open_semantic, semantic_splits
from sleuth.errors import UserError
from sleuth.tasks.semantic import UNLABELLED


@dataclass(frozen=True)
class PixelCount:
    """How often a class occurs.

    Args:
        name: of the class.
        pixels: of it, in all pictures.
        pictures: with at least one of them.
        area: pixels of the pictures that have it, without those of which nobody has said what they show.
    """

    name: str
    pixels: int
    pictures: int
    area: int


@dataclass(frozen=True)
class SemanticReport:
    """What `check_semantic` found in one split.

    Args:
        root: folder or file of the data.
        split: name of the split.
        pictures: how many there are, faulty ones included.
        labelled: share of the pixels of which somebody has said what they show.
        smallest_hw: height and width of the picture with the fewest pixels.
        largest_hw: height and width of the picture with the most pixels.
        classes: counts of each class.
        faults: all faults, heaviest first; their ``image_id`` is the place of the picture, from 0.
        deep: whether every picture was decoded, not only its header read.
    """

    root: str
    split: str
    pictures: int
    labelled: float
    smallest_hw: tuple[int, int]
    largest_hw: tuple[int, int]
    classes: tuple[PixelCount, ...]
    faults: tuple[Fault, ...]
    deep: bool

    @property
    def errors(self) -> tuple[Fault, ...]:
        """The faults that stop training."""
        return tuple(fault for fault in self.faults if fault.severity == "error")

    def raise_if_fatal(self) -> None:
        """Stop where training cannot go on.

        Raises:
            UserError: there are errors, or fewer than two classes.
        """
        if self.errors:
            first, more = self.errors[0], len(self.errors) - 1
            also = f" (and {more} more error{'s' if more > 1 else ''})" if more else ""
            mend = "see them all with `sleuth data check`, or leave faulty pictures out with --skip-faulty"
            raise UserError(f"{first.line()}{also}", where=f"data set {self.root}", mend=f"{first.mend}; {mend}")
        if len(self.classes) < 2:
            told = f"one class only, {self.classes[0].name!r}" if self.classes else "no class at all"
            mend = "list them in classes.txt; of masks of 0 and 255, in classes.json with their ids"
            raise UserError(f"there is {told}: nothing to tell apart", where=self.root, mend=mend)

    def to_json(self) -> dict[str, object]:
        """The report as plain values for a JSON file."""
        return {**asdict(self), "faults": faults_json(self.faults)}

    def render(self, lines_per_kind: int = LINES_PER_KIND) -> str:
        """The report as text: counts, then the faults by kind, the first few of each in full."""
        seen = "every mask and picture decoded" if self.deep else "every mask decoded, headers of pictures read"
        return "\n".join([*self._render_counts(), "", *render_faults(self.faults, lines_per_kind, seen)])

    def _render_counts(self) -> Iterator[str]:
        split = f", split {self.split}" if self.split else ""
        yield f"{self.root} (pictures with masks{split})"
        low, high = self.smallest_hw, self.largest_hw
        yield f"  {self.pictures:,} pictures of {low[0]}x{low[1]} to {high[0]}x{high[1]} (height x width)"
        yield f"  {self.labelled:.1%} of the pixels have a class"
        yield ""
        width = max([len(count.name) for count in self.classes] + [len("class")])
        total = max(1, sum(count.pixels for count in self.classes))
        yield f"  {'class':<{width}}  {'share':>7}  {'pictures':>9}"
        for count in self.classes:
            yield f"  {count.name:<{width}}  {count.pixels / total:>7.2%}  {count.pictures:>9,}"


def check_semantic(
    data: SemanticPictures, *, deep: bool = False, advance: Callable[[], object] | None = None
) -> SemanticReport:
    """Look at every mask, and at the header of every picture or at all of it.

    Args:
        data: one split.
        deep: decode the pictures, too, which finds those that are cut short.
        advance: called after each picture, to show progress.
    """
    classes = len(data.names)
    pixels, area = np.zeros(classes, dtype=np.int64), np.zeros(classes, dtype=np.int64)
    pictures = np.zeros(classes, dtype=np.int64)
    labelled = every = 0
    faults = [Fault("spare-mask", name, "there is no picture of this name") for name in data.spare]
    sizes: list[tuple[int, int]] = []
    for index in range(len(data)):
        labels, size = _look(data, index, deep, faults)
        if size is not None:
            sizes.append(size)
        if labels is not None:
            counts = np.bincount(labels.ravel(), minlength=256)
            own, own_area = counts[:classes], int(labels.size - counts[UNLABELLED])
            pixels += own
            pictures += own > 0
            area += np.where(own > 0, own_area, 0)
            labelled, every = labelled + own_area, every + labels.size
        if advance is not None:
            advance()
    faults += [
        Fault("unused-category", data.files.root.name, f"no pixel of {name!r}")
        for name, count in zip(data.names, pixels, strict=True)
        if not count
    ]
    order = {"error": 0, "warning": 1, "note": 2}
    by_area = sorted(sizes, key=lambda size: size[0] * size[1]) or [(0, 0)]
    columns = (pixels.tolist(), pictures.tolist(), area.tolist())
    return SemanticReport(
        root=str(data.files.root),
        split=data.split,
        pictures=len(data),
        labelled=labelled / max(1, every),
        smallest_hw=by_area[0],
        largest_hw=by_area[-1],
        classes=tuple(PixelCount(*each) for each in zip(data.names, *columns, strict=True)),
        faults=tuple(sorted(faults, key=lambda fault: order[fault.severity])),
        deep=deep,
    )


def check_semantic_folder(
    path: Path | str,
    split: str | None = None,
    *,
    ignored: Iterable[int] = (),
    deep: bool = True,
    advance: Callable[[], object] | None = None,
) -> tuple[SemanticReport, ...]:
    """Check every split of a folder, or the one named.

    Raises:
        UserError: there is no such data.
    """
    splits = semantic_splits(path)
    wanted: Sequence[str] = splits if split is None else [match_split(split, splits, Path(path))]
    ignored = tuple(ignored)
    return tuple(
        check_semantic(open_semantic(path, name, ignored=ignored), deep=deep, advance=advance) for name in wanted
    )


def without_faulty(data: SemanticPictures, report: SemanticReport) -> SemanticPictures:
    """The pictures that no error touches."""
    faulty = {fault.image_id for fault in report.errors}
    return data.select([index for index in range(len(data)) if index not in faulty])


def _look(
    data: SemanticPictures, index: int, deep: bool, faults: list[Fault]
) -> tuple[np.ndarray | None, tuple[int, int] | None]:
    """The classes of a mask and the size of its picture, as far as they can be had; faults are added to the list."""

    def found(kind: str, file: str, what: str) -> None:
        faults.append(Fault(kind, file, what, image_id=index))

    picture, mask = data.pairs[index]
    labels, unknown, size = None, "", None
    try:
        size = picture_size(data.where(index), data.content(index))
        if deep:
            decode_picture(data.content(index), data.where(index))
    except UserError as error:
        found("unreadable-picture", picture, error.what)
    if mask is None:
        found("missing-mask", picture, "there is no mask of this name")
        return None, size
    try:
        labels, unknown = data.mask(index)
    except UserError as error:
        found("unreadable-mask", mask, error.what)
        return None, size
    if unknown:
        found("unknown-value", mask, f"{unknown}, which is none of the {len(data.names)} classes")
    if size is not None and labels.shape != size:
        own, theirs = ("x".join(map(str, each)) for each in (labels.shape, size))
        found("mask-size", mask, f"the mask is {own}, its picture {theirs}")
    if not unknown and bool((labels == UNLABELLED).all()):
        found("no-labels", mask, "no pixel has a class")
    return labels, size
