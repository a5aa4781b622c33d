"""COCO panoptic folders: a JSON file that lists segments, and PNG files whose colours are segment ids."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from PIL import Image

from sleuth.errors import UserError
from sleuth.evaluation.json_files import (
    flag_at,
    known_at,
    list_at,
    need_object,
    read_json,
    some,
    unique_ids,
    value_at,
    whole_number_at,
)
from sleuth.evaluation.panoptic import PanopticMap, PanopticScores, panoptic_quality

_TRUTH = 'a COCO panoptic file is a JSON object with "images", "annotations" with "segments_info", and "categories"'
_FOUND = 'panoptic results are a JSON object with "annotations" of "image_id", "file_name" and "segments_info"'


@dataclass(frozen=True)
class PanopticClasses:
    """The classes of a panoptic data set, each by label.

    Args:
        names: of the classes.
        category_ids: the data set's own ids.
        is_thing: whether each is countable.
    """

    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    is_thing: tuple[bool, ...]


def is_panoptic(path: Path) -> bool:
    """Whether a JSON file is of COCO's panoptic form: its annotations list segments.

    Raises:
        UserError: the file cannot be read.
    """
    return _lists_segments(read_json(Path(path)))


def _lists_segments(content: object) -> bool:
    entries = content.get("annotations") if isinstance(content, dict) else None
    first = entries[0] if isinstance(entries, list) and entries else None
    return isinstance(first, dict) and "segments_info" in first


def default_folder(path: Path) -> Path:
    """Where the PNG files of a panoptic JSON file are by custom: the folder of its name."""
    return Path(path).with_suffix("")


def evaluate_panoptic_files(
    ground_truth: Path,
    ground_truth_folder: Path | None,
    predictions: Path,
    predictions_folder: Path | None,
) -> PanopticScores:
    """Panoptic quality of result files, as panopticapi computes it.

    Args:
        ground_truth: COCO panoptic annotations, a JSON file.
        ground_truth_folder: its PNG files; by default in the folder of its name, without ``.json``.
        predictions: panoptic results, a JSON file whose annotations are as those of the ground truth. Results of
            pictures that the ground truth lacks are not looked at.
        predictions_folder: its PNG files; by default likewise.

    Raises:
        UserError: a file that is missing, cannot be read or does not fit; the message names file and entry.
    """
    ground_truth, predictions = Path(ground_truth), Path(predictions)
    truth_folder = _folder(ground_truth_folder, ground_truth, "--ground-truth-folder")
    found_folder = _folder(predictions_folder, predictions, "--predictions-folder")
    content = read_json(ground_truth)
    if not _lists_segments(content):
        raise UserError("this is not a COCO panoptic file", where=ground_truth, mend=_TRUTH)
    classes = read_classes(content, ground_truth)
    truths = _annotations(content, ground_truth, _TRUTH)
    results = read_json(predictions)
    founds = _annotations(results, predictions, _FOUND)
    _check_names(content, results, predictions)
    lacking = [image_id for image_id in truths if image_id not in founds]
    if lacking:
        raise UserError(
            f"there is no prediction for the picture{'s' if len(lacking) > 1 else ''} {some(lacking)}",
            where=predictions,
            mend="predict every picture of the ground truth; one without segments has an empty segments_info",
        )

    def pairs() -> Iterator[tuple[PanopticMap, PanopticMap]]:
        for image_id, (where, entry) in truths.items():
            found_where, found_entry = founds[image_id]
            yield (
                _read_map(entry, where, truth_folder, classes),
                _read_map(found_entry, found_where, found_folder, classes),
            )

    return panoptic_quality(pairs(), names=classes.names, category_ids=classes.category_ids, is_thing=classes.is_thing)


def read_classes(content: Mapping[str, Any], path: Path) -> PanopticClasses:
    """The categories of a panoptic JSON file.

    Raises:
        UserError: there are none, or one does not say whether it is a thing.
    """
    ids = unique_ids(content, "categories", path)
    if not ids:
        raise UserError('the list "categories" is empty', where=path, mend="list at least one category there")
    things = []
    for index, entry in enumerate(content["categories"]):
        where = f"{path}: categories[{index}]"
        value_at(entry, "isthing", where)
        things.append(flag_at(entry, "isthing", where))
    names = tuple(str(entry.get("name", entry["id"])) for entry in content["categories"])
    return PanopticClasses(names, tuple(ids), tuple(things))


def read_ids(path: Path) -> Int64[np.ndarray, "height width"]:
    """The segment ids that a panoptic PNG stores as colours: red + 256 green + 65536 blue.

    Raises:
        UserError: there is no such file, or it is not a picture of colours.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode not in ("RGB", "RGBA"):
                mend = "write ids as colours: red + 256 green + 65536 blue"
                raise UserError(f"this picture has no colours (mode {picture.mode})", where=path, mend=mend)
            colours = np.asarray(picture.convert("RGB"), dtype=np.int64)
    except FileNotFoundError:
        raise UserError("there is no such picture of segments", where=path, mend="check the folder") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"cannot be read: {error}", where=path, mend="write the file again") from None
    return colours @ np.array([1, 256, 256**2])


def _folder(folder: Path | None, path: Path, option: str) -> Path:
    folder = default_folder(path) if folder is None else Path(folder)
    if path.is_file() and not folder.is_dir():
        raise UserError("there is no such folder of PNG files", where=folder, mend=f"name it with {option}")
    return folder


def _annotations(content: Any, path: Path, expected: str) -> dict[int, tuple[str, dict[str, Any]]]:
    """Where each picture's annotation is, and the annotation."""
    if not isinstance(content, dict):
        raise UserError("this is not a COCO panoptic file", where=path, mend=expected)
    entries: dict[int, tuple[str, dict[str, Any]]] = {}
    for index, entry in enumerate(list_at(content, "annotations", path, mend=expected)):
        where = f"{path}: annotations[{index}]"
        need_object(entry, where)
        image_id = whole_number_at(entry, "image_id", where)
        if image_id in entries:
            raise UserError(f"the picture {image_id} comes twice", where=where, mend="give each picture one annotation")
        entries[image_id] = (where, entry)
    return entries


def _check_names(truth: Mapping[str, Any], found: Mapping[str, Any], path: Path) -> None:
    """Refuse results that give an id to another picture than the ground truth does, where both name their pictures."""
    there, here = _names(truth), _names(found)
    for image_id, name in here.items():
        if there.get(image_id, name) != name:
            raise UserError(
                f"picture {image_id} is {name!r} here, but {there[image_id]!r} in the ground truth",
                where=path,
                mend="number pictures as the ground truth does, or measure the model with --model and --data",
            )


def _names(content: Mapping[str, Any]) -> dict[int, str]:
    """The file name of each picture, without folder and suffix, as far as the JSON tells."""
    images = content.get("images")
    return {
        entry["id"]: Path(entry["file_name"]).stem
        for entry in (images if isinstance(images, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("id"), int) and isinstance(entry.get("file_name"), str)
    }


def _read_map(entry: Mapping[str, Any], where: str, folder: Path, classes: PanopticClasses) -> PanopticMap:
    labels = {category_id: label for label, category_id in enumerate(classes.category_ids)}
    name = value_at(entry, "file_name", where)
    if not isinstance(name, str):
        raise UserError('"file_name" is not a text', where=where, mend="name the PNG file")
    ids, of, crowd = [], [], []
    for index, segment in enumerate(list_at(entry, "segments_info", where)):
        at = f"{where}: segments_info[{index}]"
        need_object(segment, at)
        ids.append(whole_number_at(segment, "id", at))
        of.append(known_at(segment, "category_id", labels, at, "categories of the ground truth"))
        crowd.append(flag_at(segment, "iscrowd", at))
    file = folder / name
    return PanopticMap(
        ids=read_ids(file),
        segment_ids=np.array(ids, dtype=np.int64),
        labels=np.array(of, dtype=np.int64),
        crowd=np.array(crowd, dtype=bool),
        name=str(file),
    )
