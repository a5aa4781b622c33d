"""COCO JSON of boxes and instance masks, with the pictures in a folder near by."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sleuth.data.faults import Fault
from sleuth.data.formats.assemble import PictureFinder, RawObjects, build_record, measure, tell_unlisted, with_masks
from sleuth.data.formats.coco_files import (
    CocoLocation,
    hashable,
    holds_segments,
    is_whole,
    load_page,
    picture_finder,
    read_categories,
    read_pictures,
    shown,
    size_of,
)
from sleuth.data.formats.panoptic import read_panoptic
from sleuth.data.formats.segmentation import box_around
from sleuth.data.records import DetectionData, PictureRecord
from sleuth.errors import UserError


def read_coco(location: CocoLocation, images: Path | None = None, annotations: str = "boxes") -> DetectionData:
    """Read one split.

    Args:
        location: what `find_coco` found.
        images: the folder of the pictures, where it is not one of the usual ones.
        annotations: boxes, instances or panoptic. A panoptic file serves its things for the first two.

    Raises:
        UserError: the file is not JSON or not COCO's, lacks what nothing can replace, or has no masks where they are
            asked for.
    """
    where = str(location.json)
    page = load_page(location.json)
    if holds_segments(page):
        return read_panoptic(location, page, images, annotations)
    if annotations == "panoptic":
        raise UserError(
            "these annotations are of single objects, not panoptic",
            where=where,
            mend="name the JSON file whose annotations have segments_info, or ask for instances",
        )
    masked = annotations == "instances"
    if masked and page["annotations"] and not any(entry.get("segmentation") for entry in page["annotations"]):
        raise UserError("no annotation has a segmentation, so there are no masks", where=where, mend="ask for boxes")
    faults: list[Fault] = []
    names, category_ids, label_of = read_categories(page["categories"], where, faults)
    pictures = read_pictures(page["images"], where, faults)
    raw = _annotations(page["annotations"], pictures, label_of, where, faults)
    finder = picture_finder(location, images, [entry["file_name"] for entry in pictures.values()])
    records: list[PictureRecord] = []
    for image_id, entry in pictures.items():
        name = entry["file_name"]
        file = finder.by_name(name) or finder.folders[0] / name
        size_hw = size_of(entry)
        if size_hw is None:
            faults.append(Fault("no-size", where, f"{name} has no width and height", image_id))
            size_hw = measure(file, image_id, faults)
        if size_hw is not None:
            objects, masks = raw[image_id], None
            if masked:
                objects, masks = with_masks(objects, size_hw, image_id, name, where, faults)
            built = build_record(
                objects, id=image_id, path=file, name=name, size_hw=size_hw, where=where, faults=faults, masks=masks
            )
            records.append(built)
    if finder.folders[0] == location.json.parent or finder.folders[0].name == location.split:
        own = PictureFinder(finder.folders[:1])
        tell_unlisted(own.pictures(), (record.path for record in records), faults)
    return DetectionData(
        records=tuple(records),
        names=names,
        category_ids=category_ids,
        root=location.json if location.root == location.json.parent else location.root,
        format="coco",
        split=location.split,
        faults=tuple(faults),
        annotations=annotations,
    )


def _annotations(
    entries: list[dict[str, Any]],
    pictures: Mapping[int, dict[str, Any]],
    label_of: Mapping[Any, int],
    where: str,
    faults: list[Fault],
) -> dict[int, RawObjects]:
    """The annotations of each picture."""
    number_of = {entry["id"]: number for number, entry in pictures.items()}
    raw = {number: RawObjects() for number in pictures}
    seen: set[int] = set()
    spare = max((entry["id"] for entry in entries if is_whole(entry.get("id"))), default=0)
    for entry in entries:
        id, image_id = entry.get("id"), number_of.get(hashable(entry.get("image_id")))
        if image_id is None:
            what = f"there is no picture with id {entry.get('image_id')!r}"
            faults.append(Fault("unknown-picture", where, what, shown(id)))
            continue
        label = label_of.get(hashable(entry.get("category_id")))
        if label is None:
            what = f"there is no category with id {entry.get('category_id')!r}"
            faults.append(Fault("unknown-category", where, what, shown(id), image_id))
            continue
        box = _box(entry)
        if box is None:
            what = f"no box of four numbers in {pictures[image_id]['file_name']}"
            faults.append(Fault("no-box", where, what, shown(id), image_id))
            continue
        number = id if is_whole(id) else None
        if number is None or number in seen:
            spare += 1
            if number is not None:
                what = f"the id occurs twice, now {spare}"
                faults.append(Fault("duplicate-annotation-id", where, what, number, image_id))
            number = spare
        seen.add(number)
        crowd = bool(entry.get("iscrowd", 0))
        if crowd:
            what = f"a crowd in {pictures[image_id]['file_name']}"
            faults.append(Fault("crowd", where, what, number, image_id))
        area = entry.get("area")
        area = float(area) if isinstance(area, int | float) and area > 0 else math.nan
        raw[image_id].add(label, box, number, crowd, area, entry.get("segmentation"))
    return raw


def _box(entry: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """Corners from left, top, width, height; else around the mask."""
    box = entry.get("bbox")
    if box is None:
        return box_around(entry.get("segmentation"))
    if not isinstance(box, list) or len(box) != 4:
        return None
    try:
        left, top, width, height = map(float, box)
    except (TypeError, ValueError, OverflowError):
        return None
    return left, top, left + width, top + height
