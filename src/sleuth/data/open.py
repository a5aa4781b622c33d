"""Opening a data set in any of the known formats, found out from the folder itself or named."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sleuth.data.formats.coco import read_coco
from sleuth.data.formats.coco_files import find_coco
from sleuth.data.formats.voc import find_voc, read_voc
from sleuth.data.formats.yolo import find_yolo, read_yolo
from sleuth.data.held_out import HELD_OUT_PART, REST_PART, is_held_out
from sleuth.data.records import DetectionData
from sleuth.data.samples import ANNOTATIONS, check_annotations
from sleuth.errors import UserError


@dataclass(frozen=True)
class _Format:
    """How a format is found and read, what it looks like, in words, and which annotations it can hold."""

    find: Callable[[Path, str], Mapping[str, Any]]
    read: Callable[[Any, Path | None, str], DetectionData]
    looks_like: str
    holds: tuple[str, ...]
    suffixes: tuple[str, ...] = ()


_FORMATS: Mapping[str, _Format] = {
    "coco": _Format(
        find_coco, read_coco, "a JSON file with images, annotations and categories", ANNOTATIONS, (".json",)
    ),
    "voc": _Format(
        lambda path, _: find_voc(path),
        lambda location, images, _: read_voc(location, images),
        "XML files in Annotations/ or beside the pictures",
        ("boxes",),
    ),
    "yolo": _Format(
        lambda path, _: find_yolo(path),
        read_yolo,
        "a data.yaml with names and train, or labels/ with classes.txt",
        ("boxes", "instances"),
        (".yaml", ".yml"),
    ),
}
FORMATS = tuple(_FORMATS)

# Names under which people keep the same split.
_ALIASES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


def open_data(
    path: Path | str,
    format: str | None = None,
    split: str | None = None,
    images: Path | str | None = None,
    annotations: str = "boxes",
) -> DetectionData:
    """Open one split of a data set.

    Args:
        path: the data set's folder, or the COCO JSON or YOLO YAML file itself.
        format: coco, voc or yolo; None finds it out.
        split: name of the split, such as train, val or test; it may be left out where there is only one. Data in one
            split has the parts ``held-out``, a fifth of its pictures, and ``rest``.
        images: the folder of the pictures, where it is not one of the usual ones.
        annotations: boxes; instances, for the objects' masks too; or panoptic, for things and stuff with masks.

    Raises:
        UserError: nothing of the kind is there, the split is unknown or not named, the file cannot be parsed, or it
            holds no such annotations.
            Faults of single pictures and boxes do not raise: they are in the result's ``faults``.
    """
    path = Path(path)
    name, splits = _find(path, format, check_annotations(annotations))
    chosen = chosen_split(split, tuple(splits), path)
    if chosen in splits:
        return _FORMATS[name].read(splits[chosen], _picture_folder(images), annotations)
    (only,) = splits.values()
    return _part(_FORMATS[name].read(only, _picture_folder(images), annotations), chosen)


def available_splits(path: Path | str, format: str | None = None, annotations: str = "boxes") -> tuple[str, ...]:
    """Names of the splits of a data set.

    Raises:
        UserError: there is no data set.
    """
    return tuple(_find(Path(path), format, check_annotations(annotations))[1])


def is_annotated(path: Path | str) -> bool:
    """Whether there is data with boxes here, in a form that is known; even if it is broken, or one has to choose."""
    path = Path(path)
    return path.exists() and any(_is_of(form, path) for form in _FORMATS.values())


def _is_of(form: _Format, path: Path) -> bool:
    if path.is_file() and path.suffix.lower() not in form.suffixes:
        return False
    try:
        return bool(form.find(path, "boxes"))
    except UserError:  # there is something, which opening it will tell of
        return True


def match_split(split: str | None, splits: tuple[str, ...], path: Path) -> str:
    """The split that a name means: itself, or the only one known under a like name (val: valid, val2017).

    Raises:
        UserError: no split or several fit the name, or several are there and none is named.
    """
    listed = ", ".join(splits)
    if split is None:
        if len(splits) > 1:
            raise UserError(f"there are several splits: {listed}", where=path, mend="name one with --split")
        return splits[0]
    if split in splits:
        return split
    stems = next((words for words in _ALIASES.values() if split in words), (split,))
    like = [name for name in splits if name.lower().rstrip("0123456789") in stems]
    if len(like) != 1:
        raise UserError(f"there is no split {split!r}", where=path, mend=f"the splits are: {listed}")
    return like[0]


def chosen_split(split: str | None, splits: tuple[str, ...], path: Path) -> str:
    """As `match_split`; or the name of a part, which data in one split has.

    Raises:
        UserError: as there.
    """
    is_part = len(splits) == 1 and split in (REST_PART, HELD_OUT_PART)
    return split if split is not None and is_part and split not in splits else match_split(split, splits, path)


def _part(data: DetectionData, part: str) -> DetectionData:
    """The pictures that are held out by their names, or the rest; and faults of these, and of no picture."""
    kept = [record for record in data.records if is_held_out(record.name) == (part == HELD_OUT_PART)]
    left_out = {record.id for record in data.records} - {record.id for record in kept}
    faults = tuple(fault for fault in data.faults if fault.image_id not in left_out)
    return replace(data, records=tuple(kept), faults=faults, split=part)


def _find(path: Path, format: str | None, annotations: str) -> tuple[str, Mapping[str, Any]]:
    """The format of the data and its splits."""
    if format is not None and format not in _FORMATS:
        raise UserError(f"there is no format {format!r}", mend=f"the formats are: {', '.join(_FORMATS)}")
    if not path.exists():
        raise UserError("there is no such folder or file", where=path, mend="check the path of the data")
    if path.is_file():
        format = format or next((name for name, f in _FORMATS.items() if path.suffix.lower() in f.suffixes), None)
        if format is None:
            raise UserError(
                "this is no data set", where=path, mend="name a folder, a COCO JSON file or a YOLO YAML file"
            )
    names = [format] if format is not None else list(_FORMATS)
    found = {name: splits for name in names if (splits := _FORMATS[name].find(path, annotations))}
    if len(found) > 1:  # what cannot hold such annotations is not meant
        found = {name: found[name] for name in found if annotations in _FORMATS[name].holds} or found
    if len(found) > 1:
        kinds = " and ".join(found)
        raise UserError(f"this holds data as {kinds}", where=path, mend="name one with --format")
    if not found and annotations == "panoptic" and "coco" in names:
        mend = "name the folder of a COCO JSON file whose annotations have segments_info, or ask for instances or boxes"
        raise UserError("there are no panoptic annotations here", where=path, mend=mend)
    if not found:
        looked = "; ".join(f"{name}: {_FORMATS[name].looks_like}" for name in names)
        raise UserError("there is no data set here", where=path, mend=f"looked for {looked}")
    name, splits = next(iter(found.items()))
    if annotations not in _FORMATS[name].holds:
        mend = f"it is read for {' and '.join(_FORMATS[name].holds)} only; for {annotations} give COCO's form"
        raise UserError(f"data in the form of {name} holds no {annotations} annotations", where=path, mend=mend)
    return name, {split: splits[split] for split in sorted(splits, key=split_order)}


def split_order(split: str) -> tuple[int, str]:
    """A key that sorts training first, then validation, then test, then all others by name."""
    bare = split.lower().rstrip("0123456789")
    place = next((place for place, words in enumerate(_ALIASES.values()) if bare in words), len(_ALIASES))
    return place, split


def is_split_name(name: str) -> bool:
    """Whether this is a name under which people keep a split.

    >>> is_split_name("val2017"), is_split_name("Training"), is_split_name("trains")
    (True, True, False)
    """
    return any(name.lower().rstrip("0123456789") in words for words in _ALIASES.values())


def _picture_folder(images: Path | str | None) -> Path | None:
    if images is None:
        return None
    folder = Path(images)
    if not folder.is_dir():
        raise UserError("there is no such folder of pictures", where=folder, mend="check --images")
    return folder
