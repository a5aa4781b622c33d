"""What the commands share: consoles, progress, and JSON that goes to a file or to stdout."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sleuth.files import atomic_write

if TYPE_CHECKING:
    from rich.console import Console


def out() -> "Console":
    """Where results go."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def err() -> "Console":
    """Where progress and remarks go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def write_json(value: object, where: str) -> None:
    """Print JSON to stdout for ``-``, else write it to a file, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if where == "-":
        sys.stdout.write(text)
        return
    with atomic_write(Path(where)) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; yields what to call with the number done. Shows nothing where there is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = err()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)
