"""The twelve COCO numbers of boxes or masks, and AP per class, by faster-coco-eval (the official algorithm in C++)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from faster_coco_eval import COCO
from faster_coco_eval.core import mask as coco_mask
from faster_coco_eval.core.faster_eval_api import COCOeval_faster
from jaxtyping import Float64

from sleuth.errors import UserError
from sleuth.evaluation.columns import GroundTruth, Predictions
from sleuth.evaluation.result_files import read_files

Kind = Literal["boxes", "masks"]
"""What overlaps: boxes, or masks pixel by pixel."""

MAX_DETECTIONS = 100
"""Predictions that are looked at for each picture and class, the best first, as COCO has it."""


def numbers_of(max_detections: int = MAX_DETECTIONS) -> Mapping[str, str]:
    """The twelve numbers in COCO's order, each with what it means.

    >>> list(numbers_of(300))[:9]
    ['AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR1', 'AR10', 'AR300']
    """
    return {
        "AP": "mean over IoU 0.50 to 0.95",
        "AP50": "at IoU 0.50",
        "AP75": "at IoU 0.75",
        "APs": "small objects, area below 32 x 32 px",
        "APm": "medium objects, between the two",
        "APl": "large objects, area above 96 x 96 px",
        "AR1": "recall with 1 prediction a picture",
        "AR10": "recall with 10 predictions a picture",
        f"AR{max_detections}": f"recall with {max_detections} predictions a picture",
        "ARs": "recall of small objects",
        "ARm": "recall of medium objects",
        "ARl": "recall of large objects",
    }


RECALL = np.linspace(0.0, 1.0, 101)
"""The recalls at which COCO reads the precision."""

IOUS = np.linspace(0.5, 0.95, 10)
"""The overlaps that COCO averages over."""


@dataclass(frozen=True)
class ClassScores:
    """How well one class is found; None where the ground truth has no such object.

    Args:
        name: of the class.
        category_id: the data set's own id of the class.
        objects: in the ground truth, crowds left out.
        predictions: of this class, of any score.
        ap: mean over IoU 0.50 to 0.95.
        ap50: at IoU 0.50.
        ap75: at IoU 0.75.
        ar: recall with as many predictions a picture as are looked at, mean over IoU 0.50 to 0.95.
    """

    name: str
    category_id: int
    objects: int
    predictions: int
    ap: float | None
    ap50: float | None
    ap75: float | None
    ar: float | None


@dataclass(frozen=True, eq=False)
class CocoScores:
    """The twelve COCO numbers of a set of predictions, 0 to 1.

    A number is None where the ground truth has no object that it could be measured on (the official tool prints -1):
    a data set without small objects has no APs. Without any prediction the numbers are 0.

    Args:
        numbers: by name, in the order of `numbers_of`.
        per_class: in the order of the labels.
        precision: at the recalls of `RECALL`, for each IoU of `IOUS` and class; NaN for a class without objects.
        threshold: the score at which that recall is reached; 0 where it never is, NaN for a class without objects.
        kind: what overlaps.
        max_detections: predictions looked at for each picture and class, the best first.
        objects_per_size: how many small, medium and large objects were measured on.
    """

    numbers: Mapping[str, float | None]
    per_class: tuple[ClassScores, ...]
    precision: Float64[np.ndarray, "ious recalls classes"]
    threshold: Float64[np.ndarray, "ious recalls classes"]
    kind: Kind = "boxes"
    max_detections: int = MAX_DETECTIONS
    objects_per_size: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float | None:
        """One of the twelve by its name, such as ``AP50``."""
        return self.numbers[name]

    @property
    def measured(self) -> dict[str, float]:
        """The numbers that could be measured, without the others."""
        return {name: value for name, value in self.numbers.items() if value is not None}


def evaluate_files(
    ground_truth: Path, predictions: Path, *, kind: Kind = "boxes", max_detections: int = MAX_DETECTIONS
) -> CocoScores:
    """The COCO numbers of a result file, as the official tool computes them.

    Args:
        ground_truth: COCO annotations: a JSON object with images, annotations and categories.
        predictions: COCO results: a JSON list of image_id, category_id, score and bbox or segmentation; or an object
            whose "annotations" are such a list.
        kind: what overlaps: boxes or masks.
        max_detections: predictions looked at for each picture and class.

    Raises:
        UserError: a file that cannot be read or does not fit; the message names the entry.
    """
    truth, found = read_files(ground_truth, predictions)
    if kind == "masks" and (truth.masks is None or found.masks is None):
        lacking = predictions if found.masks is None else ground_truth
        raise UserError("there are no masks", where=lacking, mend='give each entry its "segmentation"')
    return evaluate_predictions(truth, found, kind=kind, max_detections=max_detections)


def evaluate_predictions(
    truth: GroundTruth, predictions: Predictions, *, kind: Kind = "boxes", max_detections: int = MAX_DETECTIONS
) -> CocoScores:
    """The COCO numbers of predictions in memory. Predictions that are not finite count as not made.

    Args:
        truth: the objects; their areas decide between small, medium and large, whatever overlaps.
        predictions: what was found. Of boxes the box's area decides, of masks the mask's.
        kind: what overlaps; both sides need masks for masks.
        max_detections: predictions looked at for each picture and class, the best first; COCO has 100.

    Raises:
        UserError: fewer than 10 predictions are to be looked at.

    Source: Lin et al. 2014; https://cocodataset.org/#detection-eval.
    """
    if max_detections < 10:
        raise UserError(f"{max_detections} detections a picture are too few", mend="choose 10 or more")
    predictions = predictions.finite()
    precision, recall, threshold = _accumulate(truth, predictions, kind, max_detections)
    numbers = (
        _mean(precision[..., 0, 2]),
        _mean(precision[0, ..., 0, 2]),
        _mean(precision[5, ..., 0, 2]),
        *(_mean(precision[..., size, 2]) for size in (1, 2, 3)),
        # With 10 at most, the second and the third recall are one number.
        *(_mean(recall[..., 0, most]) for most in ((0, 1) if max_detections == 10 else (0, 1, 2))),
        *(_mean(recall[..., size, 2]) for size in (1, 2, 3)),
    )
    found = np.bincount(predictions.labels, minlength=len(truth.names))
    objects = truth.objects_per_class()
    per_class = tuple(
        ClassScores(
            name=name,
            category_id=truth.category_ids[label],
            objects=int(objects[label]),
            predictions=int(found[label]),
            ap=_mean(precision[:, :, label, 0, 2]),
            ap50=_mean(precision[0, :, label, 0, 2]),
            ap75=_mean(precision[5, :, label, 0, 2]),
            ar=_mean(recall[:, label, 0, 2]),
        )
        for label, name in enumerate(truth.names)
    )
    curves, at = precision[..., 0, 2], threshold[..., 0, 2]
    return CocoScores(
        numbers=dict(zip(numbers_of(max_detections), numbers, strict=True)),
        per_class=per_class,
        precision=np.where(curves < 0, np.nan, curves),
        threshold=np.where(curves < 0, np.nan, at),
        kind=kind,
        max_detections=max_detections,
        objects_per_size=truth.objects_per_size(),
    )


def _accumulate(
    truth: GroundTruth, predictions: Predictions, kind: Kind, max_detections: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision and score [iou, recall, class, size, most] and recall [iou, class, size, most]; -1 for no objects."""
    classes = len(truth.names)
    if not classes or not truth.image_ids:
        none = np.full((len(IOUS), len(RECALL), classes, 4, 3), -1.0)
        return none, none[:, 0], none
    # Ids from 1 on: an annotation of id 0 would be taken for "no match". Pictures are numbered in the order of their
    # own ids, which decides between predictions of equal score.
    numbers = np.argsort(np.argsort(truth.image_ids, kind="stable"), kind="stable") + 1
    sizes: Sequence[tuple[int, int]] = truth.sizes_hw or [(0, 0)] * len(numbers)
    images = [
        {"id": number, "height": height, "width": width}
        for number, (height, width) in zip(numbers.tolist(), sizes, strict=True)
    ]
    content = {
        "images": sorted(images, key=lambda image: image["id"]),
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(truth.names)],
    }
    objects, found = _entries(truth, numbers), _entries(predictions, numbers)
    for entry, area, crowd in zip(objects, truth.areas.tolist(), truth.crowd.tolist(), strict=True):
        entry |= {"area": area, "iscrowd": int(crowd)}
    for entry, score in zip(found, predictions.scores.tolist(), strict=True):
        entry |= {"area": entry["bbox"][2] * entry["bbox"][3], "iscrowd": 0, "score": score}
    if kind == "masks":
        _add_masks(objects, truth, truth.sizes_hw)
        _add_masks(found, predictions, truth.sizes_hw)
        for entry in found:
            entry["area"] = float(coco_mask.area(entry["segmentation"]))
    run = COCOeval_faster(
        COCO(content | {"annotations": objects}, print_function=_silence),
        COCO(content | {"annotations": found}, print_function=_silence),
        iouType="bbox" if kind == "boxes" else "segm",
        print_function=_silence,
    )
    run.params.maxDets = [1, 10, max_detections]
    run.evaluate()
    run.accumulate()
    return tuple(np.asarray(run.eval[key], dtype=np.float64) for key in ("precision", "recall", "scores"))  # type: ignore[return-value]


def _entries(rows: GroundTruth | Predictions, numbers: np.ndarray) -> list[dict[str, Any]]:
    """What objects and predictions have in common, as COCO's annotations."""
    columns = (numbers[rows.pictures].tolist(), rows.labels.tolist(), rows.boxes_xywh_px.tolist())
    return [
        {"id": row, "image_id": number, "category_id": label + 1, "bbox": box}
        for row, (number, label, box) in enumerate(zip(*columns, strict=True), start=1)
    ]


def _add_masks(
    entries: list[dict[str, Any]], rows: GroundTruth | Predictions, sizes_hw: Sequence[tuple[int, int]]
) -> None:
    assert rows.masks is not None
    for entry, picture, counts in zip(entries, rows.pictures.tolist(), rows.masks, strict=True):
        entry["segmentation"] = {"size": list(sizes_hw[picture]), "counts": counts}


def _mean(values: np.ndarray) -> float | None:
    """The mean of what could be measured, None if nothing could."""
    measured = values[values > -1]
    return float(measured.mean()) if len(measured) else None


def _silence(*_: object) -> None:
    """The evaluator's own printing goes nowhere."""
