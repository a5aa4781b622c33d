"""What the readers share: clean records out of raw boxes, and finding picture files."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sleuth.data.faults import Fault
from sleuth.data.formats.segmentation import parse_segmentation
from sleuth.data.masks import CodedMasks, MaskCode, ObjectMasks
from sleuth.data.pictures import is_picture, picture_size
from sleuth.data.records import PictureRecord
from sleuth.errors import UserError

# Rounding in annotations may push a box this many pixels over the edge; that is clipped without a word.
EDGE_TOLERANCE_PX = 1.0


@dataclass
class RawObjects:
    """The annotations of one picture as they stand in the file, one list entry each.

    Args:
        labels: contiguous class ids.
        boxes: left, top, right, bottom in pixels.
        ids: id of each annotation.
        crowd: whether a box stands for many objects.
        areas: area in square pixels; NaN takes the area of the box.
        shapes: each object's mask in one of the forms of COCO's ``segmentation``, if it has one.
    """

    labels: list[int] = field(default_factory=list)
    boxes: list[Sequence[float]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    shapes: list[object] = field(default_factory=list)

    def add(
        self,
        label: int,
        box: Sequence[float],
        id: int,
        crowd: bool = False,
        area: float = float("nan"),
        shape: object = None,
    ) -> None:
        """Append one annotation."""
        self.labels.append(label)
        self.boxes.append(box)
        self.ids.append(id)
        self.crowd.append(crowd)
        self.areas.append(area)
        self.shapes.append(shape)

    def take(self, row: int, other: "RawObjects") -> None:
        """Append one annotation of another picture's list."""
        self.add(other.labels[row], other.boxes[row], other.ids[row], other.crowd[row], other.areas[row])


def with_masks(
    raw: RawObjects, size_hw: tuple[int, int], image_id: int, name: str, where: str, faults: list[Fault]
) -> tuple[RawObjects, CodedMasks]:
    """The annotations whose masks can be read, and these masks; the others are left out and told in ``faults``."""
    kept, codes = RawObjects(), list[MaskCode]()
    for row, shape in enumerate(raw.shapes):
        code, wrong = parse_segmentation(shape, size_hw)
        faults.extend(Fault(fault.kind, where, f"{name}: {fault.what}", raw.ids[row], image_id) for fault in wrong)
        if code is not None:
            kept.take(row, raw)
            codes.append(code)
    return kept, CodedMasks(tuple(codes), size_hw)


def build_record(
    raw: RawObjects,
    *,
    id: int,
    path: Path,
    name: str,
    size_hw: tuple[int, int],
    where: str,
    faults: list[Fault],
    masks: ObjectMasks | None = None,
) -> PictureRecord:
    """A record of the sound boxes, clipped to the picture; the others are left out and told in ``faults``.

    Args:
        raw: annotations as they stand in the file.
        id: the picture's id.
        path: the picture file.
        name: the picture's name in the data set.
        size_hw: height and width of the picture in pixels.
        where: the annotation file, for messages.
        faults: list that faults are added to.
        masks: the masks of the annotations, if masks were asked for.
    """
    boxes = np.array(raw.boxes, dtype=np.float64).reshape(-1, 4)
    height, width = size_hw
    limit = np.array([width, height, width, height], dtype=np.float64)
    finite = np.asarray(np.isfinite(boxes).all(axis=1))
    boxes = np.where(finite[:, None], boxes, 0.0)
    sides = boxes[:, 2:] - boxes[:, :2]
    inverted = finite & (sides < 0).any(axis=1)
    empty = finite & ~inverted & (sides == 0).any(axis=1)
    clipped = np.clip(boxes, 0.0, limit)
    visible = ((clipped[:, 2:] - clipped[:, :2]) > 0).all(axis=1)
    outside = finite & ~inverted & ~empty & ~visible
    keep = finite & ~inverted & ~empty & visible
    over = keep & (np.abs(clipped - boxes).max(axis=1, initial=0.0) > EDGE_TOLERANCE_PX)
    size = f"{width}x{height}"
    for kind, hit, about in (
        ("non-finite-box", ~finite, ""),
        ("inverted-box", inverted, ""),
        ("empty-box", empty, ""),
        ("box-outside", outside, f" lies outside the picture of {size}"),
        ("box-over-edge", over, f" reaches over the edge of the picture of {size}"),
    ):
        for row in np.flatnonzero(hit):
            what = f"box {_corners(raw.boxes[row])} of {name}{about}"
            faults.append(Fault(kind, where, what, raw.ids[row], id))
    areas = np.array(raw.areas, dtype=np.float64)
    box_areas = (clipped[:, 2:] - clipped[:, :2]).prod(axis=1)
    record = PictureRecord(
        id=id,
        path=path,
        name=name,
        size_hw=size_hw,
        labels=np.array(raw.labels, dtype=np.int64)[keep],
        boxes_xyxy_px=clipped[keep],
        crowd=np.array(raw.crowd, dtype=np.bool_)[keep],
        annotation_ids=np.array(raw.ids, dtype=np.int64)[keep],
        areas=np.where(np.isfinite(areas), areas, box_areas)[keep],
        masks=None if masks is None else masks.select(keep),
    )
    _tell_duplicates(record, where, faults)
    return record


def _tell_duplicates(record: PictureRecord, where: str, faults: list[Fault]) -> None:
    seen: dict[tuple[float, ...], int] = {}
    for label, box, id in zip(record.labels, record.boxes_xyxy_px, record.annotation_ids, strict=True):
        key = (float(label), *box.tolist())
        if key in seen:
            what = f"box {_corners(box)} of {record.name} is there twice (also id {seen[key]})"
            faults.append(Fault("duplicate-box", where, what, int(id), record.id))
        seen.setdefault(key, int(id))


def _corners(box: Sequence[float] | np.ndarray) -> str:
    return "(" + ", ".join(f"{float(value):g}" for value in box) + ")"


def measure(path: Path, image_id: int | None, faults: list[Fault]) -> tuple[int, int] | None:
    """Size of a picture whose annotation gives none; where it cannot be read, a fault is told and None returned."""
    try:
        return picture_size(path)
    except UserError as error:
        kind = "unreadable-picture" if os.path.exists(path) else "missing-picture"
        faults.append(Fault(kind, str(path), error.what, image_id, image_id))
        return None


class PictureFinder:
    """Finds picture files by name in some folders, listing each folder once.

    Args:
        folders: where to look, in this order.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = tuple(dict.fromkeys(folders))
        self._listings: dict[Path, dict[str, Path]] = {}
        self._groups: dict[Path, dict[str, list[Path]]] = {}

    def by_name(self, name: str) -> Path | None:
        """The file of this name, which may contain folders; else the one of its last part."""
        parts = Path(name.replace("\\", "/"))
        for candidate in (parts, Path(parts.name)):
            for folder in self.folders:
                path = folder / candidate
                if path.name in self._listing(path.parent):
                    return path
        return None

    def by_stem(self, stem: str) -> Path | None:
        """The picture of this name, with whatever suffix pictures have."""
        return next(iter(self.namesakes(stem)), None)

    def namesakes(self, stem: str) -> list[Path]:
        """All pictures of this name in the first folder that has one: they differ by suffix only."""
        return next((found for folder in self.folders if (found := self._stems(folder).get(stem))), [])

    def pictures(self) -> list[Path]:
        """All pictures that lie in the folders, not deeper."""
        return [path for folder in self.folders for path in self._listing(folder).values() if is_picture(path)]

    def _listing(self, folder: Path) -> dict[str, Path]:
        if folder not in self._listings:
            try:
                names = sorted(os.listdir(folder))
            except (OSError, ValueError):
                names = []
            self._listings[folder] = {name: folder / name for name in names}
        return self._listings[folder]

    def _stems(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._groups:
            groups: dict[str, list[Path]] = {}
            for path in self._listing(folder).values():
                if is_picture(path):
                    groups.setdefault(path.stem, []).append(path)
            self._groups[folder] = groups
        return self._groups[folder]


def tell_unlisted(pictures: Iterable[Path], used: Iterable[Path], faults: list[Fault]) -> None:
    """Note the pictures that lie there but occur in no annotation."""
    known = set(used)
    what = "no annotation names this picture"
    faults.extend(Fault("unlisted-picture", str(path), what) for path in pictures if path not in known)


def tell_category_gaps(category_ids: Sequence[int], where: str, faults: list[Fault]) -> None:
    """Note ids that do not run on without a gap; starting at 0 or 1 is the same."""
    if not category_ids:
        return
    missing = sorted(set(range(min(category_ids), max(category_ids) + 1)) - set(category_ids))
    if missing:
        shown = ", ".join(map(str, missing[:12])) + (", ..." if len(missing) > 12 else "")
        what = f"{len(category_ids)} ids from {min(category_ids)} to {max(category_ids)}; unused: {shown}"
        faults.append(Fault("category-gap", where, what))
