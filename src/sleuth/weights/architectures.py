"""What a model file is for: finding objects, translating, classifying or parting pictures; each has its own card."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open

from sleuth.errors import UserError
from sleuth.models.families import FAMILIES, frozen

Settings = TypeVar("Settings")

KEY = "sleuth"
"""Where a card stands among a safetensors file's metadata."""

TASKS: Mapping[str, str] = {
    **dict.fromkeys(FAMILIES, "detection"),
    "seq2seq": "translation",
    "vit": "classification",
    "segmenter": "semantic segmentation",
}
"""By architecture, as a card has it."""

_HELP: Mapping[str, str] = {
    "detection": "finds objects: use it with `sleuth predict` and `sleuth evaluate`",
    "translation": "translates text: use it with `sleuth translate` and `sleuth evaluate`",
    "classification": "names pictures: use it with `sleuth predict` and `sleuth evaluate`",
    "semantic segmentation": "gives every pixel a class: use it with `sleuth predict` and `sleuth evaluate`",
}

_AGAIN = "train or export it again, or update Sleuth"


def card_values(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The card in a file's metadata, as plain values.

    Raises:
        UserError: there is none, or it is no table.
    """
    if KEY not in metadata:
        raise UserError("these weights carry no Sleuth card", where=path, mend="use a file that `sleuth train` wrote")
    with card_faults(path, "is not readable"):
        values = json.loads(metadata[KEY])
        if not isinstance(values, dict):
            raise TypeError("it is no table")
    return values


def card_for(task: str, path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The card in the metadata of a file that is wanted for a task, as plain values.

    Raises:
        UserError: there is none, or it is that of a model for something else, or of one that nobody knows.
    """
    values = card_values(path, metadata)
    with card_faults(path, "is not readable"):
        architecture = str(values["architecture"])
    its = TASKS.get(architecture)
    if its is None:
        known = [name for name, of in TASKS.items() if of == task]
        mend = f"update Sleuth; this version knows: {', '.join(known)}"
        raise UserError(f"unknown architecture {architecture!r}", where=path, mend=mend)
    if its != task:
        raise UserError(f"this model {_HELP[its].split(':')[0]}", where=path, mend=_HELP[its].split(": ")[1])
    return values


@contextmanager
def card_faults(path: Path, what: str = "describes no model") -> Iterator[None]:
    """What goes wrong in here is the fault of a file's card.

    Raises:
        UserError: something did; it names the file and the fault.
    """
    try:
        yield
    except KeyError as error:
        raise UserError(f"the card {what} ({error} is missing)", where=path, mend=_AGAIN) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"the card {what} ({error})", where=path, mend=_AGAIN) from error


def settings_from(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Settings from the plain JSON values of a card.

    Raises:
        TypeError: a key that these settings do not have, or a value of another kind.
        ValueError: values that do not go together.
    """
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - known):
        raise TypeError(f"unknown option {unknown[0]!r}")
    return kind(**{name: frozen(value) for name, value in values.items()})


def task_of_file(path: Path) -> str | None:
    """What a ``.safetensors`` file of ours is for; None if that cannot be told."""
    try:
        with safe_open(path, framework="pt") as file:
            values = card_values(path, file.metadata() or {})
    except (UserError, SafetensorError, OSError, ValueError):
        return None
    return TASKS.get(str(values.get("architecture")))
