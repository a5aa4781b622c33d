"""`sleuth data check`."""

from pathlib import Path

import typer

from sleuth.cli.console import print_text, progress, tell, write_json
from sleuth.data.checks import check_folder
from sleuth.data.contact import write_contact_sheet

_ALL = 10**9


def run_check(
    path: Path,
    format: str | None,
    split: str | None,
    images: Path | None,
    sheet: Path | None,
    *,
    annotations: str,
    quick: bool,
    every: bool,
    as_json: bool,
) -> None:
    """Check every split and print the reports; exit code 1 if something would stop a training."""
    done = 0
    with progress("checking", None) as advance:

        def one() -> None:
            nonlocal done
            done += 1
            advance(done)

        checked = check_folder(path, format, split, images, deep=not quick, advance=one, annotations=annotations)
    if as_json:
        write_json([report.to_json() for _, report in checked], "-")
    else:
        for _, report in checked:
            print_text((report.render(_ALL) if every else report.render()) + "\n")
    if sheet is not None:
        for data, _ in checked:
            file = sheet if len(checked) == 1 else sheet.with_stem(f"{sheet.stem}-{data.split}")
            tell(f"contact sheet: {write_contact_sheet(data, file)}")
    errors = sum(len(report.errors) for _, report in checked)
    if errors:
        tell(
            f"{errors} error{'' if errors == 1 else 's'} would stop a training; `sleuth train --skip-faulty` leaves "
            "faulty pictures out"
        )
        raise typer.Exit(1)
