"""The layer study of the DETR paper: how good is each decoder layer, and what would suppression change?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torchvision.ops import batched_nms

from sleuth.evaluation.coco import evaluate_predictions
from sleuth.evaluation.columns import GroundTruth, Predictions, rows_per_picture
from sleuth.evaluation.figures import ACCENT, COLOURS, INK, new_figure, style
from sleuth.geometry.boxes import xywh_to_xyxy

NMS_IOU = 0.5
"""Overlap from which a weaker box of the same class is suppressed: Detectron2's default, which the paper used."""


@dataclass(frozen=True)
class LayerScores:
    """One decoder layer as if it were the last; numbers 0 to 1, None without objects.

    Args:
        layer: 1 for the first.
        ap: mean over IoU 0.50 to 0.95.
        ap50: at IoU 0.50.
        ap_nms: as ``ap``, after suppression.
        ap50_nms: as ``ap50``, after suppression.
        suppressed: share of the predictions that suppression removes, 0 to 1.
    """

    layer: int
    ap: float | None
    ap50: float | None
    ap_nms: float | None
    ap50_nms: float | None
    suppressed: float


@dataclass(frozen=True)
class LayerStudy:
    """AP of every decoder layer, with and without non-maximum suppression.

    A trained DETR rises from layer to layer, and suppression helps the first layer only: later ones have seen in
    their self-attention what the other queries answer.

    Args:
        layers: the first to the last.
        nms_iou: overlap from which a weaker box of the same class was suppressed.
    """

    layers: tuple[LayerScores, ...]
    nms_iou: float

    def to_json(self) -> dict[str, Any]:
        """The study as plain values."""
        return {"nms_iou": self.nms_iou, "layers": [asdict(layer) for layer in self.layers]}


def suppress(predictions: Predictions, iou: float = NMS_IOU) -> Predictions:
    """Non-maximum suppression in each picture and class: of two boxes that overlap by more, the surer stays.

    Args:
        predictions: in any order, which stays.
        iou: overlap above which the less sure box goes.
    """
    if not len(predictions):
        return predictions
    boxes = xywh_to_xyxy(torch.from_numpy(predictions.boxes_xywh_px))
    scores, labels = torch.from_numpy(predictions.scores), torch.from_numpy(predictions.labels)
    kept = np.zeros(len(predictions), dtype=bool)
    for rows in rows_per_picture(predictions.pictures, int(predictions.pictures.max()) + 1):
        at = torch.from_numpy(rows)
        kept[rows[batched_nms(boxes[at], scores[at], labels[at], iou).numpy()]] = True
    return predictions.take(kept)


def study_layers(truth: GroundTruth, per_layer: Sequence[Predictions], *, nms_iou: float = NMS_IOU) -> LayerStudy:
    """Score the predictions of each decoder layer, as they are and after suppression.

    Source: Carion et al. 2020, section 4.2 and figure 4. The paper runs "a standard NMS procedure with default
    parameters" of Detectron2, that is within each class at IoU 0.5; no score threshold is applied here.
    """
    rows = []
    for number, predictions in enumerate(per_layer, start=1):
        predictions = predictions.finite()
        fewer = suppress(predictions, nms_iou)
        plain, clean = evaluate_predictions(truth, predictions), evaluate_predictions(truth, fewer)
        rows.append(
            LayerScores(
                layer=number,
                ap=plain["AP"],
                ap50=plain["AP50"],
                ap_nms=clean["AP"],
                ap50_nms=clean["AP50"],
                suppressed=1 - len(fewer) / len(predictions) if len(predictions) else 0.0,
            )
        )
    return LayerStudy(layers=tuple(rows), nms_iou=nms_iou)


def draw_layers(study: LayerStudy) -> Figure:
    """AP and AP50 by decoder layer: a full line as predicted, a dashed one after suppression.

    The numbers are of the full lines: those of AP50 above all its points, those of AP below.
    """
    figure = new_figure(6.8, 4.6)
    axes = figure.subplots()
    style(axes, f"AP of each decoder layer, with and without NMS at IoU {study.nms_iou:g}", "Decoder layer", "")
    numbers = [layer.layer for layer in study.layers]
    shown: list[float] = []
    for name, plain, clean, colour, above in (
        ("AP50", "ap50", "ap50_nms", COLOURS[0], True),
        ("AP", "ap", "ap_nms", ACCENT, False),
    ):
        before = np.array([getattr(layer, plain) for layer in study.layers], dtype=np.float64)
        after = np.array([getattr(layer, clean) for layer in study.layers], dtype=np.float64)
        axes.plot(numbers, before, "-o", color=colour, linewidth=2.2, markersize=6, label=name)
        axes.plot(
            numbers,
            after,
            "--s",
            color=colour,
            linewidth=1.4,
            markersize=6,
            markerfacecolor="white",
            label=f"{name} after NMS",
        )
        shown += [*before[np.isfinite(before)], *after[np.isfinite(after)]]
        _write_numbers(
            axes, numbers, before, np.fmax(before, after) if above else np.fmin(before, after), above, colour
        )
    axes.set_xlim(0.5, len(numbers) + 0.5)
    axes.set_ylim(*_room(shown))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return figure


def _room(shown: Sequence[float]) -> tuple[float, float]:
    """From a little below the least value to a little above the greatest, so that layers can be told apart."""
    low, high = min(shown, default=0.0), max(shown, default=0.0)
    margin = max(0.2 * (high - low), 0.01)
    return max(0.0, low - margin), high + margin


def _write_numbers(
    axes: Any, numbers: Sequence[int], values: np.ndarray, places: np.ndarray, above: bool, colour: str
) -> None:
    for number, value, place in zip(numbers, values, places, strict=True):
        if np.isfinite(value):
            axes.annotate(
                f"{value:.3f}",
                (number, place),
                (0, 7 if above else -7),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                fontsize=8,
                color=colour,
            )
