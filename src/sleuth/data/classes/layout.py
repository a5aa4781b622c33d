"""Which pictures belong to which class and split, by the names of folders or by a table."""

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sleuth.data.classes.files import Files, pictures_of
from sleuth.data.open import is_split_name
from sleuth.errors import UserError

PATH_COLUMNS = ("path", "file", "filename", "file_name", "image", "picture")
LABEL_COLUMNS = ("label", "class", "category", "name", "target")


@dataclass
class Part:
    """The pictures of one split, as they are found.

    Args:
        files: where they lie.
        pictures: the name of each file and its class.
        empty: classes that have a folder, but no picture.
        faults: lines of a table that say nothing, in words.
    """

    files: Files
    pictures: list[tuple[str, str]] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def parts_of_folders(files: Files) -> dict[str, Part]:
    """The splits of folders of classes: ``class/picture``, or ``split/class/picture``, perhaps below a single folder.

    Pictures in folders within that of a class are the class's as well.

    Returns:
        Splits by name; one without a name has the empty one. None at all where there are no such folders.
    """
    names, folders = files.listing()
    pictures, prefix = list(pictures_of(names)), ""
    while True:
        inside = [folder[len(prefix) :] for folder in folders if folder.startswith(prefix)]
        top = list(dict.fromkeys(PurePosixPath(folder).parts[0] for folder in inside))
        if top and all(map(is_split_name, top)):
            parts = {split: _part(files, folders, pictures, f"{prefix}{split}/") for split in top}
            return {split: part for split, part in parts.items() if part.pictures or part.empty}
        deeper = any("/" in folder for folder in inside)
        if len(top) != 1 or not deeper:
            break
        prefix += f"{top[0]}/"
    part = _part(files, folders, pictures, prefix)
    return {"": part} if part.pictures or part.empty else {}


def _part(files: Files, folders: Sequence[str], pictures: Sequence[str], prefix: str) -> Part:
    """The classes below one folder."""
    part = Part(files)
    for name in pictures:
        inner = name[len(prefix) :]
        if name.startswith(prefix) and "/" in inner:
            part.pictures.append((name, inner.split("/")[0]))
    full = {label for _, label in part.pictures}
    below = [folder[len(prefix) :] for folder in folders if folder.startswith(prefix)]
    part.empty = sorted(folder for folder in below if folder and "/" not in folder and folder not in full)
    return part


def parts_of_tables(files: Files, tables: Sequence[str]) -> dict[str, Part]:
    """The splits of CSV files with a picture and its class in each line, and perhaps its split.

    The columns have names in the first line; files are named from the folder of the table on. A table without a
    column for the split is the split of its own name, such as train.csv, or the only one.
    """
    parts: dict[str, Part] = defaultdict(lambda: Part(files))
    for table in tables:
        rows = read_table(files, table)
        if rows is None:
            continue
        stem = PurePosixPath(table).stem
        usual = stem if is_split_name(stem) else ""
        folder = PurePosixPath(table).parent
        for line, row in rows:
            part = parts[row["split"] or usual]
            if row["path"] and row["label"]:
                part.pictures.append(((folder / row["path"]).as_posix(), row["label"]))
            else:
                part.faults.append(f"{table}, line {line}: no {'path' if not row['path'] else 'label'}")
    return dict(parts)


def read_table(files: Files, name: str) -> list[tuple[int, Mapping[str, str]]] | None:
    """The lines of a CSV file with their numbers; None where its first line names no picture and no class.

    Raises:
        UserError: it is not UTF-8, or no CSV at all.
    """
    try:
        reader = csv.reader(io.StringIO(files.read(name).decode("utf-8-sig")))
        heading = [cell.strip().lower() for cell in next(reader, [])]
        columns = {
            "path": next((heading.index(word) for word in PATH_COLUMNS if word in heading), None),
            "label": next((heading.index(word) for word in LABEL_COLUMNS if word in heading), None),
            "split": heading.index("split") if "split" in heading else None,
        }
        if columns["path"] is None or columns["label"] is None:
            return None
        return [
            (
                reader.line_num,
                {
                    key: row[at].strip() if at is not None and at < len(row) else ""  # a line may be cut short
                    for key, at in columns.items()
                },
            )
            for row in reader
            if any(cell.strip() for cell in row)
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"no readable CSV ({error})", where=files.root / name, mend="save it as UTF-8") from error
