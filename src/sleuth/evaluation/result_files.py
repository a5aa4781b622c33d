"""COCO annotation and result files: read with every fault named by file and entry, and written."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from sleuth.errors import UserError
from sleuth.evaluation.columns import GroundTruth, Predictions
from sleuth.evaluation.json_files import (
    TRUTH,
    box_at,
    flag_at,
    known_at,
    list_at,
    need_object,
    number_at,
    read_json,
    unique_ids,
)
from sleuth.files import atomic_write

_RESULTS = 'a COCO result file is a JSON list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}'


def read_ground_truth(path: Path) -> GroundTruth:
    """Read the objects of a COCO annotation file.

    Args:
        path: JSON with images, annotations and categories. An annotation without "area" takes its box's, one
            without "iscrowd" is no crowd.

    Raises:
        UserError: a fault of the file; the message names the entry and what to do.
    """
    path = Path(path)
    content = read_json(path)
    if not isinstance(content, dict):
        swapped = isinstance(content, list) and bool(content) and isinstance(content[0], dict) and "score" in content[0]
        mend = "these are predictions: are the two files swapped?" if swapped else TRUTH
        raise UserError("this is not a COCO annotation file", where=path, mend=mend)
    image_ids = unique_ids(content, "images", path)
    categories = unique_ids(content, "categories", path)
    if not categories:
        raise UserError('the list "categories" is empty', where=path, mend="list at least one category there")
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    labels = {category_id: label for label, category_id in enumerate(categories)}
    names = tuple(str(entry.get("name", entry["id"])) for entry in content["categories"])
    pictures, classes, boxes, areas, crowd = [], [], [], [], []
    for index, entry in enumerate(list_at(content, "annotations", path)):
        where = f"{path}: annotations[{index}]"
        need_object(entry, where)
        pictures.append(known_at(entry, "image_id", rows, where, "images"))
        classes.append(known_at(entry, "category_id", labels, where, "categories"))
        box = box_at(entry, where)
        boxes.append(box)
        areas.append(number_at(entry, "area", where) if entry.get("area") is not None else box[2] * box[3])
        crowd.append(flag_at(entry, "iscrowd", where))
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
    content = read_json(path)
    where_list = "annotations" if isinstance(content, dict) else ""
    if isinstance(content, dict):
        content = list_at(content, "annotations", path, mend=_RESULTS)
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
        need_object(entry, where)
        pictures.append(known_at(entry, "image_id", rows, where, "images of the ground truth"))
        classes.append(known_at(entry, "category_id", labels, where, "categories of the ground truth"))
        boxes.append(box_at(entry, where))
        if "score" not in entry:
            mend = "give every prediction its score; is this a file of ground truth?"
            raise UserError('the key "score" is missing', where=where, mend=mend)
        scores.append(number_at(entry, "score", where))
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
