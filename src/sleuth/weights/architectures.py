"""What a model file is for: detectors find objects, others translate or classify, and each has a card of its own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from sleuth.errors import UserError
from sleuth.models.families import FAMILIES

KEY = "sleuth"
"""Where a card stands among a safetensors file's metadata."""

TASKS: Mapping[str, str] = {
    **dict.fromkeys(FAMILIES, "detection"),
    "seq2seq": "translation",
    "vit": "classification",
}
"""By architecture, as a card has it."""

_HELP: Mapping[str, str] = {
    "detection": "finds objects: use it with `sleuth predict` and `sleuth evaluate`",
    "translation": "translates text: use it with `sleuth translate` and `sleuth evaluate`",
    "classification": "names pictures: use it with `sleuth predict` and `sleuth evaluate`",
}


def card_values(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The card in a file's metadata, as plain values.

    Raises:
        UserError: there is none, or it is no table.
    """
    if KEY not in metadata:
        raise UserError("these weights carry no Sleuth card", where=path, mend="use a file that `sleuth train` wrote")
    try:
        values = json.loads(metadata[KEY])
        if not isinstance(values, dict):
            raise TypeError("it is no table")
    except (ValueError, TypeError) as error:
        raise UserError(f"the card is not readable ({error})", where=path, mend="train or export it again") from error
    return values


def check_task(values: Mapping[str, Any], task: str, path: Path) -> None:
    """Refuse a model that is for something else.

    Raises:
        UserError: it is; the message says what for. An architecture that nobody knows passes here.
    """
    its = TASKS.get(str(values.get("architecture")), task)
    if its != task:
        raise UserError(f"this model {_HELP[its].split(':')[0]}", where=path, mend=_HELP[its].split(": ")[1])


def task_of_file(path: Path) -> str | None:
    """What a ``.safetensors`` file of ours is for; None if that cannot be told."""
    try:
        with safe_open(path, framework="pt") as file:
            values = card_values(path, file.metadata() or {})
    except (UserError, SafetensorError, OSError, ValueError):
        return None
    return TASKS.get(str(values.get("architecture")))
