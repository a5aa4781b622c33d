"""Which value or colour of a mask means which class: lists of classes in the forms that people write them in."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from sleuth.errors import UserError
from sleuth.tasks.semantic import UNLABELLED

Colour = tuple[int, int, int]

FILES = tuple(
    f"{stem}{suffix}"
    for stem in ("classes", "class_dict", "labels", "label_colors", "labelmap")
    for suffix in (".txt", ".csv", ".json")
)
"""Names under which people keep a list of classes."""

_VOID = frozenset({"void", "ignore", "ignored", "unlabelled", "unlabeled", "unknown", "don't care", "dontcare"})
_NAME_COLUMNS, _VALUE_COLUMNS = ("name", "class", "label", "category"), ("id", "value", "index")
_COLOUR_COLUMNS = (("r", "g", "b"), ("red", "green", "blue"))
_MOST_VALUE = 65535


@dataclass(frozen=True)
class Entry:
    """One line of a list of classes.

    Args:
        name: of the class.
        value: that stands for it in masks of numbers.
        colour: that stands for it in masks of colours; None where none is said.
    """

    name: str
    value: int
    colour: Colour | None = None

    @property
    def is_void(self) -> bool:
        """Whether it is no class, but means that nobody has said what is there."""
        return self.name.strip("() ").lower() in _VOID


class ClassList:
    """Classes, and what stands for them in masks.

    Args:
        entries: the lines of the list; those called void, ignore or unlabelled are no classes.
        ignored: further values of masks that mean nothing. 255 always does, unless a class has it.
        where: the list, for messages.

    Raises:
        UserError: two classes of one name, value or colour, or more classes than 8 bits can tell apart.
    """

    def __init__(self, entries: Iterable[Entry], *, ignored: Iterable[int] = (), where: object = None) -> None:
        entries = tuple(entries)
        classes = [entry for entry in entries if not entry.is_void]
        self.names = tuple(entry.name for entry in classes)
        self.ignored = frozenset(ignored)
        for what, given in (
            ("name", [entry.name for entry in entries]),
            ("value", [entry.value for entry in entries]),
            ("colour", [entry.colour for entry in entries if entry.colour is not None]),
        ):
            if twice := [each for place, each in enumerate(given) if each in given[:place]]:
                raise UserError(f"two classes have the {what} {twice[0]!r}", where=where, mend="correct the list")
        if len(classes) > UNLABELLED:
            raise UserError(f"{len(classes)} classes are more than {UNLABELLED}", where=where, mend="merge some")
        labels = {entry.name: label for label, entry in enumerate(classes)}
        values = {entry.value: labels.get(entry.name, UNLABELLED) for entry in entries}
        values = {UNLABELLED: UNLABELLED} | values | dict.fromkeys(self.ignored, UNLABELLED)
        self._table = np.full(max(values) + 1, -1, dtype=np.int16)
        self._table[list(values)] = list(values.values())
        coloured = [entry for entry in entries if entry.colour is not None]
        codes = np.array([_code(entry.colour) for entry in coloured if entry.colour], dtype=np.int64)
        order = np.argsort(codes)
        self._codes = codes[order]
        self._of_code = np.array([labels.get(each.name, UNLABELLED) for each in coloured], dtype=np.int16)[order]

    @property
    def has_colours(self) -> bool:
        """Whether masks of colours can be read."""
        return len(self._codes) > 0

    def labels(
        self, values: np.ndarray, palette: UInt8[np.ndarray, "colours 3"] | None = None
    ) -> tuple[UInt8[np.ndarray, "height width"], str]:
        """The classes of a mask.

        Args:
            values: of a mask, whole numbers [height, width] or colours [height, width, 3]. Where the list has no
                colours, grey ones are numbers, too.
            palette: the colours that the numbers are places of; where the list has colours, these count.

        Returns:
            The classes, and what is there beside them, in words; empty where there is nothing else.
        """
        if palette is not None and self.has_colours:
            values = palette[np.minimum(values, len(palette) - 1)]
        if values.ndim == 3:
            if not self.has_colours and bool((values == values[..., :1]).all()):
                return self.labels(values[..., 0])
            return self._of_colours(values)
        # A value beyond the table is as unknown as one that it does not name.
        table = np.append(self._table, np.int16(-1))
        found = table[np.minimum(values.astype(np.int64), len(self._table))]
        return self._settled(found, values, lambda value: f"the value {value}")

    def _of_colours(self, colours: np.ndarray) -> tuple[np.ndarray, str]:
        if not self.has_colours:
            return np.full(colours.shape[:2], UNLABELLED, np.uint8), "colours, of which no list of classes tells"
        codes = colours.astype(np.int64) @ np.array([65536, 256, 1])
        places = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        found = np.where(self._codes[places] == codes, self._of_code[places], np.int16(-1))
        return self._settled(found, codes, lambda code: f"the colour {code >> 16} {code >> 8 & 255} {code & 255}")

    @staticmethod
    def _settled(found: np.ndarray, given: np.ndarray, told: Any) -> tuple[np.ndarray, str]:
        unknown = found < 0
        if not unknown.any():
            return found.astype(np.uint8), ""
        which = np.unique(given[unknown])
        shown = ", ".join(told(int(each)) for each in which[:3]) + (", ..." if len(which) > 3 else "")
        return np.where(unknown, UNLABELLED, found).astype(np.uint8), f"{shown} in {int(unknown.sum()):,} pixels"


def numbered_classes(count: int, ignored: Iterable[int] = ()) -> ClassList:
    """Classes without names."""
    ignored = frozenset(ignored)
    return ClassList(
        (Entry(f"class {value}", value) for value in range(count) if value not in ignored), ignored=ignored
    )


def read_class_list(content: bytes, where: Path, ignored: Iterable[int] = ()) -> ClassList:
    """A list of classes: a text file of a class a line, a table, or JSON.

    In text, a line is ``name``, ``r g b name`` or ``name r g b``; a class's value is its place from 0. A table has
    the columns name, and perhaps r, g, b, and id. JSON is a list of names or of objects with name, color and id, or an
    object of names to colours or numbers.

    Args:
        content: the bytes of the file.
        where: the file.
        ignored: values of masks that mean nothing.

    Raises:
        UserError: it is of no such form.
    """
    try:
        text = content.decode("utf-8-sig")
        read = {".json": _of_json, ".csv": _of_table}.get(where.suffix.lower(), _of_lines)
        entries = list(read(text))
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        mend = "write a class a line: name, or r g b name"
        raise UserError(f"this is no readable list of classes ({error})", where=where, mend=mend) from error
    if bad := [entry for entry in entries if not 0 <= entry.value <= _MOST_VALUE]:
        raise UserError(f"{bad[0].name!r} has the value {bad[0].value}", where=where, mend="give 0 to 65535")
    return ClassList(entries, ignored=ignored, where=where)


def _of_lines(text: str) -> Iterable[Entry]:
    lines = (line.strip() for line in text.splitlines())
    for value, line in enumerate(line for line in lines if line and not line.startswith(("#", "//"))):
        words = line.replace(",", " ").replace(":", " ").split()
        for numbers, name in ((words[:3], words[3:]), (words[-3:], words[:-3])):
            if len(words) > 3 and all(word.isdecimal() and int(word) < 256 for word in numbers):
                yield Entry(" ".join(name), value, _colour(numbers))
                break
        else:
            yield Entry(line, value)


def _of_table(text: str) -> Iterable[Entry]:
    reader = csv.reader(io.StringIO(text))
    heading = [cell.strip().lower() for cell in next(reader, [])]
    name = next((heading.index(word) for word in _NAME_COLUMNS if word in heading), None)
    if name is None:
        raise ValueError("the first line has no column name")
    value = next((heading.index(word) for word in _VALUE_COLUMNS if word in heading), None)
    colour = next(
        ([heading.index(word) for word in words] for words in _COLOUR_COLUMNS if set(words) <= set(heading)), []
    )
    for place, row in enumerate(row for row in reader if any(cell.strip() for cell in row)):
        if len(row) < len(heading):
            raise ValueError(f"line {reader.line_num} is cut short")
        yield Entry(
            row[name].strip(),
            place if value is None else int(row[value]),
            _colour([row[column] for column in colour]) if colour else None,
        )


def _of_json(text: str) -> Iterable[Entry]:
    values = json.loads(text)
    if isinstance(values, dict) and isinstance(values.get("classes"), list):
        values = values["classes"]
    if isinstance(values, list):
        for place, each in enumerate(values):
            if isinstance(each, str):
                yield Entry(each, place)
                continue
            colour = each.get("color", each.get("colour"))
            number = next((each[key] for key in _VALUE_COLUMNS if key in each), place)
            yield Entry(str(each["name"]), int(number), None if colour is None else _colour(colour))
        return
    for place, (key, value) in enumerate(values.items()):
        if isinstance(value, list):
            yield Entry(key, place, _colour(value))
        elif isinstance(value, str):
            yield Entry(value, int(key))
        else:
            yield Entry(key, int(value))


def _colour(numbers: Sequence[Any]) -> Colour:
    red, green, blue = (int(number) for number in numbers)
    if not all(0 <= number <= 255 for number in (red, green, blue)):
        raise ValueError(f"{red} {green} {blue} is no colour")
    return red, green, blue


def _code(colour: Colour | None) -> int:
    red, green, blue = colour or (0, 0, 0)
    return 65536 * red + 256 * green + blue
