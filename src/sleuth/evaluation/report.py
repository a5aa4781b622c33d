"""The folder that an evaluation leaves behind: numbers, tables, plots, results, and a page that shows them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sleuth.evaluation.coco import ClassScores
from sleuth.evaluation.confusion import draw_confusion
from sleuth.evaluation.curves import draw_precision_recall
from sleuth.evaluation.detection import DetectionEvaluation
from sleuth.evaluation.figures import save_figure
from sleuth.evaluation.layers import LayerScores, draw_layers
from sleuth.evaluation.panoptic import ClassQuality, PanopticScores
from sleuth.evaluation.panoptic_figure import draw_panoptic_quality
from sleuth.evaluation.report_files import write_csv, write_json, write_page
from sleuth.evaluation.result_files import write_results
from sleuth.evaluation.tables import text
from sleuth.files import make_folder


def write_report(
    evaluation: DetectionEvaluation | PanopticScores, folder: Path, *, pictures: Sequence[Path] = ()
) -> list[Path]:
    """Write every number and picture of an evaluation into a folder, each file whole or not at all.

    Files: scores.json (everything), report.html (all tables and pictures on one page), and

    - of boxes: per_class.csv and .json, confusion.png, precision_recall.png, predictions.json (COCO results, with masks
      if there are any, which `evaluate_files` reads);
    - of masks: mask_per_class.csv, mask_precision_recall.png;
    - of panoptic quality: panoptic.csv, panoptic.png;
    - of a layer study: layers.png, layers.csv.

    Args:
        evaluation: what was measured.
        folder: where to write; it is created.
        pictures: files in that folder that the page is to show as well.

    Returns: the files.

    Raises:
        UserError: the folder cannot be written to, or the disk is full.
    """
    folder = make_folder(folder)
    written = [write_json(folder / "scores.json", evaluation.to_json())]
    if isinstance(evaluation, PanopticScores):
        written += _write_panoptic(evaluation, folder)
    else:
        written += _write_detection(evaluation, folder)
    shown = [*pictures, *(path for path in written if path.suffix == ".png")]
    return [*written, write_page(folder / "report.html", text(evaluation), shown)]


def _write_detection(evaluation: DetectionEvaluation, folder: Path) -> list[Path]:
    per_class = evaluation.scores.per_class
    written = [
        write_json(folder / "per_class.json", [asdict(entry) for entry in per_class]),
        write_csv(folder / "per_class.csv", ClassScores, per_class),
        save_figure(draw_confusion(evaluation.confusion), folder / "confusion.png"),
        save_figure(draw_precision_recall(evaluation.scores), folder / "precision_recall.png"),
        write_results(folder / "predictions.json", evaluation.truth, evaluation.predictions),
    ]
    if evaluation.masks is not None:
        written.append(write_csv(folder / "mask_per_class.csv", ClassScores, evaluation.masks.per_class))
        written.append(save_figure(draw_precision_recall(evaluation.masks), folder / "mask_precision_recall.png"))
    if evaluation.panoptic is not None:
        written += _write_panoptic(evaluation.panoptic, folder)
    if evaluation.layers is not None:
        written.append(write_csv(folder / "layers.csv", LayerScores, evaluation.layers.layers))
        written.append(save_figure(draw_layers(evaluation.layers), folder / "layers.png"))
    return written


def _write_panoptic(scores: PanopticScores, folder: Path) -> list[Path]:
    return [
        write_csv(folder / "panoptic.csv", ClassQuality, scores.per_class),
        save_figure(draw_panoptic_quality(scores), folder / "panoptic.png"),
    ]
