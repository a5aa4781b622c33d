"""`sleuth data check`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import typer

from sleuth.cli.console import print_text, progress, tell, write_json
from sleuth.cli.semantic_words import parse_ignored
from sleuth.data.checks import check_folder
from sleuth.data.contact import write_contact_sheet
from sleuth.data.held_out import HELD_OUT_PART, REST_PART, held_out_count
from sleuth.data.open import available_splits
from sleuth.data.report import DataReport
from sleuth.data.semantic.checks import SemanticReport, check_semantic_folder
from sleuth.data.semantic.open import is_semantic
from sleuth.data.text.checks import TextReport, check_text
from sleuth.data.text.open import is_text, parse_languages
from sleuth.errors import UserError

SEMANTIC = "semantic"
"""What ``--annotations`` calls masks of classes."""

_ALL = 10**9
Checked = TypeVar("Checked")


def run_check(
    path: Path,
    format: str | None,
    split: str | None,
    images: Path | None,
    sheet: Path | None,
    *,
    annotations: str | None,
    languages: str | None,
    ignore: str | None = None,
    quick: bool,
    every: bool,
    as_json: bool,
) -> None:
    """Check every split and print the reports; exit code 1 if something would stop a training."""
    if languages is not None or (format is None and is_text(path)):
        if sheet is not None:
            raise UserError("a contact sheet shows pictures, and this is text", where="--sheet", mend="leave it out")
        sides = None if languages is None else parse_languages(languages)
        texts = _with_progress(lambda advance: check_text(path, split, sides, advance=advance))
        _print(texts, every=every, as_json=as_json)
        _end(texts, "lines")
        return
    if annotations == SEMANTIC or (annotations is None and format is None and _has_masks_alone(path)):
        if sheet is not None:
            raise UserError("a contact sheet shows boxes, and these are masks", where="--sheet", mend="leave it out")
        masks = _with_progress(
            lambda advance: check_semantic_folder(
                path, split, ignored=parse_ignored(ignore), deep=not quick, advance=advance
            )
        )
        _print(masks, every=every, as_json=as_json)
        _end(masks, "pictures")
        return
    if ignore is not None:
        raise UserError("--ignore is of masks of classes, and here are objects", mend="leave it out")
    wanted = annotations or "boxes"
    checked = _with_progress(
        lambda advance: check_folder(path, format, split, images, deep=not quick, advance=advance, annotations=wanted)
    )
    reports = [report for _, report in checked]
    _print(reports, every=every, as_json=as_json)
    if sheet is not None:
        for data, _ in checked:
            file = sheet if len(checked) == 1 else sheet.with_stem(f"{sheet.stem}-{data.split}")
            tell(f"contact sheet: {write_contact_sheet(data, file)}")
    if len(checked) == 1 and split is None and (held := held_out_count(checked[0][0].records)):
        tell(
            f"the data is in one split: `sleuth train --data` learns from {len(checked[0][0]) - held} of its pictures "
            f"(--split {REST_PART}) and measures on {held} (--split {HELD_OUT_PART})"
        )
    _end(reports, "pictures")


def _has_masks_alone(path: Path) -> bool:
    """Whether there are masks of classes, and no boxes beside them."""
    if not is_semantic(path):
        return False
    try:
        return not available_splits(path)
    except UserError:
        return True


def _with_progress(check: Callable[[Callable[[], None]], Checked]) -> Checked:
    done = 0
    with progress("checking", None) as advance:

        def one() -> None:
            nonlocal done
            done += 1
            advance(done)

        return check(one)


def _print(reports: Sequence[DataReport | TextReport | SemanticReport], *, every: bool, as_json: bool) -> None:
    if as_json:
        write_json([report.to_json() for report in reports], "-")
        return
    for report in reports:
        print_text((report.render(_ALL) if every else report.render()) + "\n")


def _end(reports: Sequence[DataReport | TextReport | SemanticReport], what: str) -> None:
    errors = sum(len(report.errors) for report in reports)
    if errors:
        tell(
            f"{errors} error{'' if errors == 1 else 's'} would stop a training; `sleuth train --skip-faulty` leaves "
            f"faulty {what} out"
        )
        raise typer.Exit(1)
