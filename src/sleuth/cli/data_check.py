"""`sleuth data check`."""

from pathlib import Path

import typer

from sleuth.cli.console import out, progress, write_json
from sleuth.data.checks import check_folder
from sleuth.data.contact import write_contact_sheet


def run_check(
    path: Path,
    format: str | None,
    split: str | None,
    images: Path | None,
    sheet: Path | None,
    *,
    quick: bool,
    as_json: bool,
) -> None:
    """Check every split and print the reports; exit code 1 if something would stop a training."""
    done = 0
    with progress("checking", None) as advance:

        def one() -> None:
            nonlocal done
            done += 1
            advance(done)

        checked = check_folder(path, format, split, images, deep=not quick, advance=one)
    if as_json:
        write_json([report.to_json() for _, report in checked], "-")
    else:
        for _, report in checked:
            out().print(report.render(), markup=False)
            out().print()
    if sheet is not None:
        written = write_contact_sheet(checked[0][0], sheet)
        out().print(f"contact sheet: {written}", markup=False, style=None) if not as_json else None
    if any(report.errors for _, report in checked):
        raise typer.Exit(1)
