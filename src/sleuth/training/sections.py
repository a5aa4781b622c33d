"""Turning tables of TOML into frozen dataclasses and back, with errors that name the nearest valid key."""

import dataclasses
import difflib
import math
import re
import tomllib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from sleuth.errors import UserError

Table = dict[str, Any]
Section = TypeVar("Section")

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def read_toml(path: Path) -> Table:
    """The tables of a TOML file.

    Raises:
        UserError: there is no such file, it cannot be read, or it is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("no such recipe", where=path, mend=_nearby(Path(path))) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}", where=path, mend="name a recipe, a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"not valid TOML: {error}", where=path, mend="mend that line") from None


def set_value(tables: Table, assignment: str) -> None:
    """Apply one ``section.key=value`` to the tables; the value is TOML, or else a plain word taken as a string.

    Raises:
        UserError: it is not of that form.

    >>> tables = {}
    >>> set_value(tables, "run.steps=100")
    >>> set_value(tables, "data.path=../my pictures")
    >>> tables
    {'run': {'steps': 100}, 'data': {'path': '../my pictures'}}
    """
    name, equals, text = assignment.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        raise UserError("not of the form section.key=value", where=f"--set {assignment}", mend="such as run.steps=100")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = tables.setdefault(section, {})
    if not isinstance(table, dict):
        raise UserError("is not a section", where=f"--set {assignment}", mend="write it as section.key=value")
    table[key] = value


def fill(cls: type[Section], table: Mapping[str, Any], *, section: str, where: object) -> Section:
    """An instance of a dataclass from a table: unknown keys and wrong types are errors.

    Args:
        cls: the dataclass; its fields are the valid keys.
        table: the keys that are given; others keep their defaults.
        section: the table's name, for messages.
        where: the file, for messages.

    Raises:
        UserError: an unknown, missing or wrongly typed key, named with the nearest valid one.
    """
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    check_keys(table, fields, what=f"key in [{section}]", where=where)
    values = {key: coerce(hints[key], value, key=f"{section}.{key}", where=where) for key, value in table.items()}
    for name, field in fields.items():
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in values and not optional:
            raise UserError(f"{section}.{name} is missing", where=where, mend=f"add it to [{section}]")
    try:
        return cls(**values)
    except ValueError as error:
        raise UserError(f"[{section}] {error}", where=where) from None


def check_keys(given: Iterable[str], valid: Iterable[str], *, what: str, where: object) -> None:
    """Refuse a name that is not among the valid ones, naming the nearest that is.

    Raises:
        UserError: for the first unknown name.
    """
    valid = list(valid)
    for name in given:
        if name not in valid:
            nearest = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
            mend = f"did you mean {nearest[0]!r}?" if nearest else f"valid: {', '.join(sorted(valid))}"
            raise UserError(f"unknown {what}: {name!r}", where=where, mend=mend)


def coerce(hint: Any, value: Any, *, key: str, where: object) -> Any:
    """The value as the type its field wants: whole numbers pass as floats, lists as tuples; nothing else is guessed.

    Raises:
        UserError: it is of another type, with what was wanted and what was given.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and types.NoneType in inner:
            return None
        if len(inner) == 2 and types.NoneType in inner:
            return coerce(next(kind for kind in inner if kind is not types.NoneType), value, key=key, where=where)
        for kind in inner:
            try:
                return coerce(kind, value, key=key, where=where)
            except UserError:
                continue
    elif origin is Literal:
        if value in inner and type(value) in {type(choice) for choice in inner}:
            return value
        nearest = difflib.get_close_matches(str(value), [str(choice) for choice in inner], n=1, cutoff=0.5)
        mend = f"did you mean {nearest[0]!r}?" if nearest else None
        choices = ", ".join(str(choice) for choice in inner)
        raise UserError(f"{key} = {_shown(value)} is none of: {choices}", where=where, mend=mend)
    elif origin is tuple and isinstance(value, list | tuple):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) == len(value):
            return tuple(coerce(kind, item, key=key, where=where) for kind, item in zip(kinds, value, strict=True))
    elif origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if isinstance(value, dict):
            return {name: coerce(inner[1], item, key=f"{key}.{name}", where=where) for name, item in value.items()}
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
    elif hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    elif hint in (int, str, bool) and type(value) is hint:
        return value
    raise UserError(f"{key} = {_shown(value)} is not {_kind_name(hint)}", where=where, mend="change the value")


def toml_text(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The tables written as TOML, in their order; keys whose value is None are left out."""
    lines: list[str] = []
    for section, table in tables.items():
        lines += ([""] if lines else []) + [f"[{_key(section)}]"]
        lines += [f"{_key(key)} = {_value(value)}" for key, value in table.items() if value is not None]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        # TOML wants a digit on both sides of the point and allows 1e-05.
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    raise TypeError(f"no TOML for {type(value).__name__}")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _quoted(key)


def _shown(value: Any) -> str:
    try:
        return _value(value)
    except TypeError:
        return str(value)


def _kind_name(hint: Any) -> str:
    names = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}
    if hint in names:
        return names[hint]
    inner = get_args(hint)
    if get_origin(hint) is tuple:
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} values, each "
        return f"a list of {count}{_kind_name(inner[0])}"
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_kind_name(kind) for kind in inner if kind is not types.NoneType)
    return getattr(hint, "__name__", str(hint))


def _nearby(path: Path) -> str:
    folders = [path.parent if str(path.parent) else Path(), Path("recipes")]
    names = sorted({str(file) for folder in folders if folder.is_dir() for file in folder.glob("*.toml")})
    nearest = difflib.get_close_matches(str(path), names, n=1, cutoff=0.4)
    if nearest:
        return f"did you mean {nearest[0]}?"
    return f"here are: {', '.join(names[:6])}" if names else "name a recipe, a TOML file"


def plain(settings: Any) -> Table:
    """A dataclass as a table of TOML values."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(settings).items()
    }
