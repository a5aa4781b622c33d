"""The words of `sleuth evaluate`, and what all its kinds say of what they found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.table import Table

from sleuth.cli.console import out, print_text, tell, write_json
from sleuth.errors import UserError

MOST_CLASSES = 30
"""Rows of a printed table of classes."""

OF_TEXT = ("languages", "beam", "length_penalty")
OF_OBJECTS = ("format", "images", "ground_truth", "predictions", "annotations", "panoptic", "layers", "tile")
OF_PIXELS = ("window", "scales", "flip", "ignore")
OF_CLASSES = ("probe",)


@dataclass(frozen=True)
class EvaluateWords:
    """What the command line said; see `sleuth evaluate --help`."""

    model: str | None
    data: str | None
    split: str | None
    format: str | None
    images: Path | None
    limit: int
    skip_faulty: bool
    ground_truth: Path | None
    predictions: Path | None
    layers: bool
    threshold: float
    max_detections: int
    annotations: str | None
    panoptic: bool
    ground_truth_folder: Path | None
    predictions_folder: Path | None
    out: Path | None
    json: bool
    batch_size: int
    device: str
    tile: str | None = None
    tile_overlap: float | None = None
    languages: str | None = None
    beam: int | None = None
    length_penalty: float | None = None
    probe: str | None = None
    window: str | None = None
    scales: str | None = None
    flip: bool = False
    ignore: str | None = None


def refuse(words: EvaluateWords, names: Sequence[str], why: str) -> None:
    """Refuse words that the model has no use for.

    Args:
        words: of the command line.
        names: those words, as `EvaluateWords` calls them.
        why: goes on after the option and ``is``.

    Raises:
        UserError: one of them was said.
    """
    for name in names:
        if getattr(words, name) not in (None, False):
            raise UserError(f"--{name.replace('_', '-')} is {why}", mend="leave it out")


@runtime_checkable
class Found(Protocol):
    """What an evaluation found."""

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        ...


def show(found: Found, heading: str, tables: Iterable[Table] = (), *, as_json: bool) -> None:
    """Print what was found, as JSON or as text and tables."""
    if as_json:
        write_json(found.to_json(), "-")
        return
    print_text(heading)
    for table in tables:
        out().print(table)


def tell_written(folder: Path, files: Sequence[Path]) -> None:
    """Say which files were written."""
    tell(f"written to {folder}: {', '.join(path.name for path in files)}")
