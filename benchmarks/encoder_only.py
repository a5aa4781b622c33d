"""Encoder-only against encoder-decoder: a dense detector with NMS beside detectors with queries, on the same pictures.

    python benchmarks/encoder_only.py dense=runs/dense/last.safetensors detr=runs/detr/last.safetensors \
        --data scenes --split test --limit 500 --markdown docs/encoder-only.md --mark scenes

Of each model: AP and AP50; AP in the crowded pictures alone; boxes above a threshold with and without suppression;
processor time of a picture, model and decoding together; parameters. A picture is crowded if two of its objects
overlap by an IoU above 0.2. AP is that of the model as it is: the dense detector suppresses, those with queries do not.
Beside it stand the APs of every model without and with suppression (within each class, at an IoU of 0.6).
"""

import argparse
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import machine
import numpy as np
import torch

from sleuth.data.open import open_data
from sleuth.data.samples import SampleSource
from sleuth.data.scenes import SceneSource
from sleuth.data.source import PictureSource
from sleuth.evaluation.coco import evaluate_predictions
from sleuth.evaluation.columns import GroundTruth, Predictions, concatenate, rows_per_picture
from sleuth.evaluation.layers import suppress
from sleuth.evaluation.pictures import Picture, batches
from sleuth.evaluation.truth import to_xywh, truth_of_samples
from sleuth.geometry.boxes import pairwise_iou, xywh_to_xyxy
from sleuth.tasks.detection import RawDetections, decode_detections
from sleuth.weights.checkpoint import LoadedModel
from sleuth.weights.resolve import open_model

NMS_IOU = 0.6
CROWDED_IOU = 0.2
MOST = 100


@dataclass(frozen=True)
class Measured:
    """What was measured of one model.

    Args:
        parameters: that training changes.
        scores: AP, AP50 and AP of crowded pictures, with and without suppression.
        before: boxes above the threshold in a picture, without suppression.
        after: the same with suppression.
        milliseconds: of the one thread's time, the median of a picture, and the part of it that decoding takes, with
            suppression where the family declares it.
    """

    parameters: int
    scores: Mapping[str, float | None]
    before: float
    after: float
    milliseconds: tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    parser.add_argument("--data", default="scenes")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--threshold", type=float, default=0.3)
    parser.add_argument("--markdown", type=Path, help="a page, in which the table goes between its marks")
    parser.add_argument("--mark", default="encoder-only")
    words = parser.parse_args()
    torch.set_num_threads(1)  # so that the main thread's own time is all of it
    where = machine.describe()
    source = _source(words.data, words.split, words.limit)
    rows, crowds = [], (0, 0)
    for text in words.models:
        name, _, model = text.rpartition("=")
        found, crowds = measure(open_model(model), source, threshold=words.threshold)
        rows.append(_row(name or model, found))
        print(rows[-1], flush=True)
    header = ["", "parameters", "AP", "AP50", "AP, crowded", "AP without NMS", "AP with NMS"]
    header += ["boxes before NMS", "boxes after", "ms a picture", "of them decoding"]
    about = (
        f"{len(source)} pictures of {Path(words.data).name}, split {words.split}; {crowds[0]} of them with "
        f"{crowds[1]} objects are crowded. Boxes above a score of {words.threshold:g}, means of a picture; time, the "
        f"median of the processor's. {machine.sentence(where)}"
    )
    text = f"{machine.table(header, rows)}\n\n{about}"
    print(text)
    if words.markdown is not None:
        machine.put_between_marks(words.markdown, words.mark, text)


def measure(loaded: LoadedModel, source: SampleSource, *, threshold: float) -> tuple[Measured, tuple[int, int]]:
    """Ask a model about every picture, one at a time; and how many pictures and objects in them are crowded."""
    model, plain, clean, seen, taken = loaded.model.eval(), [], [], [], []
    for pictures, images in batches(source, loaded.preprocess, 1):
        (picture,) = pictures
        with torch.inference_mode():
            start = time.thread_time()
            prediction = model(images)
            asked = time.thread_time()
            (answer,) = decode_detections(prediction, [picture.size_hw])
            taken.append((time.thread_time() - start, time.thread_time() - asked))
            (every,) = decode_detections(prediction, [picture.size_hw], suppress=False)
        own = prediction.suppression is not None
        plain.append(_columns(picture, every))
        clean.append(_columns(picture, answer) if own else suppress(_columns(picture, every), NMS_IOU))
        seen.append(picture)
    truth = truth_of_samples(source, [picture.sample for picture in seen])
    without, suppressed = concatenate(plain), concatenate(clean)
    answers = suppressed if own else without
    crowded = _crowded(truth)
    inner = _of(truth, crowded)
    scores = {
        "AP": evaluate_predictions(truth, answers)["AP"],
        "AP50": evaluate_predictions(truth, answers)["AP50"],
        "crowded": evaluate_predictions(inner, _answers_of(answers, crowded))["AP"],
        "without": evaluate_predictions(truth, without)["AP"],
        "with": evaluate_predictions(truth, suppressed)["AP"],
    }
    count = len(seen)
    found = Measured(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        scores=scores,
        before=float((without.scores >= threshold).sum()) / count,
        after=float((suppressed.scores >= threshold).sum()) / count,
        milliseconds=(
            1e3 * statistics.median(whole for whole, _ in taken),
            1e3 * statistics.median(decoding for _, decoding in taken),
        ),
    )
    return found, (len(crowded), len(inner.labels))


def _source(data: str, split: str, limit: int) -> SampleSource:
    if data == "scenes":
        return SceneSource(split=split, count=limit or 500)
    found = open_data(data, None, split)
    return PictureSource(replace(found, records=found.records[: limit or None]))


def _columns(picture: Picture, found: RawDetections) -> Predictions:
    boxes = to_xywh(found.boxes_xyxy_px.double().numpy())
    count = len(found.scores)
    every = Predictions(np.full(count, picture.index), found.labels.numpy(), boxes, found.scores.double().numpy())
    return every.finite()


def _crowded(truth: GroundTruth) -> list[int]:
    """The pictures in which two objects overlap."""
    boxes = xywh_to_xyxy(torch.from_numpy(truth.boxes_xywh_px))
    return [
        number
        for number, rows in enumerate(rows_per_picture(truth.pictures, len(truth.image_ids)))
        if bool((pairwise_iou(boxes[rows], boxes[rows]).triu(1) > CROWDED_IOU).any())
    ]


def _of(truth: GroundTruth, pictures: list[int]) -> GroundTruth:
    """The ground truth of some pictures alone."""
    kept = np.isin(truth.pictures, pictures)
    return replace(
        truth,
        image_ids=tuple(truth.image_ids[number] for number in pictures),
        pictures=np.searchsorted(pictures, truth.pictures[kept]),
        labels=truth.labels[kept],
        boxes_xywh_px=truth.boxes_xywh_px[kept],
        areas=truth.areas[kept],
        crowd=truth.crowd[kept],
    )


def _answers_of(found: Predictions, pictures: list[int]) -> Predictions:
    kept = found.take(np.isin(found.pictures, pictures))
    return replace(kept, pictures=np.searchsorted(pictures, kept.pictures))


def _row(name: str, found: Measured) -> list[str]:
    shown = [f"{value:.3f}" if value is not None else "-" for value in found.scores.values()]
    boxes = [f"{found.before:.1f}", f"{found.after:.1f}"]
    return [name, f"{found.parameters:,}", *shown, *boxes, *(f"{each:.1f}" for each in found.milliseconds)]


if __name__ == "__main__":
    main()
