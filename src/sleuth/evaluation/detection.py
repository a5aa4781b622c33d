"""Run a model over a data set and measure it: boxes, masks, segments, confusion and, if asked, every layer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sleuth.data.samples import SampleSource
from sleuth.data.source import PictureSource
from sleuth.errors import UserError
from sleuth.evaluation.answers import ask, collect, count_panoptic
from sleuth.evaluation.coco import MAX_DETECTIONS, CocoScores, evaluate_predictions
from sleuth.evaluation.columns import GroundTruth, Predictions, concatenate
from sleuth.evaluation.confusion import ConfusionMatrix, confusion_matrix
from sleuth.evaluation.curves import PrecisionRecall, precision_recall
from sleuth.evaluation.layers import LayerStudy, study_layers
from sleuth.evaluation.panoptic import PanopticCounts, PanopticScores, quality_of
from sleuth.evaluation.pictures import Picture, batches
from sleuth.evaluation.result_files import read_files
from sleuth.evaluation.tiled import find_on_tiles
from sleuth.evaluation.truth import truth_of_data, truth_of_samples
from sleuth.geometry.tiles import Tiling
from sleuth.tasks.preprocess import Preprocess
from sleuth.tasks.segmentation import PAPER_RULE, PanopticRule
from sleuth.types.predictions import SetPrediction


@dataclass(frozen=True, eq=False)
class DetectionEvaluation:
    """Everything measured about a set of predictions.

    Args:
        truth: the objects.
        predictions: what was found, with the labels of ``truth``; not finite ones are left out.
        scores: the twelve COCO numbers of boxes, and AP per class.
        confusion: at IoU 0.5 and one score threshold.
        layers: the study of the decoder layers, if it was asked for.
        not_finite: predictions left out because a box or score was not a number.
        unknown_class: predictions left out because the data does not have the model's class.
        masks: the twelve COCO numbers of masks, where both sides have masks.
        panoptic: panoptic quality, where it was measured.
    """

    truth: GroundTruth
    predictions: Predictions
    scores: CocoScores
    confusion: ConfusionMatrix
    layers: LayerStudy | None = None
    not_finite: int = 0
    unknown_class: int = 0
    masks: CocoScores | None = None
    panoptic: PanopticScores | None = None

    @property
    def numbers(self) -> dict[str, float]:
        """Every number that could be measured, by name: AP, then ``mask AP`` and PQ where there are such.

        Any of them may be what a training keeps its best weights by.
        """
        numbers = dict(self.scores.numbers)
        if self.masks is not None:
            numbers |= {f"mask {name}": value for name, value in self.masks.numbers.items()}
        if self.panoptic is not None:
            numbers |= self.panoptic.numbers
        return {name: value for name, value in numbers.items() if value is not None}

    def curves(self, iou: float = 0.5) -> PrecisionRecall:
        """Precision against recall at one overlap: 0.50, 0.55, ... 0.95."""
        return precision_recall(self.scores, iou)

    def to_json(self) -> dict[str, Any]:
        """All numbers as plain values; null where there is nothing to measure."""
        return {
            "pictures": len(self.truth.image_ids),
            "objects": self.truth.num_objects,
            "objects_per_size": self.truth.objects_per_size(),
            "crowds": int(self.truth.crowd.sum()),
            "predictions": len(self.predictions),
            "predictions_not_finite": self.not_finite,
            "predictions_of_unknown_class": self.unknown_class,
            "max_detections": self.scores.max_detections,
            "scores": dict(self.scores.numbers),
            "per_class": [asdict(entry) for entry in self.scores.per_class],
            "masks": None if self.masks is None else _as_json(self.masks),
            "panoptic": None if self.panoptic is None else self.panoptic.to_json(),
            "confusion": self.confusion.to_json(),
            "layers": None if self.layers is None else self.layers.to_json(),
        }


def _as_json(scores: CocoScores) -> dict[str, Any]:
    return {"scores": dict(scores.numbers), "per_class": [asdict(entry) for entry in scores.per_class]}


def evaluate_result_files(
    ground_truth: Path, predictions: Path, *, threshold: float = 0.5, max_detections: int = MAX_DETECTIONS
) -> DetectionEvaluation:
    """Measure a COCO result file of any detector; masks as well, where both files have them.

    Args:
        ground_truth: COCO annotations.
        predictions: COCO results.
        threshold: least score of a prediction in the confusion matrix.
        max_detections: predictions looked at for each picture and class, the best first.

    Raises:
        UserError: a file that cannot be read or does not fit; the message names the entry.
    """
    truth, found = read_files(ground_truth, predictions)
    return measure(truth, found, threshold=threshold, max_detections=max_detections)


def measure(
    truth: GroundTruth,
    predictions: Predictions,
    *,
    threshold: float = 0.5,
    max_detections: int = MAX_DETECTIONS,
) -> DetectionEvaluation:
    """Measure predictions in memory: scores of boxes and, if there are any, of masks; curves and confusion."""
    finite = predictions.finite()
    masks = truth.masks is not None and finite.masks is not None
    return DetectionEvaluation(
        truth=truth,
        predictions=finite,
        scores=evaluate_predictions(truth, finite, max_detections=max_detections),
        masks=evaluate_predictions(truth, finite, kind="masks", max_detections=max_detections) if masks else None,
        confusion=confusion_matrix(truth, finite, threshold=threshold),
        not_finite=len(predictions) - len(finite),
    )


def evaluate_model(
    model: nn.Module,
    source: SampleSource,
    preprocess: Preprocess,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 4,
    layers: bool = False,
    panoptic: bool | None = None,
    model_names: Sequence[str] | None = None,
    threshold: float = 0.5,
    max_detections: int = MAX_DETECTIONS,
    panoptic_rule: PanopticRule = PAPER_RULE,
    tiling: Tiling | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DetectionEvaluation:
    """Run a model over every picture of a source and measure what it finds.

    Masks are measured where the source serves masks and the model has a mask head.

    Args:
        model: takes an `ImageBatch`, gives a `SetPrediction`; its modes of training are as before afterwards.
        source: the pictures with their objects; crowds of a data set in files stay in the ground truth.
        preprocess: how pictures become the model's input.
        device: where the model runs; it is moved there.
        batch_size: pictures at a time; those of a batch have one shape, so that none is padded for another's sake.
        layers: measure the boxes of every decoder layer as well, with and without suppression.
        panoptic: measure panoptic quality; by default where masks are measured and the source has stuff.
        model_names: the model's classes, by label, where they are not the source's. Classes are then matched by name;
            predictions of a class that the source lacks are left out and counted.
        threshold: least score of a prediction in the confusion matrix.
        max_detections: predictions kept of each picture, the best first.
        panoptic_rule: how the model's answers part a picture.
        tiling: see large pictures tile by tile too; only boxes are then measured, and no layers.
        progress: called with the number of pictures done and of all.

    Raises:
        UserError: the classes of the model do not fit those of the data, a picture cannot be read, panoptic quality
            is asked for without masks, or more than boxes is asked of tiles.
    """
    label_of = _match_classes(source, model_names)
    if tiling is not None:
        if layers or panoptic:
            what = "AP of every layer" if layers else "panoptic quality"
            raise UserError(f"{what} is not measured on tiles", where="tile", mend="ask for one of them")
        model = model.to(device)
        with _evaluating(model):
            on_tiles = find_on_tiles(
                model, source, preprocess, tiling, batch_size=batch_size, most=max_detections, progress=progress
            )
        truth = _truth(source, [picture for picture, _ in on_tiles])
        found = concatenate([each for _, each in on_tiles])
        _check_known(found.labels, model_names or source.names)
        known = _relabel(found, label_of)
        scored = measure(truth, known, threshold=threshold, max_detections=max_detections)
        return replace(scored, unknown_class=len(found) - len(known))
    is_thing = tuple(source.is_thing)
    want_panoptic = not all(is_thing) if panoptic is None else panoptic
    seen: list[Picture] = []
    answers: list[tuple[Predictions, ...]] = []
    counts, counted = PanopticCounts.none(len(is_thing)), 0
    asked = 0
    model = model.to(device)
    with _evaluating(model), closing(batches(source, preprocess, batch_size, panoptic=want_panoptic)) as of_one_shape:
        for pictures, images in of_one_shape:
            said = ask(model, images, device)
            prediction = said.at_hand
            _check_class_count(prediction, model_names or source.names)
            masks = prediction.masks is not None and pictures[0].masks is not None
            if panoptic and not masks:
                _refuse_panoptic(prediction)
            last = collect(said, pictures, layer=-1, most=max_detections, masks=masks)
            # Every query was asked; of a dense detector's points, those count that suppression leaves.
            each = min(prediction.logits.shape[2], max_detections)
            asked += len(pictures) * each if prediction.suppression is None else sum(map(len, last))
            earlier = [
                collect(said, pictures, layer=layer, most=max_detections, masks=False)
                for layer in range(len(prediction.logits) - 1 if layers else 0)
            ]
            answers += zip(*earlier, last, strict=True)
            if masks and want_panoptic:
                counts += count_panoptic(said, pictures, label_of=label_of, is_thing=is_thing, rule=panoptic_rule)
                counted += len(pictures)
            seen += [replace(picture, panoptic=None) for picture in pictures]
            if progress is not None:
                progress(len(seen), len(source))
    order = np.argsort([picture.index for picture in seen])
    truth = _truth(source, [seen[row] for row in order])
    per_layer = [
        _relabel(concatenate(parts), label_of) for parts in zip(*(answers[row] for row in order), strict=True)
    ] or [Predictions()]
    made = sum(len(each[-1]) for each in answers)
    return replace(
        measure(truth, per_layer[-1], threshold=threshold, max_detections=max_detections),
        layers=study_layers(truth, per_layer) if layers else None,
        panoptic=_panoptic_scores(counts, source, counted) if counted else None,
        not_finite=asked - made,
        unknown_class=made - len(per_layer[-1]),
    )


def _truth(source: SampleSource, pictures: Sequence[Picture]) -> GroundTruth:
    masks = [picture.masks for picture in pictures if picture.masks is not None]
    packed = masks if masks and len(masks) == len(pictures) else None
    if isinstance(source, PictureSource):
        return truth_of_data(source.data, packed)
    return truth_of_samples(source, [picture.sample for picture in pictures], packed)


def _panoptic_scores(counts: PanopticCounts, source: SampleSource, pictures: int) -> PanopticScores:
    return quality_of(
        counts,
        names=source.names,
        category_ids=source.category_ids,
        is_thing=source.is_thing,
        pictures=pictures,
    )


def _refuse_panoptic(prediction: SetPrediction) -> None:
    if prediction.masks is None:
        raise UserError("the model has no masks, so there is no panoptic quality", mend="choose a model with masks")
    raise UserError(
        "the data was read without masks, so there is no panoptic quality",
        mend="ask for them with --annotations panoptic or instances",
    )


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and back to the mode of each part, which may differ (a frozen backbone)."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def _match_classes(source: SampleSource, model_names: Sequence[str] | None) -> np.ndarray:
    """The data's label of each class of the model, -1 where the data lacks it."""
    if model_names is None or tuple(model_names) == tuple(source.names):
        return np.arange(len(source.names))
    known = {name: label for label, name in enumerate(source.names)}
    label_of = np.array([known.get(name, -1) for name in model_names], dtype=np.int64)
    if not (label_of >= 0).any():
        raise UserError(
            f"the model and the data have no class in common: {_some(model_names)} against {_some(source.names)}",
            mend="choose a model that was trained on these classes, or name the classes alike",
        )
    return label_of


def _check_class_count(prediction: SetPrediction, names: Sequence[str]) -> None:
    classes = prediction.logits.shape[-1] - (prediction.activation == "softmax")
    if classes != len(names):
        raise UserError(
            f"the model tells {classes} classes apart, but {len(names)} are named: {_some(names)}",
            mend="choose a model that was trained on these classes, or give the model's own class names",
        )


def _check_known(labels: np.ndarray, names: Sequence[str]) -> None:
    if len(labels) and labels.max() >= len(names):
        raise UserError(
            f"the model tells more classes apart than the {len(names)} that are named: {_some(names)}",
            mend="choose a model that was trained on these classes, or give the model's own class names",
        )


def _relabel(predictions: Predictions, label_of: np.ndarray) -> Predictions:
    """Predictions with the data's labels, without those of classes that the data lacks."""
    known = replace(predictions, labels=label_of[predictions.labels])
    return known.take(known.labels >= 0)


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
