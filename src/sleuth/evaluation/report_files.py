"""The files of a report, whatever was measured: numbers, tables, lines of text, and a page that shows them."""

import csv
import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from sleuth.files import atomic_write

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


def write_json(path: Path, value: object) -> Path:
    """Plain values as JSON; no number may be other than finite."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, of: type, rows: Iterable[Any]) -> Path:
    """Dataclasses as rows of a table, whose columns are their fields.

    Args:
        path: where to write.
        of: their class.
        rows: the instances.
    """
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(of)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    return path


def write_text(path: Path, text: str) -> Path:
    """A text, its line ends as they are."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
    return path


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
    return write_text(path, page)
