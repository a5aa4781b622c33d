"""The twelve COCO numbers, and AP per class, through faster-coco-eval (the official algorithm in C++)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from faster_coco_eval import COCO
from faster_coco_eval.core.faster_eval_api import COCOeval_faster
from jaxtyping import Float64

from sleuth.evaluation.columns import GroundTruth, Predictions
from sleuth.evaluation.result_files import read_ground_truth, read_predictions

NUMBERS: Mapping[str, str] = {
    "AP": "mean over IoU 0.50 to 0.95",
    "AP50": "at IoU 0.50",
    "AP75": "at IoU 0.75",
    "APs": "small objects, area below 32 x 32 px",
    "APm": "medium objects, between the two",
    "APl": "large objects, area above 96 x 96 px",
    "AR1": "recall with 1 prediction a picture",
    "AR10": "recall with 10 predictions a picture",
    "AR100": "recall with 100 predictions a picture",
    "ARs": "recall of small objects",
    "ARm": "recall of medium objects",
    "ARl": "recall of large objects",
}
"""The twelve numbers in COCO's order, each with what it means."""

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
        ar100: recall with 100 predictions a picture, mean over IoU 0.50 to 0.95.
    """

    name: str
    category_id: int
    objects: int
    predictions: int
    ap: float | None
    ap50: float | None
    ap75: float | None
    ar100: float | None


@dataclass(frozen=True, eq=False)
class CocoScores:
    """The twelve COCO numbers of a set of predictions, 0 to 1.

    A number is None where the ground truth has no object that it could be measured on (the official tool prints -1):
    a data set without small objects has no APs. Without any prediction the numbers are 0.

    Args:
        numbers: by name, in the order of `NUMBERS`.
        per_class: in the order of the labels.
        precision: at the recalls of `RECALL`, for each IoU of `IOUS` and class; NaN for a class without objects.
        threshold: the score at which that recall is reached; 0 where it never is, NaN for a class without objects.
    """

    numbers: Mapping[str, float | None]
    per_class: tuple[ClassScores, ...]
    precision: Float64[np.ndarray, "ious recalls classes"]
    threshold: Float64[np.ndarray, "ious recalls classes"]

    def __getitem__(self, name: str) -> float | None:
        """One of the twelve by its name, such as ``AP50``."""
        return self.numbers[name]

    @property
    def measured(self) -> dict[str, float]:
        """The numbers that could be measured, without the others."""
        return {name: value for name, value in self.numbers.items() if value is not None}


def evaluate_files(ground_truth: Path, predictions: Path) -> CocoScores:
    """The COCO numbers of a result file, as the official tool computes them.

    Args:
        ground_truth: COCO annotations: a JSON object with images, annotations and categories.
        predictions: COCO results: a JSON list of image_id, category_id, bbox and score; or an object whose
            "annotations" are such a list.

    Raises:
        UserError: a file that cannot be read or does not fit; the message names the entry.
    """
    truth = read_ground_truth(ground_truth)
    return evaluate_predictions(truth, read_predictions(predictions, truth))


def evaluate_predictions(truth: GroundTruth, predictions: Predictions) -> CocoScores:
    """The COCO numbers of predictions in memory. Predictions that are not finite count as not made.

    At most 100 predictions a picture and class are looked at, the best first, as COCO has it.

    Source: Lin et al. 2014; https://cocodataset.org/#detection-eval.
    """
    predictions = predictions.finite()
    precision, recall, threshold = _accumulate(truth, predictions)
    numbers = (
        _mean(precision[..., 0, 2]),
        _mean(precision[0, ..., 0, 2]),
        _mean(precision[5, ..., 0, 2]),
        *(_mean(precision[..., size, 2]) for size in (1, 2, 3)),
        *(_mean(recall[..., 0, most]) for most in (0, 1, 2)),
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
            ar100=_mean(recall[:, label, 0, 2]),
        )
        for label, name in enumerate(truth.names)
    )
    curves, at = precision[..., 0, 2], threshold[..., 0, 2]
    return CocoScores(
        numbers=dict(zip(NUMBERS, numbers, strict=True)),
        per_class=per_class,
        precision=np.where(curves < 0, np.nan, curves),
        threshold=np.where(curves < 0, np.nan, at),
    )


def _accumulate(truth: GroundTruth, predictions: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision and score [iou, recall, class, size, most] and recall [iou, class, size, most]; -1 for no objects."""
    classes = len(truth.names)
    if not classes or not truth.image_ids:
        none = np.full((len(IOUS), len(RECALL), classes, 4, 3), -1.0)
        return none, none[:, 0], none
    # Ids from 1 on: an annotation of id 0 would be taken for "no match". Pictures are numbered in the order of their
    # own ids, which decides between predictions of equal score.
    numbers = np.argsort(np.argsort(truth.image_ids, kind="stable"), kind="stable") + 1
    images = [{"id": number} for number in range(1, len(numbers) + 1)]
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(truth.names)]
    objects = [
        {"id": row + 1, "image_id": number, "category_id": label + 1, "bbox": box, "area": area, "iscrowd": crowd}
        for row, (number, label, box, area, crowd) in enumerate(
            zip(
                numbers[truth.pictures].tolist(),
                truth.labels.tolist(),
                truth.boxes_xywh_px.tolist(),
                truth.areas.tolist(),
                truth.crowd.astype(int).tolist(),
                strict=True,
            )
        )
    ]
    found = [
        {
            "id": row + 1,
            "image_id": number,
            "category_id": label + 1,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
            "score": score,
        }
        for row, (number, label, box, score) in enumerate(
            zip(
                numbers[predictions.pictures].tolist(),
                predictions.labels.tolist(),
                predictions.boxes_xywh_px.tolist(),
                predictions.scores.tolist(),
                strict=True,
            )
        )
    ]
    run = COCOeval_faster(
        COCO({"images": images, "categories": categories, "annotations": objects}, print_function=_silence),
        COCO({"images": images, "categories": categories, "annotations": found}, print_function=_silence),
        iouType="bbox",
        print_function=_silence,
    )
    run.evaluate()
    run.accumulate()
    return tuple(np.asarray(run.eval[key], dtype=np.float64) for key in ("precision", "recall", "scores"))  # type: ignore[return-value]


def _mean(values: np.ndarray) -> float | None:
    """The mean of what could be measured, None if nothing could."""
    measured = values[values > -1]
    return float(measured.mean()) if len(measured) else None


def _silence(*_: object) -> None:
    """The evaluator's own printing goes nowhere."""
