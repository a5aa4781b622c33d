"""What the commands share: plain text, remarks, progress, and JSON that goes to a file or to stdout."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sleuth.files import atomic_write

if TYPE_CHECKING:
    from rich.console import Console

_NUMBERS = re.compile(r"\[\n[-\d\s.,eE+]+\]")


def out() -> "Console":
    """Where tables go."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def err() -> "Console":
    """Where progress goes."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_text(text: str = "") -> None:
    """Print a result on standard output, as it is."""
    sys.stdout.write(f"{text}\n")


def tell(text: str) -> None:
    """Say something to the person; standard output is left to results."""
    sys.stderr.write(f"{text}\n")


def try_next(commands: Mapping[str, str]) -> str:
    """Commands worth trying, in lines, each with what it is good for beside it."""
    width = max(map(len, commands))
    return "\n".join(["Try next:", *(f"  {command:<{width}}  {about}" for command, about in commands.items())])


def json_text(value: object) -> str:
    """A value as JSON for people and programs: a list of numbers stays on one line."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        # Names of files that are not UTF-8 cannot be written as they are.
        text = json.dumps(value, indent=2, allow_nan=False)
    return _NUMBERS.sub(lambda match: f"[{' '.join(match[0][1:-1].split())}]", text) + "\n"


def write_json(value: object, where: str) -> None:
    """Print JSON to stdout for ``-``, else write it to a file, whole or not at all."""
    if where == "-":
        sys.stdout.write(json_text(value))
        return
    with atomic_write(Path(where)) as temporary:
        temporary.write_text(json_text(value), encoding="utf-8")


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; yields what to call with the number done. Shows nothing where there is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err(), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)
