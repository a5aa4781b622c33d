"""The vocabularies beside a model.bin: a token a line, or a JSON list; one for both sides, or one each."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sleuth.errors import UserError
from sleuth.files import atomic_write

_SHARED, _SOURCE, _TARGET = "shared_vocabulary", "source_vocabulary", "target_vocabulary"
_AGAIN = "copy it again, or convert the model again"


@dataclass(frozen=True)
class Vocabularies:
    """The tokens of a translator.

    Args:
        source: of the sentences that are read; a token's number is its place.
        target: of those that are written.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]


def read_vocabularies(folder: Path) -> Vocabularies:
    """The vocabularies of a model's folder.

    Args:
        folder: with ``shared_vocabulary`` or both ``source_vocabulary`` and ``target_vocabulary``, as .json or .txt.

    Raises:
        UserError: a vocabulary is missing or broken.
    """
    folder = Path(folder)
    shared = _find(folder, _SHARED)
    if shared is not None:
        tokens = _read(shared)
        return Vocabularies(tokens, tokens)
    source, target = _find(folder, _SOURCE), _find(folder, _TARGET)
    if source is None or target is None:
        missing = _TARGET if source is not None else _SOURCE
        what = f"this folder holds neither {_SHARED} nor {missing}, as .json or .txt"
        raise UserError(what, where=folder, mend="name the folder of a translator")
    return Vocabularies(_read(source), _read(target))


def write_vocabularies(folder: Path, vocabularies: Vocabularies) -> None:
    """Write the vocabularies as JSON: one file where both sides have the same.

    Raises:
        UserError: a token occurs twice, so that its number could not be told, or a file cannot be written.
    """
    sides = {_SOURCE: vocabularies.source, _TARGET: vocabularies.target}
    if vocabularies.source == vocabularies.target:
        sides = {_SHARED: vocabularies.source}
    for name, tokens in sides.items():
        if twice := _first_double(tokens):
            raise UserError(f"the token {twice!r} is twice in the {name.replace('_', ' ')}", mend="name tokens apart")
        with atomic_write(Path(folder) / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(tokens, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _find(folder: Path, name: str) -> Path | None:
    places = (folder / f"{name}.json", folder / f"{name}.txt")
    return next((place for place in places if place.is_file()), None)


def _read(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
        # A token may be a separator of Unicode's, at which splitlines() would part it.
        tokens = json.loads(text) if path.suffix == ".json" else text.removesuffix("\n").split("\n")
    except PermissionError:
        raise UserError("no permission to read", where=path, mend="change its permissions") from None
    except ValueError as error:
        raise UserError(f"not a readable vocabulary ({error})", where=path, mend=_AGAIN) from error
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise UserError("not a list of tokens", where=path, mend=_AGAIN)
    if twice := _first_double(tokens):
        raise UserError(f"the token {twice!r} occurs twice", where=path, mend=_AGAIN)
    return tuple(tokens)


def _first_double(tokens: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for token in tokens:
        if token in seen:
            return token
        seen.add(token)
    return None
