"""COCO JSON: one file of pictures, annotations and categories, with the pictures in a folder near by."""

import json
import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from sleuth.data.faults import Fault
from sleuth.data.formats.assemble import (
    PictureFinder,
    RawObjects,
    build_record,
    measure,
    tell_category_gaps,
    tell_unlisted,
)
from sleuth.data.records import DetectionData, PictureRecord
from sleuth.errors import UserError

_KEYS = ("images", "annotations", "categories")
_OTHER_TASKS = ("captions_", "panoptic_", "stuff_", "image_info_")
_SAMPLED_NAMES = 20


@dataclass(frozen=True)
class CocoLocation:
    """Where one split lies.

    Args:
        json: the annotation file.
        root: the data set's folder.
        split: name of the split.
    """

    json: Path
    root: Path
    split: str


def find_coco(path: Path) -> dict[str, CocoLocation]:
    """The splits of a COCO data set in a folder, or the one that a JSON file holds; empty where there are none."""
    if path.is_file():
        return {_split_name(path): CocoLocation(path, _root_of(path), _split_name(path))}
    files = [*sorted(path.glob("*.json")), *sorted(path.glob("*/*.json"))]
    found: dict[str, CocoLocation] = {}
    for file in files:
        if file.name.startswith(_OTHER_TASKS) or not _looks_like_coco(file):
            continue
        split = _split_name(file, path)
        if split in found:
            split = file.stem
        found.setdefault(split, CocoLocation(file, path, split))
    return found


def read_coco(location: CocoLocation, images: Path | None = None) -> DetectionData:
    """Read one split.

    Args:
        location: what `find_coco` found.
        images: the folder of the pictures, where it is not one of the usual ones.

    Raises:
        UserError: the file is not JSON or not COCO's, or lacks what nothing can replace.
    """
    where = str(location.json)
    page = _load(location.json)
    faults: list[Fault] = []
    names, category_ids, label_of = _categories(page["categories"], where, faults)
    pictures = _pictures(page["images"], where, faults)
    raw = _annotations(page["annotations"], pictures, label_of, where, faults)
    finder = _finder(location, images, [entry["file_name"] for entry in pictures.values()])
    records: list[PictureRecord] = []
    for image_id, entry in pictures.items():
        name = entry["file_name"]
        file = finder.by_name(name) or finder.folders[0] / name
        size_hw = _size(entry)
        if size_hw is None:
            faults.append(Fault("no-size", where, f"{name} has no width and height", image_id))
            size_hw = measure(file, image_id, faults)
        if size_hw is not None:
            built = build_record(
                raw[image_id], id=image_id, path=file, name=name, size_hw=size_hw, where=where, faults=faults
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
    )


def _load(file: Path) -> dict[str, Any]:
    try:
        page = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise UserError("there is no such file", where=file, mend="check the path") from error
    except json.JSONDecodeError as error:
        what = f"this is not valid JSON: {error.msg}, line {error.lineno}, column {error.colno}"
        raise UserError(what, where=file, mend="correct or replace the file") from error
    except (ValueError, RecursionError) as error:
        raise UserError("this is not valid JSON", where=file, mend="correct or replace the file") from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=file, mend="check its permissions") from error
    mend = 'COCO annotations are one object with the lists "images", "annotations" and "categories"'
    if not isinstance(page, dict):
        kind = "a list, as of results" if isinstance(page, list) else "no object"
        raise UserError(f"these are no COCO annotations but {kind}", where=file, mend=mend)
    for key in _KEYS:
        if not isinstance(page.get(key), list):
            raise UserError(f'the list "{key}" is missing', where=file, mend=mend)
        if not all(isinstance(entry, dict) for entry in page[key]):
            raise UserError(f'"{key}" holds something else than objects', where=file, mend=mend)
    return page


def _categories(
    entries: list[dict[str, Any]], where: str, faults: list[Fault]
) -> tuple[tuple[str, ...], tuple[int, ...], dict[Any, int]]:
    """Names and ids by label in the order of the ids, and the label of each id as the file writes it."""
    if not entries:
        raise UserError("there are no categories", where=where, mend="name each class in the list of categories")
    ids = [entry.get("id") for entry in entries]
    if any(id is None for id in ids) or len(set(map(str, ids))) < len(ids):
        raise UserError("a category has no id, or shares it", where=where, mend="give each category an id of its own")
    numbers = _whole_numbers(ids, "category", where, faults)
    order = sorted(range(len(ids)), key=lambda row: numbers[row])
    names = tuple(str(entries[row].get("name") or numbers[row]) for row in order)
    category_ids = tuple(numbers[row] for row in order)
    tell_category_gaps(category_ids, where, faults)
    for label, name in enumerate(names):
        if name in names[:label]:
            what = f"{name!r} is also category {category_ids[names.index(name)]}"
            faults.append(Fault("duplicate-category", where, what, category_ids[label]))
    return names, category_ids, {ids[row]: label for label, row in enumerate(order)}


def _pictures(entries: list[dict[str, Any]], where: str, faults: list[Fault]) -> dict[int, dict[str, Any]]:
    """The picture entries by id, each with a name."""
    for place, entry in enumerate(entries):
        if entry.get("id") is None or not isinstance(entry.get("file_name"), str):
            raise UserError(f"picture {place} has no id or no file_name", where=where, mend="give it both")
    numbers = _whole_numbers([entry["id"] for entry in entries], "picture", where, faults)
    pictures: dict[int, dict[str, Any]] = {}
    id_of_name: dict[str, int] = {}
    for number, entry in zip(numbers, entries, strict=True):
        name = entry["file_name"]
        if number in pictures:
            what = f"{name} has the id of {pictures[number]['file_name']}"
            faults.append(Fault("duplicate-picture-id", where, what, number, number))
            continue
        if name in id_of_name:
            what = f"{name} is also picture {id_of_name[name]}"
            faults.append(Fault("duplicate-name", where, what, number, number))
        id_of_name.setdefault(name, number)
        pictures[number] = entry
    return pictures


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
    spare = max((entry["id"] for entry in entries if _is_whole(entry.get("id"))), default=0)
    for entry in entries:
        id, image_id = entry.get("id"), number_of.get(_hashable(entry.get("image_id")))
        if image_id is None:
            what = f"there is no picture with id {entry.get('image_id')!r}"
            faults.append(Fault("unknown-picture", where, what, _shown(id)))
            continue
        label = label_of.get(_hashable(entry.get("category_id")))
        if label is None:
            what = f"there is no category with id {entry.get('category_id')!r}"
            faults.append(Fault("unknown-category", where, what, _shown(id), image_id))
            continue
        box = _box(entry)
        if box is None:
            what = f"no box of four numbers in {pictures[image_id]['file_name']}"
            faults.append(Fault("no-box", where, what, _shown(id), image_id))
            continue
        number = id if _is_whole(id) else None
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
        raw[image_id].add(label, box, number, crowd, area)
    return raw


def _box(entry: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """Corners from left, top, width, height; else around the polygons."""
    box = entry.get("bbox")
    polygons = entry.get("segmentation")
    try:
        if isinstance(box, list) and len(box) == 4:
            left, top, width, height = map(float, box)
            return left, top, left + width, top + height
        if box is not None or not isinstance(polygons, list):
            return None
        xs = [float(value) for polygon in polygons for value in polygon[0::2]]
        ys = [float(value) for polygon in polygons for value in polygon[1::2]]
    except (TypeError, ValueError, OverflowError):
        return None
    return (min(xs), min(ys), max(xs), max(ys)) if xs and ys else None


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = entry.get("height"), entry.get("width")
    if _is_whole(height) and _is_whole(width) and height > 0 and width > 0:
        return int(height), int(width)
    return None


def _finder(location: CocoLocation, images: Path | None, names: list[str]) -> PictureFinder:
    """Finds pictures in the folder that holds most of the first few; the other usual folders come after it."""
    root, beside, split = location.root, location.json.parent, location.split
    usual = [beside, beside / "images", root / split, root / "images" / split, root / "images", root / "JPEGImages"]
    usual += [beside / split, root / "data", root, beside.parent / "images", beside.parent / split]
    if images is not None:
        usual = [images, images / split]
    sampled = names[:_SAMPLED_NAMES]
    hits = [sum(os.path.isfile(folder / name.replace("\\", "/")) for name in sampled) for folder in usual]
    best = max(range(len(usual)), key=lambda place: (hits[place], -place))
    return PictureFinder([usual[best], *usual])


def _root_of(file: Path) -> Path:
    return file.parent.parent if file.parent.name == "annotations" else file.parent


def _split_name(file: Path, root: Path | None = None) -> str:
    """The split that a file's name tells, or its folder's where the name tells nothing."""
    stem = file.stem.removesuffix(".coco").strip("_")
    for word in ("instances", "annotations", "annotation", "coco"):
        stem = stem.removeprefix(word).removesuffix(word).strip("_-. ")
    if stem:
        return stem
    if file.parent.name not in ("annotations", "") and file.parent != root and root is not None:
        return file.parent.name
    return "all"


def _looks_like_coco(file: Path) -> bool:
    """Whether the three keys occur in the file, without parsing it: these files can be huge."""
    try:
        with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as text:
            if text[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
                return False
            return all(text.find(f'"{key}"'.encode()) >= 0 for key in _KEYS) and text.find(b'"segments_info"') < 0
    except (OSError, ValueError):
        return False


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**62


def _hashable(value: object) -> object:
    return value if isinstance(value, int | str | float) else None


def _shown(value: object) -> int | str | None:
    return value if isinstance(value, int | str) else None


def _whole_numbers(ids: list[Any], what: str, where: str, faults: list[Fault]) -> list[int]:
    """The ids, or numbers from 1 where some are no whole numbers."""
    if all(_is_whole(id) for id in ids):
        return ids
    faults.append(Fault("renumbered", where, f"{what} ids such as {next(id for id in ids if not _is_whole(id))!r}"))
    place: dict[str, int] = {}
    return [place.setdefault(str(id), len(place) + 1) for id in ids]
