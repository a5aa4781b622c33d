"""Pascal VOC: one XML file per picture, with the splits in lists or in folders."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sleuth.data.faults import Fault
from sleuth.data.formats.assemble import PictureFinder, RawObjects, build_record, measure, tell_unlisted
from sleuth.data.records import DetectionData, PictureRecord
from sleuth.errors import UserError

_XML_FOLDERS = ("Annotations", "annotations", "labels", ".")
_PICTURE_FOLDERS = ("JPEGImages", "images", "Images", "imgs", ".")
_CLASS_LISTS = ("classes.txt", "labels.txt", "classes.names")


@dataclass(frozen=True)
class VocLocation:
    """Where one split lies.

    Args:
        root: the data set's folder.
        split: name of the split.
        xml_folder: folder of the split's XML files.
        picture_folders: folders to look for pictures in.
        list: file that names the split's pictures; None takes every XML file of the folder.
        all_xml_folders: the XML folders of all splits: the classes are those of the whole data set.
    """

    root: Path
    split: str
    xml_folder: Path
    picture_folders: tuple[Path, ...]
    list: Path | None
    all_xml_folders: tuple[Path, ...]


@dataclass(frozen=True)
class _Object:
    name: str | None
    box: tuple[float, float, float, float] | None


@dataclass(frozen=True)
class _Page:
    """What one XML file says."""

    filename: str
    size_hw: tuple[int, int] | None
    objects: tuple[_Object, ...]


def find_voc(path: Path) -> dict[str, VocLocation]:
    """The splits of a VOC data set in a folder; empty where there are none."""
    if not path.is_dir():
        return {}
    xml_folder = _xml_folder(path)
    if xml_folder is not None:
        lists = _lists(path)
        folders = tuple(path / name for name in _PICTURE_FOLDERS)
        if not lists:
            return {"all": VocLocation(path, "all", xml_folder, folders, None, (xml_folder,))}
        return {list.stem: VocLocation(path, list.stem, xml_folder, folders, list, (xml_folder,)) for list in lists}
    children = {child: folder for child in sorted(_folders(path)) if (folder := _xml_folder(child)) is not None}
    if len(children) == 1 and _lists(next(iter(children))):  # VOCdevkit/VOC2007
        return find_voc(next(iter(children)))
    return {
        child.name: VocLocation(
            root=path,
            split=child.name,
            xml_folder=folder,
            picture_folders=tuple(child / name for name in _PICTURE_FOLDERS),
            list=None,
            all_xml_folders=tuple(children.values()),
        )
        for child, folder in children.items()
    }


def read_voc(location: VocLocation, images: Path | None = None) -> DetectionData:
    """Read one split. Boxes are taken as they stand; files of the VOC challenges count pixels from 1 and are shifted.

    Args:
        location: what `find_voc` found.
        images: the folder of the pictures, where it is not one of the usual ones.

    Raises:
        UserError: the list of the split cannot be read, or there are no classes at all.
    """
    faults: list[Fault] = []
    finder = PictureFinder([images] if images is not None else location.picture_folders)
    stems = _stems(location, faults)
    pages, names = _read_pages(location, stems, faults)
    label_of = {name: label for label, name in enumerate(names)}
    records: list[PictureRecord] = []
    annotation_id = 0
    for image_id, stem in enumerate(stems, start=1):
        xml, page = location.xml_folder / f"{stem}.xml", pages.get(stem)
        if page is None:
            _tell_missing(location, finder, stem, faults)
            continue
        file = finder.by_stem(stem) or (finder.by_name(page.filename) if page.filename else None)
        file = file or finder.folders[0] / (page.filename or f"{stem}.jpg")
        if len(finder.namesakes(stem)) > 1:
            what = "pictures differ by suffix only: " + ", ".join(path.name for path in finder.namesakes(stem))
            faults.append(Fault("duplicate-name", str(xml), what, image_id, image_id))
        size_hw = page.size_hw
        if size_hw is None:
            faults.append(Fault("no-size", str(xml), "the picture's size is not given", image_id))
            size_hw = measure(file, image_id, faults)
            if size_hw is None:
                continue
        raw = RawObjects()
        for entry in page.objects:
            annotation_id += 1
            if entry.name is None or entry.name not in label_of:
                what = f"an object of {file.name} has no name" if entry.name is None else f"no class {entry.name!r}"
                faults.append(Fault("unknown-category", str(xml), what, annotation_id, image_id))
            elif entry.box is None:
                what = f"an object of {file.name} has no box of four numbers"
                faults.append(Fault("no-box", str(xml), what, annotation_id, image_id))
            else:
                raw.add(label_of[entry.name], entry.box, annotation_id)
        record = build_record(
            raw, id=image_id, path=file, name=file.name, size_hw=size_hw, where=str(xml), faults=faults
        )
        records.append(record)
    if location.list is None:
        tell_unlisted(finder.pictures(), (record.path for record in records), faults)
    return DetectionData(
        records=tuple(records),
        names=names,
        category_ids=tuple(range(1, len(names) + 1)),
        root=location.root,
        format="voc",
        split=location.split,
        faults=tuple(faults),
    )


def _folders(path: Path) -> Iterable[Path]:
    return (child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _xml_folder(path: Path) -> Path | None:
    """The folder of the annotations, if there is one: its first XML file starts as VOC's do."""
    for name in _XML_FOLDERS:
        first = min((path / name).glob("*.xml"), default=None)
        if first is not None:
            with first.open("rb") as file:
                return path / name if b"<annotation" in file.read(4096) or name == "Annotations" else None
    return None


def _lists(path: Path) -> list[Path]:
    """The lists that name the pictures of a split, without those that say which pictures show one class."""
    for folder in (path / "ImageSets" / "Main", path / "ImageSets"):
        lists = [file for file in sorted(folder.glob("*.txt")) if _is_split_list(file)]
        if lists:
            return lists
    return []


def _is_split_list(file: Path) -> bool:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return all(len(line.split()) <= 1 for line in lines[:50])


def _stems(location: VocLocation, faults: list[Fault]) -> list[str]:
    """Names of the split's pictures without suffix, in order, each once."""
    if location.list is None:
        return sorted(file.stem for file in location.xml_folder.glob("*.xml"))
    try:
        lines = location.list.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("the list of pictures cannot be read", where=location.list, mend="replace it") from error
    stems: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        stem = re.sub(r"\.(jpe?g|png|bmp|xml)$", "", line.strip(), flags=re.IGNORECASE)
        if stem in stems:
            faults.append(Fault("duplicate-name", str(location.list), f"line {number} names {stem} again", stem))
        if stem:
            stems[stem] = None
    return list(stems)


def _read_pages(
    location: VocLocation, stems: list[str], faults: list[Fault]
) -> tuple[dict[str, _Page], tuple[str, ...]]:
    """The pages of the split by stem, and the classes of the whole data set in a fixed order."""
    wanted = {stem: number for number, stem in enumerate(stems, start=1)}
    pages: dict[str, _Page] = {}
    found: set[str] = set()
    for folder in location.all_xml_folders:
        for file in sorted(folder.glob("*.xml")):
            mine = folder == location.xml_folder and file.stem in wanted
            try:
                page = _parse(file)
            except UserError as error:
                if mine:
                    number = wanted[file.stem]
                    faults.append(Fault("unreadable-annotation", str(file), error.what, number, number))
                continue
            found.update(entry.name for entry in page.objects if entry.name is not None)
            if mine:
                pages[file.stem] = page
    listed = _class_list(location)
    return pages, listed if listed is not None else tuple(sorted(found))


def _class_list(location: VocLocation) -> tuple[str, ...] | None:
    for folder in (location.root, location.xml_folder):
        for name in _CLASS_LISTS:
            file = folder / name
            if file.is_file():
                lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
                return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    return None


def _parse(file: Path) -> _Page:
    try:
        root = ET.fromstring(file.read_bytes())
    except (ET.ParseError, ValueError, LookupError) as error:
        raise UserError(f"this is not valid XML ({error})", where=file) from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=file) from error
    # The files of the challenges count pixels from 1, both corners included.
    first = 1.0 if re.match(r"The VOC ?\d{4} Database", root.findtext("source/database") or "") else 0.0
    height, width = _number(root.findtext("size/height")), _number(root.findtext("size/width"))
    size_hw = (int(height), int(width)) if height and width and height > 0 and width > 0 else None
    return _Page(
        filename=(root.findtext("filename") or "").strip(),
        size_hw=size_hw,
        objects=tuple(_parse_object(entry, first) for entry in root.iter("object")),
    )


def _parse_object(entry: ET.Element, first: float) -> _Object:
    name = (entry.findtext("name") or "").strip() or None
    corners = [_number(entry.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
    left, top, right, bottom = corners
    if left is None or top is None or right is None or bottom is None:
        return _Object(name, None)
    return _Object(name, (left - first, top - first, right, bottom))


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _tell_missing(location: VocLocation, finder: PictureFinder, stem: str, faults: list[Fault]) -> None:
    """A picture that the split's list names has no page."""
    xml = location.xml_folder / f"{stem}.xml"
    if xml.is_file():
        return  # told as unreadable
    what = f"{location.list.name if location.list else 'the split'} names it"
    if finder.by_stem(stem) is None:
        faults.append(Fault("missing-picture", str(finder.folders[0] / stem), what, stem))
    else:
        faults.append(Fault("missing-annotation", str(xml), what, stem))
