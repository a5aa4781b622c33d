"""YOLO: one text file per picture, with the classes and splits in a YAML file or a list of classes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sleuth.data.faults import Fault
from sleuth.data.formats.assemble import RawObjects, build_record, measure, tell_category_gaps, with_masks
from sleuth.data.pictures import is_picture
from sleuth.data.records import DetectionData, PictureRecord
from sleuth.errors import UserError

_SPLITS = ("train", "val", "valid", "test")


@dataclass(frozen=True)
class YoloLocation:
    """Where one split lies.

    Args:
        root: the data set's folder.
        split: name of the split.
        names: class names by their id in the label files.
        where: the file that names the classes, for messages.
        entries: folders of pictures, pictures, or text files that list them, as the YAML file gives them.
        bases: folders that the entries may be relative to, the likeliest first.
    """

    root: Path
    split: str
    names: tuple[tuple[int, str], ...]
    where: Path
    entries: tuple[str, ...]
    bases: tuple[Path, ...]


def find_yolo(path: Path) -> dict[str, YoloLocation]:
    """The splits of a YOLO data set in a folder, or of its YAML file; empty where there are none.

    Raises:
        UserError: the YAML file is broken, or there are several.
    """
    if path.is_file():
        return _from_yaml(path, _load(path))
    for pattern in ("*.y*ml", "*/*.y*ml"):
        files = [file for file in sorted(path.glob(pattern)) if file.suffix in (".yaml", ".yml")]
        pages = {file: page for file in files if (page := _is_data_set(file)) is not None}
        if len(pages) > 1:
            listed = ", ".join(str(file) for file in pages)
            raise UserError(f"there are several YOLO data sets: {listed}", where=path, mend="name one of them")
        if pages:
            return _from_yaml(*next(iter(pages.items())))
    return _from_class_list(path)


def read_yolo(location: YoloLocation, images: Path | None = None, annotations: str = "boxes") -> DetectionData:
    """Read one split. The box of a line that gives an outline is the one around it.

    An outline is one polygon. What it covers twice is outside, so that parts joined by a line come out right.

    Args:
        location: what `find_yolo` found.
        images: the folder of the pictures, where it is not where the YAML file says.
        annotations: boxes; or instances, for which every line must be an outline.

    Raises:
        UserError: the split's folder is missing, or all lines are boxes where masks are asked for.
    """
    masked = annotations == "instances"
    outlines = boxes = 0
    faults: list[Fault] = []
    category_ids = tuple(id for id, _ in location.names)
    tell_category_gaps(category_ids, str(location.where), faults)
    label_of = {id: label for label, id in enumerate(category_ids)}
    records: list[PictureRecord] = []
    annotation_id = 0
    owners: dict[Path, Path] = {}
    for image_id, (file, folder) in enumerate(_pictures(location, images, faults), start=1):
        label_file = _label_file(file, folder, location)
        lines, text_fault = _lines(label_file)
        if owners.setdefault(label_file, file) != file:
            what = f"the label file is that of {owners[label_file].name} too"
            faults.append(Fault("duplicate-name", str(file), what, image_id, image_id))
        if text_fault is not None:
            faults.append(Fault("unreadable-annotation", str(label_file), text_fault, image_id, image_id))
        if lines is None:
            faults.append(Fault("no-label-file", str(file), f"there is no {label_file}", image_id))
        size_hw = measure(file, image_id, faults)
        if size_hw is None:
            continue
        raw = RawObjects()
        for number, line in enumerate(lines or [], start=1):
            if not line.strip():
                continue
            annotation_id += 1
            category, box, outline, wrong = _parse(line, size_hw)
            if wrong is not None:
                what = f"line {number}: {wrong}"
                faults.append(Fault("unreadable-annotation", str(label_file), what, annotation_id, image_id))
            elif category not in label_of:
                what = f"line {number}: there is no class {category} in {location.where.name}"
                faults.append(Fault("unknown-category", str(label_file), what, annotation_id, image_id))
            elif masked and outline is None:
                boxes += 1
                what = f"line {number} is a box of 4 numbers, where masks need outlines of 6 or more"
                faults.append(Fault("box-among-outlines", str(label_file), what, annotation_id, image_id))
            else:
                outlines += 1
                raw.add(label_of[category], box, annotation_id, shape=outline)
        where, masks = str(label_file), None
        if masked:
            raw, masks = with_masks(raw, size_hw, image_id, file.name, where, faults)
        record = build_record(
            raw, id=image_id, path=file, name=file.name, size_hw=size_hw, where=where, faults=faults, masks=masks
        )
        records.append(record)
    if boxes and not outlines:
        raise UserError("the label files hold boxes, no outlines", where=location.root, mend="ask for boxes")
    return DetectionData(
        records=tuple(records),
        names=tuple(name for _, name in location.names),
        category_ids=category_ids,
        root=location.root,
        format="yolo",
        split=location.split,
        faults=tuple(faults),
        annotations=annotations,
    )


def _load(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"this is not valid YAML ({error})", where=file, mend="correct the file") from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=file, mend="check the path") from error


def _is_data_set(file: Path) -> Any | None:
    """The page, if it names classes and a split."""
    page = _load(file)
    return page if isinstance(page, dict) and "names" in page and any(split in page for split in _SPLITS) else None


def _from_yaml(file: Path, page: Any) -> dict[str, YoloLocation]:
    if not isinstance(page, dict) or "names" not in page:
        raise UserError("this names no classes", where=file, mend='give a YOLO data.yaml with "names" and "train"')
    names = _names(page, file)
    folder = file.parent
    base = folder / str(page.get("path") or ".")
    bases = tuple(dict.fromkeys([base, folder, folder.parent]))
    found = {}
    for split in _SPLITS:
        entries = page.get(split)
        if entries:
            listed = tuple(str(entry) for entry in (entries if isinstance(entries, list) else [entries]))
            found[split] = YoloLocation(folder, split, names, file, listed, bases)
    if not found:
        raise UserError("this names no split", where=file, mend=f"give the pictures' folder as {', '.join(_SPLITS)}")
    return found


def _names(page: dict[str, Any], file: Path) -> tuple[tuple[int, str], ...]:
    names = page["names"]
    if isinstance(names, list) and names:
        table = {id: str(name) for id, name in enumerate(names)}
    elif isinstance(names, dict) and names and all(isinstance(id, int) for id in names):
        table = {id: str(names[id]) for id in sorted(names)}
    else:
        raise UserError('"names" is no list of classes', where=file, mend="list the classes, or map ids to names")
    count = page.get("nc")
    if count is not None and count != len(table):
        raise UserError(
            f'"nc" is {count}, but "names" has {len(table)} classes', where=file, mend="correct one of the two"
        )
    return tuple(table.items())


def _from_class_list(path: Path) -> dict[str, YoloLocation]:
    """A folder of images and labels with the classes in a text file, as labelling tools write it."""
    lists = [path / "classes.txt", path / "labels" / "classes.txt"]
    file = next((file for file in lists if file.is_file()), None)
    if file is None or not ((path / "labels").is_dir() or _labels_beside(path)):
        return {}
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    names = tuple(enumerate(line.strip() for line in lines if line.strip()))
    images = path / "images" if (path / "images").is_dir() else path
    folders = {child.name: child for child in sorted(images.iterdir()) if child.is_dir() and child.name != "labels"}
    if images == path or not folders:
        folders = {"all": images}
    return {
        split: YoloLocation(path, split, names, file, (str(folder.relative_to(path)),), (path,))
        for split, folder in folders.items()
    }


def _labels_beside(path: Path) -> bool:
    return any(is_picture(file) and file.with_suffix(".txt").is_file() for file in path.iterdir())


def _pictures(location: YoloLocation, images: Path | None, faults: list[Fault]) -> Iterable[tuple[Path, Path]]:
    """The pictures of a split in order, each once, each with the folder that holds the split's pictures."""
    seen: set[Path] = set()
    for entry in location.entries:
        place = _resolve(entry, location, images)
        for file in _listed(place) if place.suffix == ".txt" else _inside(place):
            if file in seen:
                faults.append(Fault("duplicate-name", str(place), f"{file} is listed twice", file.name))
                continue
            seen.add(file)
            yield file, place if place.is_dir() else file.parent


def _resolve(entry: str, location: YoloLocation, images: Path | None) -> Path:
    """Where an entry of the YAML file lies: many files have been moved since their paths were written."""
    inner = entry.replace("\\", "/")
    bare = inner.removeprefix("./")
    while bare.startswith("../"):
        bare = bare.removeprefix("../")
    if images is not None:
        candidates = [images / bare, images / bare.removeprefix("images/"), images]
    else:
        candidates = [base / inner for base in location.bases] + [base / bare for base in location.bases]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    looked = ", ".join(str(candidate) for candidate in dict.fromkeys(candidates))
    raise UserError(
        f"the pictures of split {location.split!r} are missing, looked for {looked}",
        where=location.where,
        mend="correct the path there, or name the folder with --images",
    )


def _inside(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    return sorted(file for file in place.rglob("*") if is_picture(file))


def _listed(file: Path) -> list[Path]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("the list of pictures cannot be read", where=file, mend="replace it") from error
    return [file.parent / line.strip() for line in lines if line.strip()]


def _label_file(file: Path, folder: Path, location: YoloLocation) -> Path:
    """The label file of a picture: `labels` in place of the last `images` of its path, or near by."""
    parts = list(file.parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    candidates = []
    if places:
        parts[places[-1]] = "labels"
        candidates.append(Path(*parts))
        candidates.append(location.where.parent / "labels" / Path(*parts[places[-1] + 1 :]))
    inner = file.relative_to(folder) if file.is_relative_to(folder) else Path(file.name)
    candidates += [file, folder.parent / "labels" / inner, folder / "labels" / inner]
    candidates.append(location.where.parent / "labels" / location.split / inner)
    texts = [candidate.with_suffix(".txt") for candidate in candidates]
    return next((text for text in texts if text.is_file()), texts[0])


def _lines(file: Path) -> tuple[list[str] | None, str | None]:
    """The lines of a label file, None where there is no file; and what is wrong with it."""
    try:
        return file.read_text(encoding="utf-8").splitlines(), None
    except FileNotFoundError:
        return None, None
    except (OSError, UnicodeDecodeError) as error:
        return [], f"the file cannot be read as text ({type(error).__name__})"


def _parse(
    line: str, size_hw: tuple[int, int]
) -> tuple[int, tuple[float, float, float, float], list[float] | None, str | None]:
    """Class id, corners and, if there is one, the outline of one line in pixels; and what is wrong with it."""
    nothing = (0.0, 0.0, 0.0, 0.0)
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return 0, nothing, None, f"not all numbers: {line.strip()[:40]!r}"
    if not values or not math.isfinite(values[0]) or values[0] != int(values[0]) or values[0] < 0:
        return 0, nothing, None, "the class is no whole number"
    height, width = size_hw
    category, rest = int(values[0]), values[1:]
    outline = None
    if len(rest) in (4, 5):  # a fifth number is the score of a prediction
        x, y, w, h = rest[:4]
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    elif len(rest) >= 6 and len(rest) % 2 == 0:
        box = (min(rest[0::2]), min(rest[1::2]), max(rest[0::2]), max(rest[1::2]))
        outline = [value * (height if place % 2 else width) for place, value in enumerate(rest)]
    else:
        return 0, nothing, None, f"{len(values)} numbers, where a box has 5 and an outline 7 or more"
    return category, (box[0] * width, box[1] * height, box[2] * width, box[3] * height), outline, None
