"""A confusion matrix as a picture, whatever was confused."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from sleuth.evaluation.figures import FAINT, INK, new_figure, shorten

MOST_SHOWN = 60
"""Classes that are drawn: of more, those with the most mistakes."""

_BLUES = LinearSegmentedColormap.from_list("blues", ["#f4f6f9", "#a9c6e8", "#2364aa", "#0d2c54"])


def draw_most_confused(
    counts: Int64[np.ndarray, "truth found"], names: Sequence[str], *, title: str, percent: bool = False
) -> Figure:
    """Which class was taken for which; of many classes, those with the most mistakes.

    Args:
        counts: rows are true classes, columns what they were taken for.
        names: of the classes.
        title: above the picture.
        percent: write of how many in a hundred of its row, rather than how many.
    """
    names = [shorten(name) for name in names]
    if len(names) > MOST_SHOWN:
        mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
        shown = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_SHOWN])
        counts, names = counts[np.ix_(shown, shown)], [names[place] for place in shown]
        title += f" (the {MOST_SHOWN} with the most mistakes)"
    if percent:
        counts = np.rint(100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(np.int64)
    return draw_counts(counts, names, title=title, found="Taken for")


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


def _shrink(number: str, size: int) -> float:
    """Numbers of many digits get smaller, so that they stay in their cell."""
    room = 6 if size <= 16 else 4
    return min(1.0, room / max(len(number), 1))
