"""The folder and the pictures that an evaluation of a model of pixel classes leaves behind."""

import csv
import io
import json
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sleuth.evaluation.confusion import draw_counts
from sleuth.evaluation.figures import COLOURS, INK, new_figure, save_figure, shorten, style
from sleuth.evaluation.report import write_page
from sleuth.evaluation.semantic import ClassPixels, SemanticEvaluation, semantic_text
from sleuth.files import atomic_write, make_folder

MOST_SHOWN = 60
"""Classes of a confusion matrix that is drawn: of more, those with the most mistakes."""


def write_semantic_report(evaluation: SemanticEvaluation, folder: Path, pictures: tuple[Path, ...] = ()) -> list[Path]:
    """Write every number and picture of an evaluation into a folder, each file whole or not at all.

    Files: scores.json (everything), per_class.csv, confusion.png, iou.png, and report.html (all on one page).

    Args:
        evaluation: what was measured.
        folder: where to write.
        pictures: further ones in the folder, for the page.

    Raises:
        UserError: the folder cannot be written to.
    """
    folder = make_folder(folder)
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, [each.name for each in fields(ClassPixels)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(each) for each in evaluation.per_class)
    contents = {
        "scores.json": json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "per_class.csv": table.getvalue(),
    }
    for name, content in contents.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8", newline="")
    figures = [
        save_figure(draw_pixel_confusion(evaluation), folder / "confusion.png"),
        save_figure(draw_ious(evaluation), folder / "iou.png"),
    ]
    page = write_page(folder / "report.html", semantic_text(evaluation), [*pictures, *figures])
    return [*(folder / name for name in contents), *figures, page]


def draw_pixel_confusion(evaluation: SemanticEvaluation) -> Figure:
    """Of a hundred pixels of each class, how many were taken for which; of many classes, those with most mistakes."""
    counts, names = evaluation.confusion, [shorten(name) for name in evaluation.names]
    title = "Of 100 pixels of each class"
    if len(names) > MOST_SHOWN:
        mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
        shown = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_SHOWN])
        counts, names = counts[np.ix_(shown, shown)], [names[place] for place in shown]
        title += f" (the {MOST_SHOWN} with the most mistakes)"
    shares = np.rint(100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(np.int64)
    return draw_counts(shares, names, title=title, found="Taken for")


def draw_ious(evaluation: SemanticEvaluation) -> Figure:
    """The IoU of each class as bars, and their mean as a line."""
    rows = [each for each in evaluation.per_class if each.iou is not None]
    figure = new_figure(6.0, max(2.4, 0.3 * len(rows) + 1.2))
    axes = figure.subplots()
    values = [each.iou or 0.0 for each in rows]
    axes.barh(range(len(rows)), values, color=COLOURS[0])
    for row, value in enumerate(values):
        axes.text(value + 0.01, row, f"{value:.2f}", va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(rows)), [shorten(each.name) for each in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08)
    mean = evaluation.numbers["mIoU"]
    axes.axvline(mean, color=COLOURS[1], linewidth=1.5)
    style(axes, f"IoU of each class; mean {mean:.3f}", "IoU", "")
    return figure
