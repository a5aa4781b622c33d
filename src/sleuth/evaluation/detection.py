"""Run a detector over a data set and measure it: scores, curves, confusion and, if asked, every decoder layer."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sleuth.data.samples import Sample, SampleSource
from sleuth.data.source import PictureSource
from sleuth.errors import UserError
from sleuth.evaluation.coco import CocoScores, evaluate_predictions
from sleuth.evaluation.columns import GroundTruth, Predictions, concatenate
from sleuth.evaluation.confusion import ConfusionMatrix, confusion_matrix
from sleuth.evaluation.curves import PrecisionRecall, precision_recall
from sleuth.evaluation.layers import LayerStudy, study_layers
from sleuth.evaluation.result_files import read_ground_truth, read_predictions
from sleuth.evaluation.truth import to_xywh, truth_of_data, truth_of_samples
from sleuth.tasks.detection import Preprocess, decode_detections, preprocess_images
from sleuth.types import ImageBatch, SetPrediction

MOST_PER_PICTURE = 100
"""Predictions kept for each picture, the best first, as COCO and DETR have it."""

_LOADERS = 2
_NO_PICTURE = torch.zeros(3, 0, 0, dtype=torch.uint8)


@dataclass(frozen=True, eq=False)
class DetectionEvaluation:
    """Everything measured about a set of predictions.

    Args:
        truth: the objects.
        predictions: what was found, with the labels of ``truth``; not finite ones are left out.
        scores: the twelve COCO numbers and AP per class.
        confusion: at IoU 0.5 and one score threshold.
        layers: the study of the decoder layers, if it was asked for.
        not_finite: predictions left out because a box or score was not a number.
        unknown_class: predictions left out because the data does not have the model's class.
    """

    truth: GroundTruth
    predictions: Predictions
    scores: CocoScores
    confusion: ConfusionMatrix
    layers: LayerStudy | None = None
    not_finite: int = 0
    unknown_class: int = 0

    def curves(self, iou: float = 0.5) -> PrecisionRecall:
        """Precision against recall at one overlap: 0.50, 0.55, ... 0.95."""
        return precision_recall(self.scores, iou)

    def to_json(self) -> dict[str, Any]:
        """All numbers as plain values; null where there is nothing to measure."""
        return {
            "pictures": len(self.truth.image_ids),
            "objects": self.truth.num_objects,
            "crowds": int(self.truth.crowd.sum()),
            "predictions": len(self.predictions),
            "predictions_not_finite": self.not_finite,
            "predictions_of_unknown_class": self.unknown_class,
            "scores": dict(self.scores.numbers),
            "per_class": [asdict(entry) for entry in self.scores.per_class],
            "confusion": self.confusion.to_json(),
            "layers": None if self.layers is None else self.layers.to_json(),
        }


def evaluate_result_files(ground_truth: Path, predictions: Path, *, threshold: float = 0.5) -> DetectionEvaluation:
    """Measure a COCO result file of any detector.

    Args:
        ground_truth: COCO annotations.
        predictions: COCO results.
        threshold: least score of a prediction in the confusion matrix.

    Raises:
        UserError: a file that cannot be read or does not fit; the message names the entry.
    """
    truth = read_ground_truth(ground_truth)
    return measure(truth, read_predictions(predictions, truth), threshold=threshold)


def measure(truth: GroundTruth, predictions: Predictions, *, threshold: float = 0.5) -> DetectionEvaluation:
    """Measure predictions in memory: scores, curves and confusion."""
    finite = predictions.finite()
    return DetectionEvaluation(
        truth=truth,
        predictions=finite,
        scores=evaluate_predictions(truth, finite),
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
    model_names: Sequence[str] | None = None,
    threshold: float = 0.5,
    progress: Callable[[int, int], None] | None = None,
) -> DetectionEvaluation:
    """Run a detector over every picture of a source and measure what it finds.

    Args:
        model: takes an `ImageBatch`, gives a `SetPrediction`; its modes of training are as before afterwards.
        source: the pictures with their objects; crowds of a data set in files stay in the ground truth.
        preprocess: how pictures become the model's input.
        device: where the model runs; it is moved there.
        batch_size: pictures at a time.
        layers: measure every decoder layer as well, with and without suppression.
        model_names: the model's classes, by label, where they are not the source's. Classes are then matched by name;
            predictions of a class that the source lacks are left out and counted.
        threshold: least score of a prediction in the confusion matrix.
        progress: called with the number of pictures done and of all.

    Raises:
        UserError: the classes of the model do not fit those of the data, or a picture cannot be read.
    """
    label_of = _match_classes(source, model_names)
    seen: list[Sample] = []
    answers: list[list[Predictions]] = []
    asked = 0
    model = model.to(device)
    with _evaluating(model), closing(_batches(source, preprocess, batch_size)) as batches:
        for samples, images in batches:
            prediction = _run(model, images, device)
            _check_class_count(prediction, model_names or source.names)
            asked += len(samples) * min(prediction.logits.shape[2], MOST_PER_PICTURE)
            wanted = range(len(prediction.logits)) if layers else [-1]
            answers.append([_collect(prediction, samples, layer, first=len(seen)) for layer in wanted])
            seen += [replace(sample, image=_NO_PICTURE) for sample in samples]
            if progress is not None:
                progress(len(seen), len(source))
    truth = truth_of_data(source.data) if isinstance(source, PictureSource) else truth_of_samples(source, seen)
    per_layer = [_relabel(concatenate(parts), label_of) for parts in zip(*answers, strict=True)] or [Predictions()]
    made = sum(len(parts[-1]) for parts in answers)
    return replace(
        measure(truth, per_layer[-1], threshold=threshold),
        layers=study_layers(truth, per_layer) if layers else None,
        not_finite=asked - made,
        unknown_class=made - len(per_layer[-1]),
    )


@torch.inference_mode()
def _run(model: nn.Module, images: ImageBatch, device: torch.device | str) -> SetPrediction:
    """What the model answers, in float32 on the CPU."""
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    images = images.to(device)
    prediction: SetPrediction = model(replace(images, pixels=images.pixels.to(dtype)))
    logits, boxes = prediction.logits.float().cpu(), prediction.boxes_cxcywh.float().cpu()
    return replace(prediction, logits=logits, boxes_cxcywh=boxes)


def _batches(
    source: SampleSource, preprocess: Preprocess, size: int
) -> Generator[tuple[list[Sample], ImageBatch], None, None]:
    """Batches in the order of the source, read and resized ahead by a few threads."""
    if size < 1:
        raise UserError(f"the batch size is {size}", mend="choose 1 or more")

    def load(start: int) -> tuple[list[Sample], ImageBatch]:
        samples = [source.load(index) for index in range(start, min(start + size, len(source)))]
        return samples, preprocess_images([sample.image for sample in samples], preprocess)

    waiting: deque[Future[tuple[list[Sample], ImageBatch]]] = deque()
    with ThreadPoolExecutor(_LOADERS) as pool:
        try:
            for start in range(0, len(source), size):
                waiting.append(pool.submit(load, start))
                if len(waiting) > _LOADERS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


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


def _collect(prediction: SetPrediction, samples: Sequence[Sample], layer: int, first: int) -> Predictions:
    """The best finite predictions of one layer for each picture, in pixels of the sample's picture.

    The labels are the model's, and the rows of pictures count on from ``first``.
    """
    sizes_hw = [(sample.image.shape[1], sample.image.shape[2]) for sample in samples]
    found = decode_detections(prediction, sizes_hw, layer=layer)
    counts = [min(len(each.scores), MOST_PER_PICTURE) for each in found]
    boxes = torch.cat([each.boxes_xyxy_px[:MOST_PER_PICTURE] for each in found])
    return Predictions(
        pictures=np.repeat(np.arange(first, first + len(found)), counts),
        labels=torch.cat([each.labels[:MOST_PER_PICTURE] for each in found]).numpy(),
        boxes_xywh_px=to_xywh(boxes.double().numpy()),
        scores=torch.cat([each.scores[:MOST_PER_PICTURE] for each in found]).double().numpy(),
    ).finite()


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
    classes = prediction.logits.shape[-1] - 1
    if classes != len(names):
        raise UserError(
            f"the model tells {classes} classes apart, but {len(names)} are named: {_some(names)}",
            mend="choose a model that was trained on these classes, or give the model's own class names",
        )


def _relabel(predictions: Predictions, label_of: np.ndarray) -> Predictions:
    """Predictions with the data's labels, without those of classes that the data lacks."""
    known = replace(predictions, labels=label_of[predictions.labels])
    return known.take(known.labels >= 0)


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
