"""What `sleuth demo` can show, each offline on bundled weights."""

from collections.abc import Callable, Mapping
from pathlib import Path

from sleuth.errors import UserError


def _detect(folder: Path, model: str | None, count: int | None) -> None:
    from sleuth.cli.demo import run_demo

    run_demo(folder, model or "sleuth-scenes", 100 if count is None else count)


def _translate(folder: Path, model: str | None, count: int | None) -> None:
    from sleuth.cli.demo_translate import run_demo_translate

    run_demo_translate(folder, model or "numbers", 400 if count is None else count)


def _classify(folder: Path, model: str | None, count: int | None) -> None:
    from sleuth.cli.demo_classify import run_demo_classify

    run_demo_classify(folder, model or "vit-digits", count)


DEMOS: Mapping[str, Callable[[Path, str | None, int | None], None]] = {
    "detect": _detect,
    "translate": _translate,
    "classify": _classify,
}
"""By name: what shows it, given the folder for pictures, the model if one was named, and how many to measure."""


def show(what: str, folder: Path, model: str | None, count: int | None) -> None:
    """Show one of them.

    Raises:
        UserError: there is no such demonstration, or it cannot be given.
    """
    if what not in DEMOS:
        raise UserError(f"there is nothing to show called {what!r}", mend=f"choose one of {', '.join(DEMOS)}")
    DEMOS[what](folder, model, count)
