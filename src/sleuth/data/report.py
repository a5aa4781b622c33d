"""The outcome of checking a data set: faults, counts and a readable page of both."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from sleuth.data.faults import FAULT_KINDS, Fault, Severity
from sleuth.errors import UserError

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
LINES_PER_KIND = 5


@dataclass(frozen=True)
class ClassCount:
    """How often a class occurs.

    Args:
        label: contiguous id.
        name: name of the class.
        category_id: id in the data set's own format.
        objects: boxes of the class, without crowds.
        pictures: pictures that hold at least one.
    """

    label: int
    name: str
    category_id: int
    objects: int
    pictures: int


@dataclass(frozen=True)
class SizeCount:
    """How many boxes fall into a range of sizes.

    Args:
        name: what the range is called.
        low: least side in pixels, where side is the root of the area.
        high: side in pixels that the range stays below; None has no end.
        objects: boxes in the range.
    """

    name: str
    low: float
    high: float | None
    objects: int


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found in one split.

    Args:
        root: folder or file of the data set.
        format: coco, voc or yolo.
        split: name of the split.
        pictures: pictures that remain, faulty ones included.
        objects: boxes that remain, without crowds.
        crowds: crowd boxes.
        pictures_without_objects: pictures with no box but crowds.
        most_objects: objects of the fullest picture; a model needs more queries than that.
        mean_objects: objects per picture.
        smallest_hw: height and width of the picture with the fewest pixels.
        largest_hw: height and width of the picture with the most pixels.
        classes: counts per class.
        coco_sizes: small, medium and large boxes by COCO's limits.
        side_histogram: boxes by the root of their area.
        faults: all faults, heaviest first.
        deep: whether every picture was decoded, not only its header read.
        annotations: what was asked for: boxes, instances or panoptic.
    """

    root: str
    format: str
    split: str
    pictures: int
    objects: int
    crowds: int
    pictures_without_objects: int
    most_objects: int
    mean_objects: float
    smallest_hw: tuple[int, int]
    largest_hw: tuple[int, int]
    classes: tuple[ClassCount, ...]
    coco_sizes: tuple[SizeCount, ...]
    side_histogram: tuple[SizeCount, ...]
    faults: tuple[Fault, ...]
    deep: bool
    annotations: str = "boxes"

    def of(self, severity: Severity) -> tuple[Fault, ...]:
        """The faults of one severity."""
        return tuple(fault for fault in self.faults if fault.severity == severity)

    @property
    def errors(self) -> tuple[Fault, ...]:
        """The faults that stop training."""
        return self.of("error")

    @property
    def faulty_image_ids(self) -> frozenset[int]:
        """Ids of the pictures that an error touches."""
        return frozenset(fault.image_id for fault in self.errors if fault.image_id is not None)

    def by_kind(self) -> dict[str, tuple[Fault, ...]]:
        """The faults of each kind that occurs, heaviest kinds first."""
        return by_kind(self.faults)

    def raise_if_fatal(self) -> None:
        """Stop where training cannot go on.

        Raises:
            UserError: there are errors, or no objects at all.
        """
        if self.errors:
            first = self.errors[0]
            more = f" (and {_plural(len(self.errors) - 1, 'more error')})" if len(self.errors) > 1 else ""
            raise UserError(
                f"{first.line()}{more}",
                where=f"data set {self.root}",
                mend="see them all with `sleuth data check`, or leave faulty pictures out with --skip-faulty",
            )
        if self.pictures == 0:
            raise UserError("there are no pictures", where=self.root, mend="check the folder and the split")
        if self.objects == 0:
            raise UserError("there are no objects in any picture", where=self.root, mend="check the annotations")

    def to_json(self) -> dict[str, object]:
        """The report as plain values for a JSON file."""
        page: dict[str, object] = asdict(self)
        page["faults"] = faults_json(self.faults)
        return page

    def render(self, lines_per_kind: int = LINES_PER_KIND) -> str:
        """The report as text: counts, then the faults by kind, the first few of each in full."""
        seen = "every picture decoded" if self.deep else "headers read"
        return "\n".join([*self._render_counts(), "", *render_faults(self.faults, lines_per_kind, seen)])

    def _render_counts(self) -> Iterator[str]:
        split = f", split {self.split}" if self.split else ""
        kind = "" if self.annotations == "boxes" else f", {self.annotations}"
        yield f"{self.root} ({self.format}{kind}{split})"
        yield (
            f"  {self.pictures:,} pictures, {self.objects:,} objects, {self.crowds:,} crowds, "
            f"{self.pictures_without_objects:,} pictures without objects"
        )
        yield f"  objects per picture: mean {self.mean_objects:.1f}, most {self.most_objects}"
        low, high = self.smallest_hw, self.largest_hw
        yield f"  picture sizes (height x width): {low[0]}x{low[1]} to {high[0]}x{high[1]}"
        yield ""
        width = max([len(count.name) for count in self.classes] + [len("class")])
        yield f"  {'class':<{width}}  {'id':>5}  {'objects':>9}  {'pictures':>9}"
        for count in self.classes:
            yield f"  {count.name:<{width}}  {count.category_id:>5}  {count.objects:>9,}  {count.pictures:>9,}"
        yield ""
        yield "  box size: " + ", ".join(f"{count.name} {count.objects:,}" for count in self.coco_sizes)
        most = max([count.objects for count in self.side_histogram] + [1])
        for sides in self.side_histogram:
            yield f"  {sides.name:>9} px  {sides.objects:>9,}  {'#' * round(40 * sides.objects / most)}".rstrip()


def by_kind(faults: Iterable[Fault]) -> dict[str, tuple[Fault, ...]]:
    """The faults of each kind that occurs, heaviest kinds first."""
    found: dict[str, list[Fault]] = {}
    for fault in faults:
        found.setdefault(fault.kind, []).append(fault)
    order = {kind: place for place, kind in enumerate(FAULT_KINDS)}
    return {kind: tuple(found[kind]) for kind in sorted(found, key=order.__getitem__)}


def faults_json(faults: Iterable[Fault]) -> list[dict[str, object]]:
    """The faults as plain values for a JSON file."""
    return [
        {"kind": f.kind, "severity": f.severity, "file": f.file, "id": f.id, "what": f.what, "mend": f.mend}
        for f in faults
    ]


def render_faults(faults: Sequence[Fault], lines_per_kind: int, seen: str) -> Iterator[str]:
    """The faults by kind, the first few of each in full.

    Args:
        faults: all of them.
        lines_per_kind: how many of each kind are shown.
        seen: how closely the data was looked at, in words.
    """
    counts = [_plural(sum(fault.severity == severity for fault in faults), severity) for severity in SEVERITIES]
    yield f"  {', '.join(counts)} ({seen})"
    for kind, found in by_kind(faults).items():
        about = FAULT_KINDS[kind]
        yield f"  {about.severity}: {about.title}: {len(found):,}"
        for fault in found[:lines_per_kind]:
            yield f"    {fault.line()}"
        if len(found) > lines_per_kind:
            yield f"    ... and {len(found) - lines_per_kind:,} more"
        yield f"    mend: {about.mend}"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
