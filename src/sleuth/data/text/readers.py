"""Reading pairs of sentences: two text files line by line, a table of tabs, or JSON lines; plain or gzip.

What is wrong with a line does not raise here: it is a fault beside the pairs, and the line is left out.
"""

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sleuth.data.faults import Fault
from sleuth.data.text.samples import TextPairs
from sleuth.errors import UserError

_GZIP = b"\x1f\x8b"
_SIDES = ("source", "target")


@dataclass(frozen=True)
class ReadPairs:
    """Pairs, and what was wrong with lines that are left out.

    Args:
        pairs: what could be read.
        faults: one for each line that could not, and for files of different lengths.
    """

    pairs: TextPairs
    faults: tuple[Fault, ...]


def read_pair_files(source: Path, target: Path, languages: tuple[str, str] = ("", "")) -> ReadPairs:
    """Pairs of two text files, of which each line answers the same line of the other.

    Raises:
        UserError: a file is missing, cannot be unpacked, or is empty.
    """
    lines, others = read_lines(source), read_lines(target)
    faults = [*_undecodable(source, lines), *_undecodable(target, others)]
    if len(lines) != len(others):
        what = f"{len(lines):,} lines, but {target} has {len(others):,}"
        faults.append(Fault("uneven-files", str(source), what))
    both = [
        (line, other, number)
        for number, (line, other) in enumerate(zip(lines, others, strict=False), start=1)
        if isinstance(line, str) and isinstance(other, str)
    ]
    return _read(both, faults, source, languages)


def read_tab_file(path: Path, languages: tuple[str, str] = ("", "")) -> ReadPairs:
    """Pairs of a table with tabs: the first two columns, or those that a first line names.

    A first line is a heading if it has columns ``source`` and ``target``, or those of the languages.

    Raises:
        UserError: the file is missing, cannot be unpacked, or is empty.
    """
    lines = read_lines(path)
    faults, both, columns = _undecodable(path, lines), [], (0, 1)
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, str):
            continue
        cells = line.split("\t")
        if number == 1 and (named := _heading(cells, languages)) is not None:
            columns = named
        elif max(columns) < len(cells):
            both.append((cells[columns[0]], cells[columns[1]], number))
        else:
            what = f"{len(cells)} column{'' if len(cells) == 1 else 's'}, not source, tab, target"
            faults.append(Fault("unreadable-pair", _place(path, number), what))
    return _read(both, faults, path, languages)


def read_json_lines(path: Path, languages: tuple[str, str] = ("", "")) -> ReadPairs:
    """Pairs of JSON lines: objects with ``source`` and ``target`` or the languages as keys, or in ``translation``.

    Raises:
        UserError: the file is missing, cannot be unpacked, or is empty.
    """
    lines = read_lines(path)
    faults, both = _undecodable(path, lines), []
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, str) or not line.strip():
            continue
        found = _json_pair(line, languages)
        if isinstance(found, tuple):
            both.append((*found, number))
        else:
            faults.append(Fault("unreadable-pair", _place(path, number), found))
    return _read(both, faults, path, languages)


def read_lines(path: Path) -> list[str | UnicodeDecodeError]:
    """The lines of a UTF-8 file, plain or gzip, ended by LF or CR LF; in place of a line that is no UTF-8, the error.

    Other characters that Unicode counts as line ends stay within a line, so that two files keep step.

    Raises:
        UserError: the file is missing, cannot be unpacked, or is empty.
    """
    content = _content(path)
    if not content.strip():
        raise UserError("the file is empty", where=path, mend="give a file with a sentence on each line")
    raw = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not raw[-1]:
        raw.pop()
    return [_decoded(line.removesuffix(b"\r")) for line in raw]


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP) else content
    except FileNotFoundError:
        raise UserError("there is no such file", where=path, mend="check the path of the data") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise UserError("cannot be unpacked: the gzip file is damaged", where=path, mend="fetch it again") from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=path, mend="check the path of the data") from None


def _decoded(line: bytes) -> str | UnicodeDecodeError:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        return error


def _undecodable(path: Path, lines: Sequence[str | UnicodeDecodeError]) -> list[Fault]:
    return [
        Fault("undecodable-line", _place(path, number), f"no UTF-8 from byte {line.start + 1} of the line on")
        for number, line in enumerate(lines, start=1)
        if isinstance(line, UnicodeDecodeError)
    ]


def _place(path: Path, number: int) -> str:
    return f"{path}, line {number}"


def _read(
    both: Sequence[tuple[str, str, int]], faults: Sequence[Fault], path: Path, languages: tuple[str, str]
) -> ReadPairs:
    pairs = TextPairs(
        sources=[source for source, _, _ in both],
        targets=[target for _, target, _ in both],
        lines=[number for _, _, number in both],
        file=str(path),
        languages=languages,
    )
    return ReadPairs(pairs, tuple(faults))


def _heading(cells: Sequence[str], languages: tuple[str, str]) -> tuple[int, int] | None:
    names = [cell.strip().lower() for cell in cells]
    for source, target in (_SIDES, tuple(language.lower() for language in languages)):
        if source and source in names and target in names:
            return names.index(source), names.index(target)
    return None


def _json_pair(line: str, languages: tuple[str, str]) -> tuple[str, str] | str:
    """The pair of one line, or what is wrong with it."""
    try:
        value: Any = json.loads(line)
    except ValueError as error:
        return f"not JSON: {error}"
    if isinstance(value, dict) and isinstance(value.get("translation"), dict):
        value = value["translation"]
    if not isinstance(value, dict):
        return "not an object with source and target"
    for source, target in (_SIDES, languages):
        if source and isinstance(value.get(source), str) and isinstance(value.get(target), str):
            return value[source], value[target]
    if not any(languages) and len(value) == 2 and all(isinstance(text, str) for text in value.values()):
        return "has " + " and ".join(map(repr, value)) + ": say which is the source, such as --languages en-de"
    return "no texts " + " and ".join(languages if all(languages) else _SIDES)
