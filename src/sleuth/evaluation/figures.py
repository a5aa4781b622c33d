"""One look for all evaluation pictures: matplotlib figures without any global state."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sleuth.files import atomic_write

INK = "#1b2a41"
FAINT = "#8b97a8"
GRID = "#e4e8ee"
ACCENT = "#d1495b"
COLOURS = (
    "#2364aa",
    "#e07a1f",
    "#3c9d6b",
    "#8f5fbf",
    "#c1121f",
    "#17a2b8",
    "#b5892e",
    "#d65db1",
    "#5c6b7a",
    "#7a9e1f",
    "#00566b",
    "#a0522d",
)
"""Colours of lines, told apart by eye also where red and green look alike (the lightness varies)."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, drawn by Agg and known to nobody else."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def style(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """A quiet frame: title at the left, faint grid, no box."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=8)
    axes.set_xlabel(xlabel, color=INK)
    axes.set_ylabel(ylabel, color=INK)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def shorten(name: str, most: int = 22) -> str:
    """A class name that fits beside an axis. A dollar sign stays one."""
    text = name if len(name) <= most else name[: most - 1] + "…"
    return text.replace("$", r"\$")


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
    return path
