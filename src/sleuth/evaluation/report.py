"""What an evaluation leaves behind: tables on the terminal, and a folder of numbers and pictures."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from sleuth.evaluation.coco import ClassScores, CocoScores, numbers_of
from sleuth.evaluation.confusion import draw_confusion
from sleuth.evaluation.curves import draw_precision_recall
from sleuth.evaluation.detection import DetectionEvaluation
from sleuth.evaluation.figures import save_figure
from sleuth.evaluation.layers import LayerStudy, draw_layers
from sleuth.evaluation.result_files import write_results
from sleuth.files import atomic_write, make_folder

if TYPE_CHECKING:
    from rich.table import Table


def tables(evaluation: DetectionEvaluation, most_classes: int | None = None) -> "list[Table]":
    """All tables of an evaluation, for a rich console.

    Args:
        evaluation: what was measured.
        most_classes: show the classes with the most objects only; None shows all.
    """
    found = [scores_table(evaluation.scores), classes_table(evaluation.scores.per_class, most_classes)]
    return found if evaluation.layers is None else [*found, layers_table(evaluation.layers)]


def scores_table(scores: CocoScores) -> "Table":
    """The twelve COCO numbers, each with what it means."""
    table = _table("COCO scores", ("number", "value", "meaning"), numbers={"value"})
    for name, meaning in numbers_of(scores.max_detections).items():
        table.add_row(name, _show(scores[name]), meaning)
    return table


def classes_table(per_class: Sequence[ClassScores], most: int | None = None) -> "Table":
    """AP of each class."""
    columns = ("class", "objects", "predictions", "AP", "AP50", "AP75", "AR100")
    shown = list(per_class)
    if most is not None and len(shown) > most:
        shown = sorted(shown, key=lambda entry: -entry.objects)[:most]
    title = "Classes" if len(shown) == len(per_class) else f"The {len(shown)} most frequent of {len(per_class)} classes"
    table = _table(title, columns, numbers=set(columns[1:]))
    for entry in shown:
        values = (entry.ap, entry.ap50, entry.ap75, entry.ar)
        table.add_row(_plain(entry.name), str(entry.objects), str(entry.predictions), *map(_show, values))
    return table


def layers_table(study: LayerStudy) -> "Table":
    """AP of each decoder layer, with and without suppression."""
    columns = ("layer", "AP", "AP after NMS", "AP50", "AP50 after NMS", "removed")
    table = _table(f"Decoder layers (NMS within a class at IoU {study.nms_iou:g})", columns, numbers=set(columns))
    for row in study.layers:
        values = (row.ap, row.ap_nms, row.ap50, row.ap50_nms)
        table.add_row(str(row.layer), *map(_show, values), f"{row.suppressed:.1%}")
    return table


def text(evaluation: DetectionEvaluation, most_classes: int | None = None, width: int = 100) -> str:
    """The tables as plain text, without colours."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(width=width, color_system=None, force_terminal=False, file=out)
    for table in tables(evaluation, most_classes):
        console.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def write_report(evaluation: DetectionEvaluation, folder: Path) -> list[Path]:
    """Write every number and picture of an evaluation into a folder, each file whole or not at all.

    Files: scores.json (everything), per_class.csv and .json, confusion.png, precision_recall.png, predictions.json
    (COCO results, which `evaluate_files` reads) and, with a layer study, layers.png and layers.csv.

    Returns: the files.

    Raises:
        UserError: the folder cannot be written to, or the disk is full.
    """
    folder = make_folder(folder)
    per_class = [asdict(entry) for entry in evaluation.scores.per_class]
    written = [
        _write_json(folder / "scores.json", evaluation.to_json()),
        _write_json(folder / "per_class.json", per_class),
        _write_csv(folder / "per_class.csv", [field.name for field in fields(ClassScores)], per_class),
        save_figure(draw_confusion(evaluation.confusion), folder / "confusion.png"),
        save_figure(draw_precision_recall(evaluation.scores), folder / "precision_recall.png"),
        write_results(folder / "predictions.json", evaluation.truth, evaluation.predictions),
    ]
    if evaluation.layers is not None:
        rows = [asdict(row) for row in evaluation.layers.layers]
        written.append(_write_csv(folder / "layers.csv", list(rows[0]) if rows else [], rows))
        written.append(save_figure(draw_layers(evaluation.layers), folder / "layers.png"))
    return written


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


def _table(title: str, columns: Sequence[str], numbers: set[str]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=column in numbers)
    return table


def _show(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _plain(name: str) -> str:
    from rich.markup import escape

    return escape(name)
