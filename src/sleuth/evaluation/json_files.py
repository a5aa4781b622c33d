"""Reading JSON files entry by entry, with every fault named by file and entry."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sleuth.errors import UserError

TRUTH = 'a COCO annotation file is a JSON object with "images", "annotations" and "categories"'


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: it is missing, cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError("there is no such file", where=path, mend="check the path") from error
    except IsADirectoryError as error:
        raise UserError("this is a folder", where=path, mend="name the JSON file in it") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot be read: {reason}", where=path, mend="check its permissions") from error
    except UnicodeDecodeError as error:
        mend = "write it as JSON in UTF-8"
        raise UserError(f"this is not text in UTF-8 (byte {error.start})", where=path, mend=mend) from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        mend = "write the file again: it may be cut short"
        raise UserError(f"this is not JSON: {error.msg} at {place}", where=path, mend=mend) from error
    except (RecursionError, ValueError) as error:
        raise UserError(
            "this JSON cannot be read", where=path, mend="it is nested too deep or has absurd numbers"
        ) from error


def list_at(content: Mapping[str, Any], key: str, path: Path | str, mend: str = TRUTH) -> list[Any]:
    """The list under a key, which must be there."""
    if key not in content:
        raise UserError(f'the key "{key}" is missing', where=path, mend=mend)
    entries = content[key]
    if not isinstance(entries, list):
        raise UserError(f'"{key}" is not a list', where=path, mend=mend)
    return entries


def unique_ids(content: Mapping[str, Any], key: str, path: Path) -> list[int]:
    """The ids of all images or categories, in the order of the file."""
    seen: dict[int, int] = {}
    for index, entry in enumerate(list_at(content, key, path)):
        where = f"{path}: {key}[{index}]"
        need_object(entry, where)
        own_id = whole_number_at(entry, "id", where)
        if own_id in seen:
            what = f"the id {own_id} is that of {key}[{seen[own_id]}] already"
            raise UserError(what, where=where, mend="give each its own id")
        seen[own_id] = index
    return list(seen)


def need_object(entry: object, where: str) -> None:
    """Refuse what is no JSON object."""
    if not isinstance(entry, dict):
        raise UserError("a JSON object is expected here", where=where, mend=f"found {short(entry)}")


def value_at(entry: Mapping[str, Any], key: str, where: str) -> Any:
    """The value under a key, which must be there."""
    if key not in entry:
        mend = f"the entry has only {', '.join(map(str, entry)) or 'nothing'}"
        raise UserError(f'the key "{key}" is missing', where=where, mend=mend)
    return entry[key]


def number_at(entry: Mapping[str, Any], key: str, where: str) -> float:
    """The finite number under a key."""
    value = value_at(entry, key, where)
    if not _is_number(value):
        raise UserError(f'"{key}" is {short(value)}', where=where, mend="a finite number is expected")
    return float(value)


def whole_number_at(entry: Mapping[str, Any], key: str, where: str) -> int:
    """The whole number under a key."""
    value = value_at(entry, key, where)
    if not _is_number(value) or value != int(value) or abs(value) >= 2**63:
        raise UserError(f'"{key}" is {short(value)}', where=where, mend="a whole number is expected")
    return int(value)


def flag_at(entry: Mapping[str, Any], key: str, where: str) -> bool:
    """The 0 or 1 under a key, 0 where it is missing."""
    value = entry.get(key) or 0
    if value not in (0, 1):
        raise UserError(f'"{key}" is {short(value)}', where=where, mend="0 or 1 is expected")
    return bool(value)


def known_at(entry: Mapping[str, Any], key: str, known: Mapping[int, int], where: str, place: str) -> int:
    """The row of an id, which must be one of those that the ground truth lists."""
    value = whole_number_at(entry, key, where)
    if value not in known:
        mend = f"the known ones are {some(known)}" if known else f"there are no {place}"
        raise UserError(f'"{key}" is {value}, which is not among the {place}', where=where, mend=mend)
    return known[value]


def box_at(entry: Mapping[str, Any], where: str) -> list[float]:
    """The box of an entry: left, top, width, height in pixels."""
    value = value_at(entry, "bbox", where)
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        mend = "four finite numbers are expected: [x, y, width, height] in pixels"
        raise UserError(f'"bbox" is {short(value)}', where=where, mend=mend)
    if value[2] < 0 or value[3] < 0:
        mend = "give [x, y, width, height], not two corners in disorder"
        raise UserError(f'"bbox" is {short(value)}, with a negative width or height', where=where, mend=mend)
    return [float(number) for number in value]


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def some(ids: Iterable[int], most: int = 5) -> str:
    """The first few ids, and how many more there are."""
    shown: Sequence[int] = list(ids)
    return ", ".join(map(str, shown[:most])) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def short(value: object, most: int = 60) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else text[: most - 3] + "..."
