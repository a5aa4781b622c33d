"""What was measured as tables, for the terminal and as plain text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sleuth.evaluation.coco import CocoScores, numbers_of
from sleuth.evaluation.detection import DetectionEvaluation
from sleuth.evaluation.layers import LayerStudy
from sleuth.evaluation.panoptic import PanopticScores
from sleuth.evaluation.plain_tables import as_text, new_table, plain

if TYPE_CHECKING:
    from rich.table import Table

_SIZE_OF = {"s": "small", "m": "medium", "l": "large"}
"""What the last letter of APs, ARm, ... stands for."""


def tables(evaluation: DetectionEvaluation | PanopticScores, most_classes: int | None = None) -> "list[Table]":
    """All tables of an evaluation, for a rich console.

    Args:
        evaluation: what was measured.
        most_classes: show the classes with the most objects only; None shows all.
    """
    if isinstance(evaluation, PanopticScores):
        return [panoptic_table(evaluation), panoptic_classes_table(evaluation, most_classes)]
    found = [scores_table(evaluation.scores, evaluation.masks), classes_table(evaluation.scores, most_classes)]
    if evaluation.masks is not None:
        found.append(classes_table(evaluation.masks, most_classes))
    if evaluation.panoptic is not None:
        found += tables(evaluation.panoptic, most_classes)
    return found if evaluation.layers is None else [*found, layers_table(evaluation.layers)]


def scores_table(scores: CocoScores, masks: CocoScores | None = None) -> "Table":
    """The twelve COCO numbers, of boxes and, if there are any, of masks: on how many objects, and what each means."""
    values = ("value",) if masks is None else ("boxes", "masks")
    columns = ("number", *values, "objects", "meaning")
    table = new_table("COCO scores", columns, numbers=set(columns[1:-1]))
    every = sum(entry.objects for entry in scores.per_class)
    for name, meaning in numbers_of(scores.max_detections).items():
        measured = [scores[name]] if masks is None else [scores[name], masks[name]]
        size = _SIZE_OF.get(name[2:])
        objects = every if size is None else scores.objects_per_size.get(size, 0)
        table.add_row(name, *map(_show, measured), f"{objects:,}", meaning)
    return table


def classes_table(scores: CocoScores, most: int | None = None) -> "Table":
    """AP of each class, by boxes or by masks."""
    columns = ("class", "objects", "predictions", "AP", "AP50", "AP75", f"AR{scores.max_detections}")
    rows = list(range(len(scores.per_class)))
    shown = _most(rows, most, [entry.objects for entry in scores.per_class])
    title = "Classes" if scores.kind == "boxes" else "Classes, by masks"
    table = new_table(_title(title, len(shown), len(rows)), columns, numbers=set(columns[1:]))
    for row in shown:
        entry = scores.per_class[row]
        values = (entry.ap, entry.ap50, entry.ap75, entry.ar)
        table.add_row(plain(entry.name), str(entry.objects), str(entry.predictions), *map(_show, values))
    return table


def panoptic_table(scores: PanopticScores) -> "Table":
    """Panoptic quality of all classes, things and stuff."""
    columns = ("classes", "PQ", "SQ", "RQ", "measured")
    table = new_table("Panoptic quality", columns, numbers=set(columns[1:]))
    for name, quality in (("all", scores.all), ("things", scores.things), ("stuff", scores.stuff)):
        table.add_row(name, *map(_show, (quality.pq, quality.sq, quality.rq)), str(quality.classes))
    return table


def panoptic_classes_table(scores: PanopticScores, most: int | None = None) -> "Table":
    """Panoptic quality of each class, things before stuff."""
    columns = ("class", "kind", "segments", "found", "invented", "PQ", "SQ", "RQ")
    rows = sorted(range(len(scores.per_class)), key=lambda row: not scores.per_class[row].is_thing)
    shown = _most(rows, most, [entry.segments for entry in scores.per_class])
    title = _title("Panoptic quality of classes", len(shown), len(rows))
    table = new_table(title, columns, numbers=set(columns[2:]))
    for row in shown:
        entry = scores.per_class[row]
        counts = map(str, (entry.segments, entry.found, entry.invented))
        kind = "thing" if entry.is_thing else "stuff"
        table.add_row(plain(entry.name), kind, *counts, *map(_show, (entry.pq, entry.sq, entry.rq)))
    return table


def layers_table(study: LayerStudy) -> "Table":
    """AP of each decoder layer, with and without suppression."""
    columns = ("layer", "AP", "AP after NMS", "AP50", "AP50 after NMS", "removed")
    table = new_table(f"Decoder layers (NMS within a class at IoU {study.nms_iou:g})", columns, numbers=set(columns))
    for row in study.layers:
        values = (row.ap, row.ap_nms, row.ap50, row.ap50_nms)
        table.add_row(str(row.layer), *map(_show, values), f"{row.suppressed:.1%}")
    return table


def text(evaluation: DetectionEvaluation | PanopticScores, most_classes: int | None = None, width: int = 120) -> str:
    """The tables as plain text, without colours."""
    return as_text(tables(evaluation, most_classes), width)


def _most(rows: list[int], most: int | None, weights: Sequence[int]) -> list[int]:
    """The rows of the greatest weights, if there are too many."""
    return rows if most is None or len(rows) <= most else sorted(rows, key=lambda row: -weights[row])[:most]


def _title(title: str, shown: int, of: int) -> str:
    return title if shown == of else f"{title}: the {shown} most frequent of {of}"


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
