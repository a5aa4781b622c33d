"""COCO annotation and result files: read with every fault named by file and entry, and written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco_mask

from sleuth.data.formats.segmentation import parse_segmentation
from sleuth.data.masks import CodedMasks
from sleuth.errors import UserError
from sleuth.evaluation.columns import GroundTruth, Predictions, mask_column
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
    value_at,
    whole_number_at,
)
from sleuth.files import atomic_write

_RESULTS = 'a COCO result file is a JSON list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}'


def read_files(ground_truth: Path, predictions: Path) -> tuple[GroundTruth, Predictions]:
    """Read annotations and results, with their masks where both files have them.

    Args:
        ground_truth: COCO annotations.
        predictions: COCO results.

    Raises:
        UserError: a fault of a file; the message names the entry and what to do.
    """
    ground_truth, predictions = Path(ground_truth), Path(predictions)
    content, results = read_json(ground_truth), read_json(predictions)
    entries = results.get("annotations") if isinstance(results, dict) else results
    masks = isinstance(entries, list) and any(isinstance(entry, dict) and "segmentation" in entry for entry in entries)
    truth = _ground_truth(content, ground_truth, masks)
    return truth, _predictions(results, predictions, truth)


def read_ground_truth(path: Path, *, masks: bool = False) -> GroundTruth:
    """Read the objects of a COCO annotation file.

    Args:
        path: JSON with images, annotations and categories. An annotation without "area" takes its mask's
            or box's, one without "iscrowd" is no crowd.
        masks: read the "segmentation" too, if any annotation has it; then all must.

    Raises:
        UserError: a fault of the file; the message names the entry and what to do.
    """
    return _ground_truth(read_json(Path(path)), Path(path), masks)


def _ground_truth(content: Any, path: Path, masks: bool) -> GroundTruth:
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
    annotations = list_at(content, "annotations", path)
    masks = masks and any(isinstance(entry, dict) and entry.get("segmentation") for entry in annotations)
    sizes_hw = _sizes(content["images"], path) if masks else ()
    pictures, classes, boxes, areas, crowd, counts = [], [], [], [], [], []
    for index, entry in enumerate(annotations):
        where = f"{path}: annotations[{index}]"
        need_object(entry, where)
        pictures.append(known_at(entry, "image_id", rows, where, "images"))
        classes.append(known_at(entry, "category_id", labels, where, "categories"))
        box = box_at(entry, where)
        boxes.append(box)
        area = box[2] * box[3]
        if masks:
            counts.append(_mask_at(entry, sizes_hw[pictures[-1]], where))
            area = float(coco_mask.area({"size": list(sizes_hw[pictures[-1]]), "counts": counts[-1]}))
        areas.append(number_at(entry, "area", where) if entry.get("area") is not None else area)
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
        masks=mask_column(counts) if masks else None,
        sizes_hw=sizes_hw,
    )


def read_predictions(path: Path, truth: GroundTruth) -> Predictions:
    """Read a COCO result file against the ground truth that it answers.

    Args:
        path: a JSON list of results, or an object whose "annotations" are results. An empty list is no fault.
        truth: the ground truth, which says which picture and category ids there are. Where it has masks and a result
            has a "segmentation", all results need it; one without "bbox" takes the box around its mask.

    Raises:
        UserError: a fault of the file; the message names the entry and what to do.
    """
    return _predictions(read_json(Path(path)), Path(path), truth)


def _predictions(content: Any, path: Path, truth: GroundTruth) -> Predictions:
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
    masks = truth.masks is not None and any(isinstance(entry, dict) and "segmentation" in entry for entry in content)
    pictures, classes, boxes, scores, counts = [], [], [], [], []
    for index, entry in enumerate(content):
        where = f"{path}: {where_list}[{index}]" if where_list else f"{path}: entry {index}"
        need_object(entry, where)
        pictures.append(known_at(entry, "image_id", rows, where, "images of the ground truth"))
        classes.append(known_at(entry, "category_id", labels, where, "categories of the ground truth"))
        if masks:
            size_hw = truth.sizes_hw[pictures[-1]]
            counts.append(_mask_at(entry, size_hw, where))
            if "bbox" not in entry:
                entry = entry | {"bbox": coco_mask.toBbox({"size": list(size_hw), "counts": counts[-1]}).tolist()}
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
        masks=mask_column(counts) if masks else None,
    )


def to_results(truth: GroundTruth, predictions: Predictions) -> list[dict[str, Any]]:
    """Predictions as COCO results, with the data set's own picture and category ids, and masks if they have any."""
    columns = zip(
        predictions.pictures.tolist(),
        predictions.labels.tolist(),
        predictions.boxes_xywh_px.tolist(),
        predictions.scores.tolist(),
        strict=True,
    )
    results: list[dict[str, Any]] = [
        {
            "image_id": truth.image_ids[picture],
            "category_id": truth.category_ids[label],
            "bbox": box,
            "score": score,
        }
        for picture, label, box, score in columns
    ]
    if predictions.masks is not None:
        for entry, picture, counts in zip(results, predictions.pictures.tolist(), predictions.masks, strict=True):
            entry["segmentation"] = {"size": list(truth.sizes_hw[picture]), "counts": counts.decode("ascii")}
    return results


def write_results(path: Path, truth: GroundTruth, predictions: Predictions) -> Path:
    """Write predictions as a COCO result file, which `read_predictions` and the official tool read."""
    with atomic_write(path) as temporary:
        text = json.dumps(to_results(truth, predictions.finite()), allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def _sizes(images: list[dict[str, Any]], path: Path) -> tuple[tuple[int, int], ...]:
    sizes = []
    for index, entry in enumerate(images):
        where = f"{path}: images[{index}]"
        height, width = whole_number_at(entry, "height", where), whole_number_at(entry, "width", where)
        if height < 1 or width < 1:
            raise UserError(f"the picture is {width}x{height}", where=where, mend="give its width and height in pixels")
        sizes.append((height, width))
    return tuple(sizes)


def _mask_at(entry: Mapping[str, Any], size_hw: tuple[int, int], where: str) -> bytes:
    """The mask of an entry as compressed run lengths."""
    code, faults = parse_segmentation(value_at(entry, "segmentation", where), size_hw)
    if code is None:
        what = "; ".join(fault.what for fault in faults)
        raise UserError(f'"segmentation": {what}', where=where, mend="write it as polygons or as run lengths")
    return CodedMasks((code,), size_hw).packed().counts[0]
