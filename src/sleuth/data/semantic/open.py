"""Opening pictures with masks of classes: in folders or a zip, with or without splits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from sleuth.data.classes.files import Files, open_files
from sleuth.data.held_out import is_held_out
from sleuth.data.open import match_split, split_order
from sleuth.data.pictures import decode_picture, decode_values
from sleuth.data.semantic.classes import FILES, ClassList, numbered_classes, read_class_list
from sleuth.data.semantic.layout import SemanticPart, semantic_parts
from sleuth.data.semantic.samples import SemanticSample
from sleuth.errors import UserError
from sleuth.tasks.semantic import UNLABELLED

_LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif")
_LOOKED = "images/ and masks/ of PNG files with the same names, whole or by split; or train/ and trainannot/"


@dataclass(frozen=True, eq=False)
class SemanticPictures:
    """Pictures with masks in files; a `SemanticSource`.

    Args:
        files: where they lie.
        pairs: names of each picture and of its mask; None where it has none.
        classes: what the masks mean.
        split: name of the split.
        spare: masks without picture.
    """

    files: Files
    pairs: tuple[tuple[str, str | None], ...]
    classes: ClassList
    split: str = ""
    spare: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.classes.names

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.pairs)

    def where(self, index: int) -> Path:
        """What messages call the picture at ``index``."""
        return self.files.root / self.pairs[index][0]

    def mask_at(self, index: int) -> Path | None:
        """What messages call the mask at ``index``; None where there is none."""
        mask = self.pairs[index][1]
        return None if mask is None else self.files.root / mask

    def content(self, index: int) -> bytes:
        """The bytes of the picture at ``index``.

        Raises:
            UserError: it cannot be read.
        """
        return self.files.read(self.pairs[index][0])

    def mask(self, index: int) -> tuple[UInt8[np.ndarray, "height width"], str]:
        """The classes of each pixel at ``index``, and what is in the mask beside them, in words.

        Raises:
            UserError: there is no mask, or it cannot be read.
        """
        name, where = self.pairs[index][1], self.mask_at(index)
        if name is None or where is None:
            raise UserError("the picture has no mask", where=self.where(index), mend="add it, or leave it out")
        if where.suffix.lower() in _LOSSY:
            what = f"a mask in {where.suffix} does not keep the classes of its pixels"
            raise UserError(what, where=where, mend="write masks as PNG")
        return self.classes.labels(*decode_values(self.files.read(name), where))

    def load(self, index: int) -> SemanticSample:
        """The picture at ``index`` and its mask, read and decoded.

        Raises:
            UserError: one of them cannot be read, they differ in size, or the mask has values of no class.
        """
        where, mask_at = self.where(index), self.mask_at(index)
        image = decode_picture(self.content(index), where)
        labels, unknown = self.mask(index)
        if unknown:
            raise UserError(f"the mask has {unknown}, which is no class", where=mask_at, mend=_mend_unknown(self.names))
        if labels.shape != tuple(image.shape[1:]):
            size, own = ("x".join(map(str, each)) for each in (image.shape[1:], labels.shape))
            raise UserError(f"the mask is {own}, its picture {size}", where=mask_at, mend="make both of one size")
        return SemanticSample(image, torch.from_numpy(labels), str(where))

    def select(self, indices: Sequence[int]) -> "SemanticPictures":
        """The pictures at these indices, with all classes."""
        return replace(self, pairs=tuple(self.pairs[index] for index in indices))


def _mend_unknown(names: Sequence[str]) -> str:
    return f"there are {len(names)} classes, from 0 on; say what means nothing with data.ignore, or --ignore"


def is_semantic(path: Path | str) -> bool:
    """Whether a folder or zip holds pictures with masks, by the names of its files alone."""
    try:
        return bool(semantic_parts(open_files(Path(path)).listing()[0]))
    except (UserError, OSError):
        return False


def semantic_splits(path: Path | str) -> tuple[str, ...]:
    """Names of the splits, training first; data without any is parted into train and val, unless it is too small.

    Raises:
        UserError: there are no pictures with masks.
    """
    parts = _found(open_files(Path(path)))
    if not _is_undivided(parts):
        return tuple(parts)
    held_out = any(is_held_out(name) for part in parts.values() for name, _ in part.pairs)
    return ("train", "val") if held_out else ("train",)


def open_semantic(path: Path | str, split: str | None = None, *, ignored: Iterable[int] = ()) -> SemanticPictures:
    """One split of pictures with masks.

    Where the data is in no splits, or has one for training alone, ``train`` and ``val`` are made of it, as of pictures
    of classes. Names and colours of classes stand in ``classes.txt`` (or .csv, .json) beside the folders; without such
    a file, masks are looked through for the values that occur.

    Args:
        path: a folder or a zip.
        split: name of the split; None where there is only one; ``all`` of undivided data.
        ignored: values of masks that mean that nobody has said what is there.

    Raises:
        UserError: there are no pictures with masks, no such split, or no readable list of classes.
    """
    path = Path(path)
    files = open_files(path)
    parts = _found(files)
    if _is_undivided(parts) and split != "all":
        name = match_split(split or "val", ("train", "val"), path)
        part = next(iter(parts.values()))
        pairs = [pair for pair in part.pairs if is_held_out(pair[0]) == (name == "val")]
        part = SemanticPart(pairs, part.spare)
    else:
        name = next(iter(parts)) if len(parts) == 1 and split == "all" else match_split(split, tuple(parts), path)
        part = parts[name]
    if not part.pairs:
        raise UserError(f"there are no pictures in the split {split!r}", where=path, mend="name another split")
    made = SemanticPictures(files, tuple(part.pairs), numbered_classes(0), name, tuple(part.spare))
    return replace(made, classes=_class_list(made, parts, tuple(ignored)))


def _class_list(data: SemanticPictures, parts: dict[str, SemanticPart], ignored: tuple[int, ...]) -> ClassList:
    """The list of classes beside the folders, or the values that occur in any mask."""
    files = data.files
    known = sorted(files.listing()[0], key=lambda name: (name.count("/"), name))
    for name in known:
        if name.count("/") <= 2 and name.rpartition("/")[2].lower() in FILES:
            return read_class_list(files.read(name), files.root / name, ignored)
    most = -1
    for part in parts.values():
        every = replace(data, pairs=tuple(part.pairs))
        for index, (_, mask) in enumerate(every.pairs):
            where = every.mask_at(index)
            if mask is None or where is None or where.suffix.lower() in _LOSSY:
                continue
            try:
                values, _ = decode_values(files.read(mask), where)
            except UserError:
                continue  # the checks tell of it
            if values.ndim == 3 and not bool((values == values[..., :1]).all()):
                mend = "write classes.txt beside the folders, a line for each: r g b name"
                raise UserError("masks have colours, and no list says what they mean", where=where, mend=mend)
            there = np.unique(values)
            most = max([most, *there[(there < UNLABELLED) & ~np.isin(there, ignored)].tolist()])
    return numbered_classes(most + 1, ignored)


def _found(files: Files) -> dict[str, SemanticPart]:
    parts = semantic_parts(files.listing()[0])
    if not parts:
        raise UserError("there are no pictures with masks here", where=files.root, mend=f"looked for {_LOOKED}")
    return {split: parts[split] for split in sorted(parts, key=split_order)}


def _is_undivided(parts: dict[str, SemanticPart]) -> bool:
    return len(parts) == 1 and next(iter(parts)).lower() in ("", "train", "training")
