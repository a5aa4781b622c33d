"""The pictures of what a person named, one after another."""

from collections.abc import Iterator, Sequence

from sleuth.cli.console import tell
from sleuth.errors import UserError
from sleuth.runtime.sources import Frame, Item


def readable(items: Sequence[Item], skip_faulty: bool) -> Iterator[Frame]:
    """The pictures of all items; one that cannot be read ends the run, or is named and left out."""
    for item in items:
        try:
            yield from item.frames()
        except UserError as error:
            if not skip_faulty:
                raise UserError(error.what, where=error.where, mend=f"{error.mend}; or give --skip-faulty") from error
            tell(f"left out: {error.line()}")
