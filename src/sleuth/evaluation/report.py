"""The folder that an evaluation leaves behind: numbers, tables, plots, results, and a page that shows them."""

import csv
import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from sleuth.evaluation.coco import ClassScores
from sleuth.evaluation.confusion import draw_confusion
from sleuth.evaluation.curves import draw_precision_recall
from sleuth.evaluation.detection import DetectionEvaluation
from sleuth.evaluation.figures import save_figure
from sleuth.evaluation.layers import draw_layers
from sleuth.evaluation.panoptic import ClassQuality, PanopticScores
from sleuth.evaluation.panoptic_figure import draw_panoptic_quality
from sleuth.evaluation.result_files import write_results
from sleuth.evaluation.tables import text
from sleuth.files import atomic_write, make_folder

_TITLES = {
    "pictures.png": "Pictures: what is there, and what was found",
    "panoptic.png": "Panoptic quality of each class",
    "precision_recall.png": "Precision and recall of boxes",
    "mask_precision_recall.png": "Precision and recall of masks",
    "confusion.png": "Confusion of classes",
    "layers.png": "Decoder layers",
    "reliability.png": "Calibration of scores",
}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;color:#1b2a41;max-width:1100px;margin:2rem auto;padding:0 1rem}"
    "pre{font-size:13px;line-height:1.35;overflow-x:auto}img{max-width:100%}"
)


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
    written = [_write_json(folder / "scores.json", evaluation.to_json())]
    if isinstance(evaluation, PanopticScores):
        written += _write_panoptic(evaluation, folder)
    else:
        written += _write_detection(evaluation, folder)
    shown = [*pictures, *(path for path in written if path.suffix == ".png")]
    return [*written, write_page(folder / "report.html", text(evaluation), shown)]


def _write_detection(evaluation: DetectionEvaluation, folder: Path) -> list[Path]:
    per_class = [asdict(entry) for entry in evaluation.scores.per_class]
    columns = [field.name for field in fields(ClassScores)]
    written = [
        _write_json(folder / "per_class.json", per_class),
        _write_csv(folder / "per_class.csv", columns, per_class),
        save_figure(draw_confusion(evaluation.confusion), folder / "confusion.png"),
        save_figure(draw_precision_recall(evaluation.scores), folder / "precision_recall.png"),
        write_results(folder / "predictions.json", evaluation.truth, evaluation.predictions),
    ]
    if evaluation.masks is not None:
        of_masks = [asdict(entry) for entry in evaluation.masks.per_class]
        written.append(_write_csv(folder / "mask_per_class.csv", columns, of_masks))
        written.append(save_figure(draw_precision_recall(evaluation.masks), folder / "mask_precision_recall.png"))
    if evaluation.panoptic is not None:
        written += _write_panoptic(evaluation.panoptic, folder)
    if evaluation.layers is not None:
        rows = [asdict(row) for row in evaluation.layers.layers]
        written.append(_write_csv(folder / "layers.csv", list(rows[0]) if rows else [], rows))
        written.append(save_figure(draw_layers(evaluation.layers), folder / "layers.png"))
    return written


def _write_panoptic(scores: PanopticScores, folder: Path) -> list[Path]:
    rows = [asdict(entry) for entry in scores.per_class]
    return [
        _write_csv(folder / "panoptic.csv", [field.name for field in fields(ClassQuality)], rows),
        save_figure(draw_panoptic_quality(scores), folder / "panoptic.png"),
    ]


def write_page(path: Path, tables: str, pictures: Sequence[Path]) -> Path:
    """One page with the tables and all pictures, which lie beside it."""
    order = list(_TITLES)
    known = sorted(pictures, key=lambda file: order.index(file.name) if file.name in order else len(order))
    shown = "\n".join(
        f'<h2>{html.escape(_TITLES.get(file.name, file.stem))}</h2>\n<img src="{html.escape(file.name)}" alt="">'
        for file in known
    )
    page = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Evaluation</title>\n'
        f"<style>{_STYLE}</style>\n<h1>Evaluation</h1>\n<pre>{html.escape(tables)}</pre>\n{shown}\n</html>\n"
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _write_json(path: Path, value: object) -> Path:
    with atomic_write(path) as temporary:
        content = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(content + "\n", encoding="utf-8")
    return path


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, object]]) -> Path:
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
