"""The folder and the pictures that an evaluation of a model of pixel classes leaves behind."""

from pathlib import Path

from matplotlib.figure import Figure

from sleuth.evaluation.confusion_figure import draw_most_confused
from sleuth.evaluation.figures import COLOURS, INK, new_figure, save_figure, shorten, style
from sleuth.evaluation.report_files import write_csv, write_json, write_page
from sleuth.evaluation.semantic import ClassPixels, SemanticEvaluation, semantic_text
from sleuth.files import make_folder


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
    numbers = [
        write_json(folder / "scores.json", evaluation.to_json()),
        write_csv(folder / "per_class.csv", ClassPixels, evaluation.per_class),
    ]
    figures = [
        save_figure(draw_pixel_confusion(evaluation), folder / "confusion.png"),
        save_figure(draw_ious(evaluation), folder / "iou.png"),
    ]
    page = write_page(folder / "report.html", semantic_text(evaluation), [*pictures, *figures])
    return [*numbers, *figures, page]


def draw_pixel_confusion(evaluation: SemanticEvaluation) -> Figure:
    """Of a hundred pixels of each class, how many were taken for which; of many classes, those with most mistakes."""
    title = "Of 100 pixels of each class"
    return draw_most_confused(evaluation.confusion, evaluation.names, title=title, percent=True)


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
