"""Panoptic quality of each class as bars."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sleuth.evaluation.figures import ACCENT, COLOURS, FAINT, INK, new_figure, shorten, style
from sleuth.evaluation.panoptic import ClassQuality, PanopticScores

MOST_BARS = 40
"""How many classes are drawn where there are more: those with the most segments."""

_THING, _STUFF = COLOURS[0], COLOURS[2]


def draw_panoptic_quality(scores: PanopticScores) -> Figure:
    """A bar of PQ for each measured class, best above, things before stuff; SQ and RQ as marks on it."""
    measured = [entry for entry in scores.per_class if entry.pq is not None]
    drawn = sorted(measured, key=lambda entry: -entry.segments)[:MOST_BARS]
    drawn.sort(key=lambda entry: (not entry.is_thing, -(entry.pq or 0.0)))
    figure = new_figure(7.6, 1.9 + 0.27 * max(len(drawn), 2))
    axes = figure.subplots()
    style(axes, _title(scores, len(drawn), len(measured)), "", "")
    axes.set_xlim(0, 1.005)
    if not drawn:
        axes.text(0.5, 0.5, "no segments to measure", ha="center", va="center", color=FAINT)
        axes.set_yticks([])
        return figure
    places = range(len(drawn))
    axes.barh(
        places,
        [entry.pq or 0.0 for entry in drawn],
        color=[_THING if entry.is_thing else _STUFF for entry in drawn],
        height=0.72,
    )
    axes.scatter([entry.sq or 0.0 for entry in drawn], places, marker="|", s=70, color=INK, zorder=4)
    axes.scatter([entry.rq or 0.0 for entry in drawn], places, marker="x", s=22, color=ACCENT, zorder=4)
    axes.set_yticks(places, [_label(entry) for entry in drawn])
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    axes.grid(False, axis="y")
    handles = [
        Patch(color=_THING, label="PQ of a thing"),
        Patch(color=_STUFF, label="PQ of stuff"),
        Line2D([], [], color=INK, marker="|", linestyle="", markersize=9, label="SQ: overlap where found"),
        Line2D([], [], color=ACCENT, marker="x", linestyle="", markersize=6, label="RQ: how often found (F1)"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _title(scores: PanopticScores, drawn: int, measured: int) -> str:
    groups = (("PQ", scores.all), ("things", scores.things), ("stuff", scores.stuff))
    numbers = ", ".join(f"{name} {quality.pq:.3f}" for name, quality in groups if quality.pq is not None)
    title = f"Panoptic quality of {scores.pictures} pictures: {numbers}" if numbers else "Panoptic quality"
    return title if drawn == measured else f"{title}\nthe {drawn} classes with the most segments of {measured}"


def _label(entry: ClassQuality) -> str:
    return f"{shorten(entry.name)}  ({entry.segments})"
