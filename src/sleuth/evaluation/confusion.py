"""The confusion matrix of a detector: which objects are found as what, which are missed, what is invented."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from matplotlib.figure import Figure

from sleuth.evaluation.columns import GroundTruth, Predictions, rows_per_picture
from sleuth.evaluation.confusion_figure import draw_counts
from sleuth.evaluation.figures import shorten
from sleuth.geometry.boxes import pairwise_iou, xywh_to_xyxy

BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Counts of objects by what they are (row) and what they were found as (column).

    The last row is background: predictions where no object is. The last column is background: objects not found.
    The corner of the two is 0.

    Args:
        counts: rows are true classes, columns predicted ones.
        names: of the classes, without background.
        iou: least overlap of a prediction with its object.
        threshold: least score of a prediction.
    """

    counts: Int64[np.ndarray, "truth found"]
    names: tuple[str, ...]
    iou: float
    threshold: float

    @property
    def precision(self) -> float | None:
        """Share of the predictions that are right; None without predictions."""
        return _share(int(np.trace(self.counts[:-1, :-1])), int(self.counts[:, :-1].sum()))

    @property
    def recall(self) -> float | None:
        """Share of the objects that are found as what they are; None without objects."""
        return _share(int(np.trace(self.counts[:-1, :-1])), int(self.counts[:-1].sum()))

    def to_json(self) -> dict[str, Any]:
        """The matrix as plain values."""
        return {
            "names": [*self.names, BACKGROUND],
            "counts": self.counts.tolist(),
            "iou": self.iou,
            "threshold": self.threshold,
            "precision": self.precision,
            "recall": self.recall,
        }


def confusion_matrix(
    truth: GroundTruth, predictions: Predictions, *, iou: float = 0.5, threshold: float = 0.5
) -> ConfusionMatrix:
    """Pair predictions with objects one to one and count the pairs by class.

    Pairs of the same class are made first, the closest first; what is left over is then paired across classes in the
    same way, and these pairs are the confusions. A prediction without an object that lies in a crowd of its class
    (by at least ``iou`` of its own area) is not counted.

    Args:
        truth: the objects.
        predictions: of any score.
        iou: least overlap of a pair.
        threshold: predictions of a lower score are left out.
    """
    sure = predictions.finite()
    sure = sure.take(sure.scores >= threshold)
    classes = len(truth.names)
    counts = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    objects = rows_per_picture(truth.pictures, len(truth.image_ids))
    found = rows_per_picture(sure.pictures, len(truth.image_ids))
    for there, seen in zip(objects, found, strict=True):
        crowds, there = there[truth.crowd[there]], there[~truth.crowd[there]]
        labels, guesses = truth.labels[there], sure.labels[seen]
        rows, columns = _pair(_overlaps(truth.boxes_xywh_px[there], sure.boxes_xywh_px[seen]), labels, guesses, iou)
        np.add.at(counts, (labels[rows], guesses[columns]), 1)
        missed = np.delete(labels, rows)
        np.add.at(counts, (missed, np.full_like(missed, classes)), 1)
        spare = np.delete(seen, columns)
        inside = _share_inside(sure.boxes_xywh_px[spare], truth.boxes_xywh_px[crowds]) >= iou
        same = sure.labels[spare][:, None] == truth.labels[crowds][None]
        invented = sure.labels[spare][~(inside & same).any(axis=1)]
        np.add.at(counts, (np.full_like(invented, classes), invented), 1)
    return ConfusionMatrix(counts=counts, names=truth.names, iou=iou, threshold=threshold)


def draw_confusion(confusion: ConfusionMatrix) -> Figure:
    """The matrix with each row as shares of the true class (colour) and counts (numbers).

    Of many classes only those are shown that are there or were found.
    """
    counts, names = _worth_showing(confusion)
    title = f"Confusion at IoU {confusion.iou:g}, score from {confusion.threshold:g}"
    return draw_counts(counts, names, title=title, found="Found as", background=True)


def _worth_showing(confusion: ConfusionMatrix) -> tuple[np.ndarray, list[str]]:
    names = [*(shorten(name) for name in confusion.names), BACKGROUND]
    shown = np.asarray(confusion.counts.any(axis=0) | confusion.counts.any(axis=1))
    shown[-1] = True
    if len(names) <= 16:
        shown[:] = True
    return confusion.counts[np.ix_(shown, shown)], [name for name, keep in zip(names, shown, strict=True) if keep]


def _pair(
    overlaps: Float64[np.ndarray, "objects seen"],
    labels: Int64[np.ndarray, " objects"],
    guesses: Int64[np.ndarray, " seen"],
    least: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pairs: same class first, then the rest; the closest first, none twice."""
    rows, columns = np.nonzero(overlaps >= least)
    differs = labels[rows] != guesses[columns]
    order = np.lexsort((columns, rows, -overlaps[rows, columns], differs))
    taken_rows: dict[int, int] = {}
    taken_columns: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in taken_rows and column not in taken_columns:
            taken_rows[row] = column
            taken_columns.add(column)
    return np.array(list(taken_rows), dtype=np.int64), np.array(list(taken_rows.values()), dtype=np.int64)


def _overlaps(a_xywh: np.ndarray, b_xywh: np.ndarray) -> np.ndarray:
    a, b = xywh_to_xyxy(torch.from_numpy(a_xywh)), xywh_to_xyxy(torch.from_numpy(b_xywh))
    return pairwise_iou(a, b).numpy()


def _share_inside(a_xywh: np.ndarray, b_xywh: np.ndarray) -> Float64[np.ndarray, "a b"]:
    """Share of each box of ``a`` that lies in each box of ``b``."""
    low = np.maximum(a_xywh[:, None, :2], b_xywh[None, :, :2])
    high = np.minimum((a_xywh[:, :2] + a_xywh[:, 2:])[:, None], (b_xywh[:, :2] + b_xywh[:, 2:])[None])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    return shared / np.maximum(a_xywh[:, 2:].prod(axis=1), 1e-12)[:, None]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
