"""COCO panoptic: a JSON file of segments, and a PNG for each picture whose colours are segment ids."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sleuth.data.faults import Fault
from sleuth.data.formats.assemble import PictureFinder, RawObjects, build_record, measure
from sleuth.data.formats.coco_files import (
    CocoLocation,
    hashable,
    is_whole,
    picture_finder,
    read_categories,
    read_pictures,
    shown,
    size_of,
)
from sleuth.data.masks import PanopticMasks
from sleuth.data.records import DetectionData, PictureRecord


def read_panoptic(location: CocoLocation, page: dict[str, Any], images: Path | None, annotations: str) -> DetectionData:
    """Read one split from a parsed panoptic file; the PNG files are not opened.

    Args:
        location: what `find_coco` found.
        page: the file's content.
        images: the folder of the pictures, where it is not one of the usual ones.
        annotations: boxes or instances serves the things alone; panoptic serves stuff too.
    """
    where = str(location.json)
    faults: list[Fault] = []
    names, category_ids, label_of = read_categories(page["categories"], where, faults)
    is_thing = _things(page["categories"], label_of, where, faults)
    served = [label for label, thing in enumerate(is_thing) if thing or annotations == "panoptic"]
    new_label = {label: place for place, label in enumerate(served)}
    pictures = read_pictures(page["images"], where, faults)
    entries = _by_picture(page["annotations"], pictures, where, faults)
    finder = picture_finder(location, images, [entry["file_name"] for entry in pictures.values()])
    segments = _png_finder(location, entries)
    records: list[PictureRecord] = []
    for image_id, picture in pictures.items():
        name = picture["file_name"]
        entry = entries.get(image_id)
        if entry is None:
            faults.append(Fault("missing-annotation", where, f"{name} has no segments", image_id, image_id))
            entry = {"segments_info": []}
        file = finder.by_name(name) or finder.folders[0] / name
        size_hw = size_of(picture)
        if size_hw is None:
            faults.append(Fault("no-size", where, f"{name} has no width and height", image_id))
            size_hw = measure(file, image_id, faults)
        if size_hw is None:
            continue
        raw, listed = _segments(entry["segments_info"], label_of, name, image_id, where, faults)
        chosen = RawObjects()
        for row, label in enumerate(raw.labels):
            if label in new_label:
                chosen.take(row, raw)
                chosen.labels[-1] = new_label[label]
        masks = None
        if annotations != "boxes":
            png = _png_name(entry, name)
            path = segments.by_name(png) or segments.folders[0] / png
            masks = PanopticMasks(path, np.array(chosen.ids, dtype=np.int64), listed, size_hw)
        records.append(
            build_record(
                chosen, id=image_id, path=file, name=name, size_hw=size_hw, where=where, faults=faults, masks=masks
            )
        )
    return DetectionData(
        records=tuple(records),
        names=tuple(names[label] for label in served),
        category_ids=tuple(category_ids[label] for label in served),
        root=location.json if location.root == location.json.parent else location.root,
        format="coco",
        split=location.split,
        faults=tuple(faults),
        is_thing=tuple(is_thing[label] for label in served),
        annotations=annotations,
    )


def _things(
    entries: list[dict[str, Any]], label_of: Mapping[Any, int], where: str, faults: list[Fault]
) -> tuple[bool, ...]:
    """Whether each label is a thing."""
    things = [True] * len(entries)
    for entry in entries:
        flag = entry.get("isthing")
        if flag not in (0, 1):
            what = f"the category {entry.get('name')!r} does not say whether it is a thing"
            faults.append(Fault("no-isthing", where, what, shown(entry["id"])))
            continue
        things[label_of[entry["id"]]] = bool(flag)
    return tuple(things)


def _by_picture(
    entries: list[dict[str, Any]], pictures: Mapping[int, dict[str, Any]], where: str, faults: list[Fault]
) -> dict[int, dict[str, Any]]:
    """The entry that lists the segments of each picture."""
    number_of = {entry["id"]: number for number, entry in pictures.items()}
    found: dict[int, dict[str, Any]] = {}
    for entry in entries:
        image_id = number_of.get(hashable(entry.get("image_id")))
        if image_id is None:
            what = f"there is no picture with id {entry.get('image_id')!r}"
            faults.append(Fault("unknown-picture", where, what, shown(entry.get("image_id"))))
        elif not isinstance(entry["segments_info"], list) or not all(
            isinstance(segment, dict) for segment in entry["segments_info"]
        ):
            what = f"segments_info of {pictures[image_id]['file_name']} is no list of objects"
            faults.append(Fault("unreadable-annotation", where, what, image_id, image_id))
            found[image_id] = {**entry, "segments_info": []}
        elif image_id in found:
            what = f"the segments of {pictures[image_id]['file_name']} are listed twice"
            faults.append(Fault("unreadable-annotation", where, what, image_id, image_id))
        else:
            found[image_id] = entry
    return found


def _segments(
    entries: list[dict[str, Any]],
    label_of: Mapping[Any, int],
    name: str,
    image_id: int,
    where: str,
    faults: list[Fault],
) -> tuple[RawObjects, frozenset[int]]:
    """The segments of one picture with the labels of the file, and all ids that the file lists."""
    raw = RawObjects()
    listed: set[int] = set()
    for entry in entries:
        id = entry.get("id")
        if not is_whole(id) or not 0 < id < 1 << 24 or id in listed:
            what = f"{name}: the segment id {id!r} is listed twice, or is no number from 1 to 16777215"
            faults.append(Fault("unreadable-annotation", where, what, shown(id), image_id))
            continue
        listed.add(id)
        label = label_of.get(hashable(entry.get("category_id")))
        if label is None:
            what = f"{name}: there is no category with id {entry.get('category_id')!r}"
            faults.append(Fault("unknown-category", where, what, id, image_id))
            continue
        box = entry.get("bbox")
        try:
            left, top, width, height = map(float, box if isinstance(box, list) else [])
        except (TypeError, ValueError, OverflowError):
            faults.append(Fault("no-box", where, f"no box of four numbers in {name}", id, image_id))
            continue
        crowd = bool(entry.get("iscrowd", 0))
        if crowd:
            faults.append(Fault("crowd", where, f"a crowd in {name}", id, image_id))
        area = entry.get("area")
        area = float(area) if isinstance(area, int | float) and area > 0 else math.nan
        raw.add(label, (left, top, left + width, top + height), id, crowd, area)
    return raw, frozenset(listed)


def _png_name(entry: Mapping[str, Any], picture: str) -> str:
    """The PNG's name as the entry gives it, else that of the picture."""
    name = entry.get("file_name")
    return name if isinstance(name, str) and name else Path(picture).with_suffix(".png").name


def _png_finder(location: CocoLocation, entries: Mapping[int, Mapping[str, Any]]) -> PictureFinder:
    """Finds PNG files in the folder of the JSON file's name, or another usual one that holds most of the first few."""
    file, root, split = location.json, location.root, location.split
    usual = [file.with_suffix(""), root / file.stem, file.parent / f"panoptic_{split}", root / f"panoptic_{split}"]
    usual += [root / "panoptic" / split, root / "panoptic"]
    names = [entry["file_name"] for entry in entries.values() if isinstance(entry.get("file_name"), str)][:20]
    hits = [sum((folder / name).is_file() for name in names) for folder in usual]
    best = max(range(len(usual)), key=lambda place: (hits[place], -place))
    return PictureFinder([usual[best]])
