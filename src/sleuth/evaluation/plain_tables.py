"""Tables of one look, for the terminal and as plain text."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def new_table(title: str, columns: Sequence[str], numbers: set[str]) -> "Table":
    """An empty table.

    Args:
        title: above it.
        columns: their headings.
        numbers: which of them hold numbers, and stand at the right.
    """
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=column in numbers)
    return table


def plain(name: str) -> str:
    """A name that is shown as it is, even where it looks like a style."""
    from rich.markup import escape

    return escape(name)


def as_text(tables: "Sequence[Table]", width: int = 120) -> str:
    """Tables as plain text, without colours."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(width=width, color_system=None, force_terminal=False, file=out)
    for table in tables:
        console.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
