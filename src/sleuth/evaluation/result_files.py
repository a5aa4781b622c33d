"""COCO annotation and result files: read with every fault named by file and entry, and written."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sleuth.errors import UserError
from sleuth.evaluation.columns import GroundTruth, Predictions
from sleuth.files import atomic_write

_RESULTS = 'a COCO result file is a JSON list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}'
_TRUTH = 'a COCO annotation file is a JSON object with "images", "annotations" and "categories"'


def read_ground_truth(path: Path) -> GroundTruth:
    """Read the objects of a COCO annotation file.

    Args:
        path: JSON with images, annotations and categories. An annotation without "area" takes its box's, one
            without "iscrowd" is no crowd.

    Raises:
        UserError: a fault of the file; the message names the entry and what to do.
    """
    path = Path(path)
    content = _read_json(path)
    if not isinstance(content, dict):
        swapped = isinstance(content, list) and bool(content) and isinstance(content[0], dict) and "score" in content[0]
        mend = "these are predictions: are the two files swapped?" if swapped else _TRUTH
        raise UserError("this is not a COCO annotation file", where=path, mend=mend)
    image_ids = _unique_ids(content, "images", path)
    categories = _unique_ids(content, "categories", path)
    if not categories:
        raise UserError('the list "categories" is empty', where=path, mend="list at least one category there")
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    labels = {category_id: label for label, category_id in enumerate(categories)}
    names = tuple(str(entry.get("name", entry["id"])) for entry in content["categories"])
    pictures, classes, boxes, areas, crowd = [], [], [], [], []
    for index, entry in enumerate(_list_at(content, "annotations", path)):
        where = f"{path}: annotations[{index}]"
        _need_object(entry, where)
        pictures.append(_known(entry, "image_id", rows, where, "images"))
        classes.append(_known(entry, "category_id", labels, where, "categories"))
        box = _box(entry, where)
        boxes.append(box)
        areas.append(_number(entry, "area", where) if entry.get("area") is not None else box[2] * box[3])
        crowd.append(_flag(entry, "iscrowd", where))
    return GroundTruth(
        image_ids=tuple(image_ids),
        category_ids=tuple(categories),
        names=names,
        pictures=np.array(pictures, dtype=np.int64),
        labels=np.array(classes, dtype=np.int64),
        boxes_xywh_px=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        areas=np.array(areas, dtype=np.float64),
        crowd=np.array(crowd, dtype=bool),
    )


def read_predictions(path: Path, truth: GroundTruth) -> Predictions:
    """Read a COCO result file against the ground truth that it answers.

    Args:
        path: a JSON list of results, or an object whose "annotations" are results. An empty list is no fault.
        truth: the ground truth, which says which picture and category ids there are.

    Raises:
        UserError: a fault of the file; the message names the entry and what to do.
    """
    path = Path(path)
    content = _read_json(path)
    where_list = "annotations" if isinstance(content, dict) else ""
    if isinstance(content, dict):
        content = _list_at(content, "annotations", path, mend=_RESULTS)
    if not isinstance(content, list):
        raise UserError("this is not a COCO result file", where=path, mend=_RESULTS)
    if content and isinstance(content[0], dict) and "detections" in content[0]:
        raise UserError(
            "this is the output of sleuth predict, which names pictures by file and leaves out unsure answers",
            where=path,
            mend="evaluate the predictions.json that sleuth evaluate --model writes",
        )
    rows = {image_id: row for row, image_id in enumerate(truth.image_ids)}
    labels = {category_id: label for label, category_id in enumerate(truth.category_ids)}
    pictures, classes, boxes, scores = [], [], [], []
    for index, entry in enumerate(content):
        where = f"{path}: {where_list}[{index}]" if where_list else f"{path}: entry {index}"
        _need_object(entry, where)
        pictures.append(_known(entry, "image_id", rows, where, "images of the ground truth"))
        classes.append(_known(entry, "category_id", labels, where, "categories of the ground truth"))
        boxes.append(_box(entry, where))
        if "score" not in entry:
            mend = "give every prediction its score; is this a file of ground truth?"
            raise UserError('the key "score" is missing', where=where, mend=mend)
        scores.append(_number(entry, "score", where))
    return Predictions(
        pictures=np.array(pictures, dtype=np.int64),
        labels=np.array(classes, dtype=np.int64),
        boxes_xywh_px=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        scores=np.array(scores, dtype=np.float64),
    )


def to_results(truth: GroundTruth, predictions: Predictions) -> list[dict[str, Any]]:
    """Predictions as COCO results, with the data set's own picture and category ids."""
    columns = zip(
        predictions.pictures.tolist(),
        predictions.labels.tolist(),
        predictions.boxes_xywh_px.tolist(),
        predictions.scores.tolist(),
        strict=True,
    )
    return [
        {
            "image_id": truth.image_ids[picture],
            "category_id": truth.category_ids[label],
            "bbox": box,
            "score": score,
        }
        for picture, label, box, score in columns
    ]


def write_results(path: Path, truth: GroundTruth, predictions: Predictions) -> Path:
    """Write predictions as a COCO result file, which `read_predictions` and the official tool read."""
    with atomic_write(path) as temporary:
        text = json.dumps(to_results(truth, predictions.finite()), allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError("there is no such file", where=path, mend="check the path") from error
    except IsADirectoryError as error:
        raise UserError("this is a folder", where=path, mend="name the JSON file in it") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot be read: {reason}", where=path, mend="check its permissions") from error
    except UnicodeDecodeError as error:
        mend = "write it as JSON in UTF-8"
        raise UserError(f"this is not text in UTF-8 (byte {error.start})", where=path, mend=mend) from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        mend = "write the file again: it may be cut short"
        raise UserError(f"this is not JSON: {error.msg} at {place}", where=path, mend=mend) from error
    except (RecursionError, ValueError) as error:
        raise UserError(
            "this JSON cannot be read", where=path, mend="it is nested too deep or has absurd numbers"
        ) from error


def _list_at(content: Mapping[str, Any], key: str, path: Path, mend: str = _TRUTH) -> list[Any]:
    if key not in content:
        raise UserError(f'the key "{key}" is missing', where=path, mend=mend)
    entries = content[key]
    if not isinstance(entries, list):
        raise UserError(f'"{key}" is not a list', where=path, mend=mend)
    return entries


def _unique_ids(content: Mapping[str, Any], key: str, path: Path) -> list[int]:
    """The ids of all images or categories, in the order of the file."""
    seen: dict[int, int] = {}
    for index, entry in enumerate(_list_at(content, key, path)):
        where = f"{path}: {key}[{index}]"
        _need_object(entry, where)
        own_id = _whole_number(entry, "id", where)
        if own_id in seen:
            what = f"the id {own_id} is that of {key}[{seen[own_id]}] already"
            raise UserError(what, where=where, mend="give each its own id")
        seen[own_id] = index
    return list(seen)


def _need_object(entry: object, where: str) -> None:
    if not isinstance(entry, dict):
        raise UserError("a JSON object is expected here", where=where, mend=f"found {_short(entry)}")


def _value(entry: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in entry:
        mend = f"the entry has only {', '.join(map(str, entry)) or 'nothing'}"
        raise UserError(f'the key "{key}" is missing', where=where, mend=mend)
    return entry[key]


def _number(entry: Mapping[str, Any], key: str, where: str) -> float:
    value = _value(entry, key, where)
    if not _is_number(value):
        raise UserError(f'"{key}" is {_short(value)}', where=where, mend="a finite number is expected")
    return float(value)


def _whole_number(entry: Mapping[str, Any], key: str, where: str) -> int:
    value = _value(entry, key, where)
    if not _is_number(value) or value != int(value) or abs(value) >= 2**63:
        raise UserError(f'"{key}" is {_short(value)}', where=where, mend="a whole number is expected")
    return int(value)


def _flag(entry: Mapping[str, Any], key: str, where: str) -> bool:
    value = entry.get(key) or 0
    if value not in (0, 1):
        raise UserError(f'"{key}" is {_short(value)}', where=where, mend="0 or 1 is expected")
    return bool(value)


def _known(entry: Mapping[str, Any], key: str, known: Mapping[int, int], where: str, place: str) -> int:
    """The row of an id, which must be one of those that the ground truth lists."""
    value = _whole_number(entry, key, where)
    if value not in known:
        mend = f"the known ones are {_some(known)}" if known else f"there are no {place}"
        raise UserError(f'"{key}" is {value}, which is not among the {place}', where=where, mend=mend)
    return known[value]


def _box(entry: Mapping[str, Any], where: str) -> list[float]:
    value = _value(entry, "bbox", where)
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        mend = "four finite numbers are expected: [x, y, width, height] in pixels"
        raise UserError(f'"bbox" is {_short(value)}', where=where, mend=mend)
    if value[2] < 0 or value[3] < 0:
        mend = "give [x, y, width, height], not two corners in disorder"
        raise UserError(f'"bbox" is {_short(value)}, with a negative width or height', where=where, mend=mend)
    return [float(number) for number in value]


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _some(ids: Iterable[int], most: int = 5) -> str:
    shown: Sequence[int] = list(ids)
    return ", ".join(map(str, shown[:most])) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def _short(value: object, most: int = 60) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else text[: most - 3] + "..."
