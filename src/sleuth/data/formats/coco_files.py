"""What COCO's files of boxes, masks and panoptic segments share: finding and parsing them."""

import json
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from sleuth.data.faults import Fault
from sleuth.data.formats.assemble import PictureFinder, tell_category_gaps
from sleuth.errors import UserError

_KEYS = ("images", "annotations", "categories")
_OTHER_TASKS = ("captions_", "stuff_", "image_info_")
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


def find_coco(path: Path, annotations: str = "boxes") -> dict[str, CocoLocation]:
    """The splits of a COCO data set in a folder, or the one that a JSON file holds; empty where there are none.

    Args:
        path: the folder or the file.
        annotations: panoptic looks for panoptic files only; the others take those where there is nothing else.
    """
    if path.is_file():
        return {_split_name(path): CocoLocation(path, _root_of(path), _split_name(path))}
    found: dict[bool, dict[str, CocoLocation]] = {False: {}, True: {}}
    for file in [*sorted(path.glob("*.json")), *sorted(path.glob("*/*.json"))]:
        panoptic = None if file.name.startswith(_OTHER_TASKS) else _looks_panoptic(file)
        if panoptic is None:
            continue
        split = _split_name(file, path)
        if split in found[panoptic]:
            split = file.stem
        found[panoptic].setdefault(split, CocoLocation(file, path, split))
    return found[True] if annotations == "panoptic" else found[False] or found[True]


def load_page(file: Path) -> dict[str, Any]:
    """The content of a COCO file.

    Raises:
        UserError: it cannot be read, or is not of COCO's form.
    """
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


def read_categories(
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


def read_pictures(entries: list[dict[str, Any]], where: str, faults: list[Fault]) -> dict[int, dict[str, Any]]:
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


def size_of(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of a picture, if its entry says them."""
    height, width = entry.get("height"), entry.get("width")
    if is_whole(height) and is_whole(width) and height > 0 and width > 0:
        return int(height), int(width)
    return None


def picture_finder(location: CocoLocation, images: Path | None, names: list[str]) -> PictureFinder:
    """Finds pictures in the folder that holds most of the first few; the other usual folders come after it."""
    root, beside, split = location.root, location.json.parent, location.split
    usual = [beside, beside / "images", root / split, root / "images" / split, root / "images", root / "JPEGImages"]
    usual += [beside / split, root / "data", root, beside.parent / "images", beside.parent / split]
    usual += [root.parent / "images" / split, root.parent / "images"]
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
    for word in ("instances", "panoptic", "annotations", "annotation", "coco"):
        stem = stem.removeprefix(word).removesuffix(word).strip("_-. ")
    if stem:
        return stem
    if file.parent.name not in ("annotations", "") and file.parent != root and root is not None:
        return file.parent.name
    return "all"


def _looks_panoptic(file: Path) -> bool | None:
    """Whether a file is panoptic, None for a file that is not COCO's: by the keys in it, without parsing it.

    These files can be huge.
    """
    try:
        with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as text:
            if text[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
                return None
            if any(text.find(f'"{key}"'.encode()) < 0 for key in _KEYS):
                return None
            return text.find(b'"segments_info"') >= 0
    except (OSError, ValueError):
        return None


def holds_segments(page: dict[str, Any]) -> bool:
    """Whether a parsed file is panoptic: its annotations list segments."""
    return bool(page["annotations"]) and all("segments_info" in entry for entry in page["annotations"])


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number of a sane size."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**62


def hashable(value: object) -> object:
    """The value if it can be looked up, else None."""
    return value if isinstance(value, int | str | float) else None


def shown(value: object) -> int | str | None:
    """An id as it can be shown in a message, or None."""
    return value if isinstance(value, int | str) else None


def _whole_numbers(ids: list[Any], what: str, where: str, faults: list[Fault]) -> list[int]:
    """The ids, or numbers from 1 where some are no whole numbers."""
    if all(is_whole(id) for id in ids):
        return ids
    faults.append(Fault("renumbered", where, f"{what} ids such as {next(id for id in ids if not is_whole(id))!r}"))
    place: dict[str, int] = {}
    return [place.setdefault(str(id), len(place) + 1) for id in ids]
