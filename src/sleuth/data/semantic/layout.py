"""Which mask belongs to which picture, and to which split, by the names of folders and files."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sleuth.data.classes.files import pictures_of
from sleuth.data.open import is_split_name

PICTURE_FOLDERS = frozenset({"images", "image", "imgs", "img", "pictures", "jpegimages", "leftimg8bit"})
MASK_FOLDERS = frozenset(
    {"masks", "mask", "labels", "label", "annotations", "annotation", "annots", "annot", "segmentationclass", "gt"}
)
_BESIDE = ("annot", "_annot", "_annotations", "_labels", "_label", "_masks", "_mask", "labels", "masks")
"""What a folder of masks may have after the name of that of its pictures: train and trainannot."""
_ENDINGS = ("_L", "_mask", "_masks", "_label", "_labels", "_annot", "_gt", "_seg")
"""What a mask may have after the name of its picture."""

_Place = tuple[str, ...]


@dataclass
class SemanticPart:
    """The pictures of one split, as they are found.

    Args:
        pairs: the name of each picture and that of its mask; None where it has none.
        spare: masks without picture.
    """

    pairs: list[tuple[str, str | None]] = field(default_factory=list)
    spare: list[str] = field(default_factory=list)


def semantic_parts(names: Sequence[str]) -> dict[str, SemanticPart]:
    """The splits of pictures with masks.

    The folders are ``images`` and ``masks`` (or ``labels``, ``annotations``, ...), each with or without splits within,
    or within each split; or ``train`` and ``trainannot``. A mask has the name of its picture, perhaps with an ending
    such as ``_mask``.

    Args:
        names: of all files, with slashes.

    Returns:
        Splits by name; one without a name has the empty one. None at all where no picture has a mask.
    """
    pictures, masks = _sorted_out(list(pictures_of(list(names))))
    paired = {key: _mask_of(key, masks) for key in pictures}
    if not any(paired.values()):
        return {}
    parts: dict[str, SemanticPart] = defaultdict(SemanticPart)
    for key, name in pictures.items():
        mask = paired[key]
        parts[_split(key)].pairs.append((name, None if mask is None else masks[mask]))
    taken = set(paired.values())
    for key, name in masks.items():
        if key not in taken and (split := _split(key)) in parts:
            parts[split].spare.append(name)
    # Folders of pictures of which none has a mask, such as a test split that is kept secret, are left out.
    return {split: part for split, part in parts.items() if any(mask for _, mask in part.pairs)}


def _sorted_out(names: Sequence[str]) -> tuple[dict[_Place, str], dict[_Place, str]]:
    """Pictures and masks by a place in which both have the same folders: that of pictures, or of masks, is a star."""
    beside = _folders_beside(names)
    pictures: dict[_Place, str] = {}
    masks: dict[_Place, str] = {}
    for name in names:
        path = PurePosixPath(name)
        *folders, _ = path.parts
        for at, folder in enumerate(folders):
            known = folder.lower()
            within, stem = tuple(folders[at + 1 :]), path.stem
            before = tuple(folders[:at])
            if known in PICTURE_FOLDERS or known in MASK_FOLDERS:
                kind = pictures if known in PICTURE_FOLDERS else masks
                kind[(*before, "*", *within, stem)] = name
                break
            if (*before, folder) in beside:
                kind = pictures if beside[(*before, folder)] == folder else masks
                kind[(*before, beside[(*before, folder)], *within, stem)] = name
                break
    return pictures, masks


def _folders_beside(names: Sequence[str]) -> dict[_Place, str]:
    """Folders such as train and trainannot, each with the name of that of pictures."""
    folders = {PurePosixPath(name).parts[:depth] for name in names for depth in range(1, name.count("/") + 1)}
    found: dict[_Place, str] = {}
    for place in folders:
        for ending in _BESIDE:
            other = (*place[:-1], place[-1] + ending)
            if other in folders:
                found[place] = found[other] = place[-1]
    return found


def _mask_of(key: _Place, masks: dict[_Place, str]) -> _Place | None:
    *place, stem = key
    wanted = ((*place, stem + ending) for ending in ("", *_ENDINGS))
    return next((each for each in wanted if each in masks), None)


def _split(key: _Place) -> str:
    return next((part for part in key[:-1] if is_split_name(part)), "")
