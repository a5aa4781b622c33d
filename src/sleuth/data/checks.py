"""Checking a data set before anything is trained on it."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from sleuth.data.faults import FAULT_KINDS, Fault
from sleuth.data.masks import PanopticMasks
from sleuth.data.open import available_splits, chosen_split, open_data
from sleuth.data.pictures import picture_size, read_picture
from sleuth.data.records import DetectionData, PictureRecord
from sleuth.data.report import ClassCount, DataReport, SizeCount
from sleuth.data.source import size_mismatch
from sleuth.errors import UserError

# COCO's limits of small, medium and large, as sides of a square in pixels.
COCO_SIDES: tuple[tuple[str, float, float | None], ...] = (
    ("small", 0.0, 32.0),
    ("medium", 32.0, 96.0),
    ("large", 96.0, None),
)
SIDE_EDGES = (0.0, 8.0, 16.0, 32.0, 64.0, 96.0, 128.0, 256.0, 512.0)
_THREADS = min(8, os.cpu_count() or 1)


def check_data(data: DetectionData, deep: bool = False, advance: Callable[[], object] | None = None) -> DataReport:
    """Check one split: what its reader found, every picture file, and masks where they were asked for.

    Args:
        data: one split of a data set.
        deep: decode every picture and mask; else only headers are read, which misses files that are cut short, masks
            without a pixel and segments that only one of PNG and JSON has.
        advance: called once for each picture, to show progress.

    Returns:
        A report; nothing raises but what makes a check impossible.
    """
    faults = [*data.faults, *_check_pictures(data.records, deep, advance), *_check_contents(data)]
    order = {kind: place for place, kind in enumerate(FAULT_KINDS)}
    return _count(data, tuple(sorted(faults, key=lambda fault: order[fault.kind])), deep)


def check_folder(
    path: Path | str,
    format: str | None = None,
    split: str | None = None,
    images: Path | str | None = None,
    deep: bool = True,
    advance: Callable[[], object] | None = None,
    annotations: str = "boxes",
) -> tuple[tuple[DetectionData, DataReport], ...]:
    """Check every split of a data set, or the one named; pictures that two splits share are faults too.

    Lists that are a union of others, such as VOC's trainval, are checked only where they are named.

    Returns:
        Each split's data and report.

    Raises:
        UserError: there is no data set, or its annotations cannot be parsed at all.
    """
    path = Path(path)
    splits = available_splits(path, format, annotations)
    names = [chosen_split(split, splits, path)] if split is not None else _without_unions(splits)
    checked: list[tuple[DetectionData, DataReport]] = []
    for name in names:
        data = open_data(path, format, name, images, annotations)
        report = check_data(data, deep, advance)
        shared = tuple(fault for other, _ in checked for fault in _shared(other, data))
        checked.append((data, replace(report, faults=(*report.faults, *shared))))
    return tuple(checked)


def _without_unions(splits: Sequence[str]) -> list[str]:
    if "train" in splits and "val" in splits:
        return [split for split in splits if split not in ("trainval", "all")]
    return list(splits)


def _shared(one: DetectionData, other: DetectionData) -> Iterable[Fault]:
    """The pictures of ``other`` that lie in ``one`` too."""
    known = {record.path for record in one.records}
    for record in other.records:
        if record.path in known:
            what = f"in split {one.split} and in split {other.split}"
            yield Fault("shared-picture", str(record.path), what, record.id)


def _check_pictures(
    records: Sequence[PictureRecord], deep: bool, advance: Callable[[], object] | None
) -> Iterable[Fault]:
    def check(record: PictureRecord) -> list[Fault]:
        fault = _check_picture(record, deep)
        faults = [*([] if fault is None else [fault]), *_check_masks(record, deep)]
        if advance is not None:
            advance()
        return faults

    with ThreadPoolExecutor(_THREADS) as pool:
        yield from (fault for faults in pool.map(check, records) for fault in faults)


def _check_masks(record: PictureRecord, deep: bool) -> Iterable[Fault]:
    """What is wrong with a picture's masks, each fault with its annotation."""
    if record.masks is None:
        return
    file = str(record.masks.path if isinstance(record.masks, PanopticMasks) else record.path)
    for fault in record.masks.faults(deep):
        id = record.id if fault.row is None else int(record.annotation_ids[fault.row])
        yield Fault(fault.kind, file, f"{record.name}: {fault.what}", id, record.id)


def _check_picture(record: PictureRecord, deep: bool) -> Fault | None:
    file = str(record.path)
    if not os.path.exists(record.path):
        return Fault("missing-picture", file, "there is no such file", record.id, record.id)
    try:
        size_hw = _decoded_size(record.path) if deep else picture_size(record.path)
        if size_hw != record.size_hw and not deep:
            # A header may hide its rotation: the decoded picture decides.
            size_hw = _decoded_size(record.path)
    except UserError as error:
        return Fault("unreadable-picture", file, error.what, record.id, record.id)
    if size_hw != record.size_hw:
        return Fault("wrong-size", file, size_mismatch(record, size_hw), record.id, record.id)
    return None


def _decoded_size(path: Path) -> tuple[int, int]:
    image = read_picture(path)
    return image.shape[1], image.shape[2]


def _check_contents(data: DetectionData) -> Iterable[Fault]:
    """Pictures without objects, and classes that no object has."""
    used: set[int] = set()
    for record in data.records:
        used.update(record.labels[~record.crowd].tolist())
        if record.crowd.all():
            yield Fault("no-objects", str(record.path), "no box in this picture", record.id)
    for label, name in enumerate(data.names):
        if label not in used:
            yield Fault("unused-category", str(data.root), f"no object is a {name!r}", data.category_ids[label])


def _count(data: DetectionData, faults: tuple[Fault, ...], deep: bool) -> DataReport:
    per_picture = [record.select(~record.crowd) for record in data.records]
    objects = Counter(int(label) for record in per_picture for label in record.labels)
    pictures = Counter(int(label) for record in per_picture for label in np.unique(record.labels))
    counts = [len(record) for record in per_picture]
    boxes = np.concatenate([np.zeros((0, 4)), *(record.boxes_xyxy_px for record in per_picture)])
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    edges: list[tuple[float, float | None]] = list(zip(SIDE_EDGES, (*SIDE_EDGES[1:], None), strict=True))
    sizes = sorted((record.size_hw for record in data.records), key=lambda size: size[0] * size[1]) or [(0, 0)]
    return DataReport(
        root=str(data.root),
        format=data.format,
        split=data.split,
        annotations=data.annotations,
        pictures=len(data),
        objects=len(boxes),
        crowds=sum(int(record.crowd.sum()) for record in data.records),
        pictures_without_objects=sum(count == 0 for count in counts),
        most_objects=max(counts, default=0),
        mean_objects=len(boxes) / max(1, len(counts)),
        smallest_hw=sizes[0],
        largest_hw=sizes[-1],
        classes=tuple(
            ClassCount(label, name, category_id, objects[label], pictures[label])
            for label, (name, category_id) in enumerate(zip(data.names, data.category_ids, strict=True))
        ),
        coco_sizes=tuple(_size_count(name, low, high, sides) for name, low, high in COCO_SIDES),
        side_histogram=tuple(_size_count(_range_name(low, high), low, high, sides) for low, high in edges),
        faults=faults,
        deep=deep,
    )


def _size_count(name: str, low: float, high: float | None, sides: np.ndarray) -> SizeCount:
    inside = (sides >= low) & (sides < (np.inf if high is None else high))
    return SizeCount(name, low, high, int(inside.sum()))


def _range_name(low: float, high: float | None) -> str:
    return f"{low:g}+" if high is None else f"{low:g}-{high:g}"
