"""The curves of a training as one picture, drawn from its metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sleuth.files import atomic_write

_SCORES = ("AP", "AP50", "AP75")


def draw_curves(records: Sequence[Mapping[str, Any]], path: Path, *, title: str = "") -> None:
    """Draw losses, scores if there are any, and learning rate over the steps.

    Args:
        records: lines of metrics.jsonl: training lines have ``loss``, evaluation lines have ``scores``.
        path: the PNG to write.
        title: stands above.
    """
    training = [record for record in records if "loss" in record]
    evaluations = [record for record in records if "scores" in record]
    names = ("loss", *(("score",) if evaluations else ()), "learning rate")
    figure = Figure(figsize=(13 * len(names) / 3, 4))
    FigureCanvasAgg(figure)
    panels = dict(zip(names, figure.subplots(1, len(names)), strict=True))
    # Fixed margins: fitting them to the labels takes longer than all the rest.
    figure.subplots_adjust(left=0.15 / len(names), right=0.98, top=0.85, bottom=0.13)
    _draw_losses(panels["loss"], training)
    if evaluations:
        _draw_scores(panels["score"], evaluations)
    steps = [record["step"] for record in training]
    panels["learning rate"].plot(steps, [record["rate"] for record in training], color="tab:grey")
    for name, axes in panels.items():
        axes.set_title(name)
        axes.set_xlabel("step")
        axes.locator_params(axis="x", nbins=5)
        axes.grid(visible=True, alpha=0.3)
    if title:
        figure.suptitle(title)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")


def _draw_losses(axes: Axes, training: Sequence[Mapping[str, Any]]) -> None:
    steps = [record["step"] for record in training]
    axes.plot(steps, [record["loss"] for record in training], color="black", label="total")
    # The answer's own losses; those of earlier layers would only repeat their shape.
    names = [name for name in (training[-1]["parts"] if training else {}) if "_" not in name]
    for name in names:
        axes.plot(steps, [record["parts"].get(name) for record in training], label=name, linewidth=1)
    if any(record["loss"] > 0 for record in training):
        axes.set_yscale("log")
    if training:
        axes.legend(fontsize="small")


def _draw_scores(axes: Axes, evaluations: Sequence[Mapping[str, Any]]) -> None:
    steps = [record["step"] for record in evaluations]
    found = list(evaluations[-1]["scores"])
    for name in [name for name in _SCORES if name in found] or found[:3]:
        axes.plot(steps, [record["scores"].get(name) for record in evaluations], marker=".", label=name)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
