"""Precision against recall: of each class and their mean, as arrays and as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sleuth.evaluation.coco import IOUS, RECALL, CocoScores
from sleuth.evaluation.figures import COLOURS, FAINT, INK, new_figure, shorten, style

WEAKEST = 8
"""How many lines are drawn where there are more classes than colours."""


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision at 101 recalls, as COCO interpolates it: the best precision at this recall or a higher one.

    Args:
        iou: overlap that a prediction needs to count as right.
        names: of the classes.
        recall: 0 to 1.
        precision: of each class; 0 beyond the recall that is reached, NaN for a class without objects.
        threshold: the score at which each recall is reached.
    """

    iou: float
    names: tuple[str, ...]
    recall: Float64[np.ndarray, " recalls"]
    precision: Float64[np.ndarray, "recalls classes"]
    threshold: Float64[np.ndarray, "recalls classes"]

    @property
    def measured(self) -> list[int]:
        """The labels of the classes that have objects."""
        return [int(label) for label in np.flatnonzero(~np.isnan(self.precision).any(axis=0))]

    @property
    def mean(self) -> Float64[np.ndarray, " recalls"]:
        """Mean over the classes that have objects; NaN if none has."""
        if not self.measured:
            return np.full(len(self.recall), np.nan)
        return self.precision[:, self.measured].mean(axis=1)

    def average(self, label: int) -> float:
        """AP of one class at this IoU: the mean of its curve."""
        return float(self.precision[:, label].mean())


def precision_recall(scores: CocoScores, iou: float = 0.5) -> PrecisionRecall:
    """The curves at one overlap.

    Args:
        scores: of `evaluate_predictions`.
        iou: 0.50, 0.55, ... or 0.95.

    Raises:
        ValueError: another overlap.
    """
    at = np.flatnonzero(np.isclose(IOUS, iou))
    if not len(at):
        raise ValueError(f"IoU {iou} is not one of {', '.join(f'{value:.2f}' for value in IOUS)}")
    return PrecisionRecall(
        iou=float(IOUS[at[0]]),
        names=tuple(entry.name for entry in scores.per_class),
        recall=RECALL,
        precision=scores.precision[at[0]],
        threshold=scores.threshold[at[0]],
    )


def draw_precision_recall(scores: CocoScores, ious: Sequence[float] = (0.5, 0.75)) -> Figure:
    """One panel for each overlap: every class a line, their mean a thick one, AP in the legend.

    Of many classes the middle half is shaded, and only the weakest are drawn.
    """
    panels = [precision_recall(scores, iou) for iou in ious]
    figure = new_figure(5.2 * len(panels) + 0.8, 5.4)
    for column, (axes, curves) in enumerate(
        zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True)
    ):
        style(axes, f"Precision and recall at IoU {curves.iou:.2f}", "Recall", "" if column else "Precision")
        axes.set_xlim(0, 1.005)
        axes.set_ylim(0, 1.02)
        if curves.measured:
            _draw_curves(axes, curves, _worth_drawing(panels))
        else:
            axes.text(0.5, 0.5, "no objects to find", ha="center", va="center", color=FAINT)
    return figure


def _worth_drawing(panels: Sequence[PrecisionRecall]) -> list[int]:
    """The labels that get a line: all of a few, else those that were found at all but worst."""
    measured = panels[0].measured
    if len(measured) <= len(COLOURS):
        return measured
    average = {label: sum(curves.average(label) for curves in panels) for label in measured}
    found = sorted((label for label in measured if average[label] > 0), key=average.__getitem__)
    return found[:WEAKEST]


def _draw_curves(axes: Axes, curves: PrecisionRecall, drawn: Sequence[int]) -> None:
    few = len(drawn) == len(curves.measured)
    if not few:
        everything = curves.precision[:, curves.measured]
        low, high = np.percentile(everything, [25, 75], axis=1)
        axes.fill_between(curves.recall, low, high, color=COLOURS[0], alpha=0.14, linewidth=0)
    for label, colour in zip(drawn, COLOURS, strict=False):
        text = f"{shorten(curves.names[label])}  {curves.average(label):.3f}"
        axes.plot(*_reached(curves, label), color=colour, linewidth=1.5, alpha=0.9, label=text)
    mean = curves.mean
    axes.plot(curves.recall, mean, color=INK, linewidth=3, label=f"mean  {mean.mean():.3f}", zorder=5)
    weakest = f"AP of the {len(drawn)} weakest of {len(curves.measured)} classes; shaded: the middle half of all"
    title = "AP" if few else weakest
    legend = axes.legend(
        title=title,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        ncols=3,
        frameon=False,
        fontsize=8,
        title_fontsize=8,
        labelcolor=INK,
    )
    legend.get_title().set_color(INK)


def _reached(curves: PrecisionRecall, label: int) -> tuple[np.ndarray, np.ndarray]:
    """The curve up to the recall that is reached, with the drop to 0 there."""
    precision = curves.precision[:, label]
    end = int(np.flatnonzero(precision > 0)[-1]) + 1 if (precision > 0).any() else 0
    last = curves.recall[max(end - 1, 0)]
    return np.append(curves.recall[:end], last), np.append(precision[:end], 0.0)
