"""Opening pictures of classes: which splits a folder, zip or table holds, and reading one of them."""

from dataclasses import dataclass, replace
from pathlib import Path

from sleuth.data.classes.files import Files, FolderFiles, open_files
from sleuth.data.classes.layout import Part, parts_of_folders, parts_of_tables
from sleuth.data.classes.samples import ClassSample, relabelled
from sleuth.data.held_out import is_held_out
from sleuth.data.open import match_split, split_order
from sleuth.data.pictures import decode_picture
from sleuth.errors import UserError

_TABLE = ".csv"
_LOOKED = "class/picture, split/class/picture, or a CSV file with the columns path and label; in a folder or a zip"


@dataclass(frozen=True, eq=False)
class ClassPictures:
    """Pictures of classes in files; a `ClassSource`.

    Args:
        files: where they lie.
        paths: the name of each file.
        labels: the class of each picture.
        names: of the classes, in alphabetical order where nobody else says.
        empty: classes without a picture, which are left out.
        faults: lines of tables that say nothing.
    """

    files: Files
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    empty: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.paths)

    def load(self, index: int) -> ClassSample:
        """The picture at ``index``, read and decoded.

        Raises:
            UserError: it cannot be read.
        """
        where = self.where(index)
        return ClassSample(decode_picture(self.content(index), where), self.labels[index], str(where))

    def label(self, index: int) -> int:
        """The label of the picture at ``index``."""
        return self.labels[index]

    def content(self, index: int) -> bytes:
        """The bytes of the file at ``index``.

        Raises:
            UserError: it cannot be read.
        """
        return self.files.read(self.paths[index])

    def where(self, index: int) -> Path:
        """What messages call the picture at ``index``."""
        return self.files.root / self.paths[index]

    def select(self, indices: list[int]) -> "ClassPictures":
        """The pictures at these indices, with all classes."""
        paths, labels = tuple(self.paths[i] for i in indices), tuple(self.labels[i] for i in indices)
        return replace(self, paths=paths, labels=labels)

    def with_names(self, names: tuple[str, ...]) -> "ClassPictures":
        """The same with the classes of a model, in its order.

        Raises:
            UserError: there is a class that the model does not know.
        """
        present = sorted(set(self.labels))
        places = dict(
            zip(present, relabelled([self.names[label] for label in present], names, self.files.root), strict=True)
        )
        return replace(self, labels=tuple(places[label] for label in self.labels), names=names)


def is_classes(path: Path | str) -> bool:
    """Whether a folder, zip or table holds pictures of classes, by the names of its files alone."""
    try:
        return bool(_parts(Path(path)))
    except (UserError, OSError):
        return False


def class_splits(path: Path | str) -> tuple[str, ...]:
    """Names of the splits, training first; data without any is parted into train and val, unless it is too small.

    Raises:
        UserError: there are no classes.
    """
    parts = _found(Path(path))
    if not _is_undivided(tuple(parts)):
        return tuple(parts)
    held_out = any(is_held_out(name) for part in parts.values() for name, _ in part.pictures)
    return ("train", "val") if held_out else ("train",)


def open_classes(path: Path | str, split: str | None = None) -> ClassPictures:
    """One split of pictures of classes.

    Where the data is in no splits, or has one for training alone, ``train`` and ``val`` are made of it: of five
    pictures one is in ``val``, by a hash of its name, so that it stays there whatever is added. ``all`` is everything
    that is in one split.

    Args:
        path: a folder, a zip, or a CSV file.
        split: name of the split; None where there is only one.

    Raises:
        UserError: there are no classes, no such split, or no picture in it.
    """
    path = Path(path)
    parts = _found(path)
    undivided = _is_undivided(tuple(parts))
    if undivided and split != "all":
        split = match_split(split or "val", ("train", "val"), path)
        made = _made(next(iter(parts.values())))
        held_out = split == "val"
        pictures = made.select([i for i, name in enumerate(made.paths) if is_held_out(name) == held_out])
    elif len(parts) == 1 and split == "all":
        pictures = _made(next(iter(parts.values())))
    else:
        pictures = _made(parts[match_split(split, tuple(parts), path)])
    if not len(pictures):
        raise UserError(f"there are no pictures in the split {split!r}", where=path, mend="name another split")
    return pictures


def _is_undivided(splits: tuple[str, ...]) -> bool:
    return len(splits) == 1 and splits[0].lower() in ("", "train", "training")


def _made(part: Part) -> ClassPictures:
    names = sorted({label for _, label in part.pictures})
    labels = {name: label for label, name in enumerate(names)}
    return ClassPictures(
        files=part.files,
        paths=tuple(path for path, _ in part.pictures),
        labels=tuple(labels[name] for _, name in part.pictures),
        names=tuple(names),
        empty=tuple(part.empty),
        faults=tuple(part.faults),
    )


def _found(path: Path) -> dict[str, Part]:
    parts = _parts(path)
    if not parts:
        raise UserError("there are no classes of pictures here", where=path, mend=f"looked for {_LOOKED}")
    return {split: parts[split] for split in sorted(parts, key=split_order)}


def _parts(path: Path) -> dict[str, Part]:
    """The splits of a path: of a table, of an archive for each split, of the tables in a folder, or of its folders."""
    if path.suffix.lower() == _TABLE and path.is_file():
        parts = parts_of_tables(FolderFiles(path.parent), [path.name])
        if not parts:
            what = "the first line of this table names no columns of pictures and classes"
            raise UserError(what, where=path, mend="begin it with path,label")
        return parts
    if path.is_dir():
        archives = [file for file in sorted(path.iterdir()) if file.suffix.lower() == ".zip"]
        if archives and not any(file.is_dir() and not file.name.startswith(".") for file in path.iterdir()):
            return _of_archives(archives)
    files = open_files(path)
    names = files.listing()[0]
    tables = [name for name in names if name.lower().endswith(_TABLE) and name.count("/") <= 1]
    return parts_of_tables(files, tables) or parts_of_folders(files)


def _of_archives(archives: list[Path]) -> dict[str, Part]:
    """Archives in one folder, such as train.zip and test.zip: a split each, unless they have splits within."""
    parts: dict[str, Part] = {}
    for archive in archives:
        for split, part in _parts(archive).items():
            parts[split or archive.stem] = part
    return parts
