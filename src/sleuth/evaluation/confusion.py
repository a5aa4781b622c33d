"""The confusion matrix of a detector: which objects are found as what, which are missed, what is invented."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from sleuth.evaluation.columns import GroundTruth, Predictions, rows_per_picture
from sleuth.evaluation.figures import FAINT, INK, new_figure, shorten
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


def draw_counts(
    counts: Int64[np.ndarray, "truth found"], names: list[str], *, title: str, found: str, background: bool = False
) -> Figure:
    """Counts of a confusion matrix as numbers, with each row as shares of the true class as colour.

    Args:
        counts: rows are true classes, columns what they were taken for.
        names: of the classes.
        title: above the picture.
        found: what the columns are.
        background: the last row and column are no class, and are set apart by a line.
    """
    size = len(names)
    cell = 0.62 if size <= 16 else 0.34 if size <= 40 else 0.24
    figure = new_figure(max(cell * size + 2.4, 5.0), max(cell * size + 1.9, 4.4))
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(shares, cmap=_BLUES, vmin=0, vmax=1, aspect="equal")
    font = 9 if size <= 16 else 7 if size <= 40 else 5.5
    axes.set_xticks(range(size), names, rotation=45 if size <= 16 else 90, ha="right" if size <= 16 else "center")
    axes.set_yticks(range(size), names)
    axes.tick_params(length=0, labelsize=font, colors=INK)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2 if size <= 40 else 0.5)
    axes.tick_params(which="minor", length=0)
    for edge in (axes.axhline, axes.axvline) if background else ():
        edge(size - 1.5, color=FAINT, linewidth=1.2)
    for row, column in zip(*np.nonzero(counts), strict=True):
        ink = "white" if shares[row, column] > 0.45 else INK
        number = f"{counts[row, column]}"
        axes.text(column, row, number, ha="center", va="center", fontsize=font * _shrink(number, size), color=ink)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=10)
    axes.set_xlabel(found, color=INK)
    axes.set_ylabel("Truth", color=INK)
    bar = figure.colorbar(picture, ax=axes, fraction=0.05, pad=0.02, aspect=14, shrink=min(0.75, 4.0 / (cell * size)))
    bar.set_label("share of the row", color=INK, fontsize=9)
    bar.ax.tick_params(length=0, labelsize=8, colors=INK)
    bar.outline.set_visible(False)
    return figure


def _worth_showing(confusion: ConfusionMatrix) -> tuple[np.ndarray, list[str]]:
    names = [*(shorten(name) for name in confusion.names), BACKGROUND]
    shown = np.asarray(confusion.counts.any(axis=0) | confusion.counts.any(axis=1))
    shown[-1] = True
    if len(names) <= 16:
        shown[:] = True
    return confusion.counts[np.ix_(shown, shown)], [name for name, keep in zip(names, shown, strict=True) if keep]


_BLUES = LinearSegmentedColormap.from_list("blues", ["#f4f6f9", "#a9c6e8", "#2364aa", "#0d2c54"])


def _shrink(number: str, size: int) -> float:
    """Numbers of many digits get smaller, so that they stay in their cell."""
    room = 6 if size <= 16 else 4
    return min(1.0, room / max(len(number), 1))


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
