"""The folder and the pictures that an evaluation of a classifier leaves behind."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sleuth.evaluation.classification import BINS, ClassEvaluation, ClassQuality, answers_text, class_text
from sleuth.evaluation.confusion_figure import draw_most_confused
from sleuth.evaluation.figures import ACCENT, COLOURS, FAINT, INK, new_figure, save_figure, style
from sleuth.evaluation.report_files import write_csv, write_json, write_page, write_text
from sleuth.files import make_folder


def write_class_report(evaluation: ClassEvaluation, folder: Path) -> list[Path]:
    """Write every number and picture of an evaluation into a folder, each file whole or not at all.

    Files: scores.json (everything), per_class.csv, answers.jsonl (each picture, the surest mistakes first),
    confusion.png, reliability.png, and report.html (all tables and pictures on one page).

    Raises:
        UserError: the folder cannot be written to.
    """
    folder = make_folder(folder)
    numbers = [
        write_json(folder / "scores.json", evaluation.to_json()),
        write_csv(folder / "per_class.csv", ClassQuality, evaluation.per_class),
        write_text(folder / "answers.jsonl", answers_text(evaluation)),
    ]
    pictures = [
        save_figure(draw_class_confusion(evaluation), folder / "confusion.png"),
        save_figure(draw_reliability(evaluation), folder / "reliability.png"),
    ]
    page = write_page(folder / "report.html", class_text(evaluation), pictures)
    return [*numbers, *pictures, page]


def draw_class_confusion(evaluation: ClassEvaluation) -> Figure:
    """Which class was taken for which; of many classes, those with the most mistakes."""
    return draw_most_confused(evaluation.confusion, evaluation.names, title="What each class was taken for")


def draw_reliability(evaluation: ClassEvaluation) -> Figure:
    """The share of right guesses against their score: on the diagonal, scores mean what they say."""
    figure = new_figure(5.6, 5.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    edges = np.arange(BINS) / BINS
    counts, scores, right = (np.asarray(column) for column in zip(*evaluation.reliability, strict=True))
    there = counts > 0
    upper.bar(edges[there], right[there], width=1 / BINS, align="edge", color=COLOURS[0], edgecolor="white")
    upper.plot((0, 1), (0, 1), color=FAINT, linestyle="--", linewidth=1)
    upper.plot(scores[there], right[there], "o", color=ACCENT, markersize=4)
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1)
    numbers = evaluation.numbers
    style(upper, f"Calibration: ECE {numbers['ECE']:.3f}, top-1 {numbers['top-1']:.3f}", "", "Share that is right")
    lower.bar(edges, counts, width=1 / BINS, align="edge", color=FAINT, edgecolor="white")
    style(lower, "", "Score of the best guess", "Pictures")
    lower.yaxis.label.set_color(INK)
    return figure
