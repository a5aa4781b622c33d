"""Opening pairs of sentences: which splits and languages a folder or file holds, and reading one of them."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sleuth.data.open import match_split, split_order
from sleuth.data.text.readers import ReadPairs, read_json_lines, read_pair_files, read_tab_file
from sleuth.data.text.samples import TextPairs
from sleuth.errors import UserError

_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z]{2,4})?|src|tgt|source|target|trg")
_NO_LANGUAGE = {
    *("avi", "bmp", "cfg", "csv", "gif", "gz", "ini", "jpg", "json", "log", "md", "mov", "mp", "npy", "npz", "onnx"),
    *("out", "pdf", "png", "py", "sh", "svg", "tar", "tif", "toml", "tsv", "txt", "xml", "yml", "yaml", "zip"),
}
_SIDES = (("src", "tgt"), ("source", "target"), ("src", "trg"))
_TABS, _JSON = (".tsv", ".tab"), (".jsonl", ".ndjson")
_LOOKED = "train.en and train.de (or .gz), train.tsv, or train.jsonl"


@dataclass(frozen=True)
class _Split:
    """Where a split lies: files by language, or one file with both sides."""

    files: Mapping[str, Path]

    def read(self, languages: tuple[str, str] | None) -> ReadPairs:
        if "" in self.files:
            path = self.files[""]
            reader = read_tab_file if _bare(path).suffix in _TABS else read_json_lines
            return reader(path, languages or ("", ""))
        source, target = self._pair(languages)
        return read_pair_files(self.files[source], self.files[target], (source, target))

    def _pair(self, languages: tuple[str, str] | None) -> tuple[str, str]:
        folder, known = next(iter(self.files.values())).parent, ", ".join(sorted(self.files))
        if languages is None:
            found = [sides for sides in _SIDES if set(sides) <= set(self.files)]
            if len(found) == 1:
                return found[0]
            raise UserError(
                f"there are several languages: {known}",
                where=folder,
                mend="say from which to which with --languages, such as "
                + "-".join(sorted(self.files, key=lambda language: (language != "en", language))[:2]),
            )
        for language in languages:
            if language not in self.files:
                raise UserError(f"there is no language {language!r}", where=folder, mend=f"there are: {known}")
        return languages


def parse_languages(text: str) -> tuple[str, str]:
    """Source and target language of a text such as ``en-de``.

    Raises:
        UserError: it is not of that form.

    >>> parse_languages("en-de")
    ('en', 'de')
    """
    source, dash, target = text.partition("-")
    if not (source and dash and target) or source == target:
        raise UserError("is not of the form source-target", where=f"languages {text}", mend="such as en-de")
    return source, target


def is_text(path: Path | str) -> bool:
    """Whether a folder or file holds pairs of sentences, by the names of its files alone."""
    try:
        return bool(_find(Path(path)))
    except OSError:
        return False


def text_splits(path: Path | str) -> tuple[str, ...]:
    """Names of the splits of a folder or file, training first.

    Raises:
        UserError: there are none.
    """
    return tuple(_splits(Path(path)))


def read_text(path: Path | str, split: str | None, languages: tuple[str, str] | None = None) -> ReadPairs:
    """One split with all its faults.

    Args:
        path: a folder, or a file of tabs or JSON lines.
        split: name of the split; None where there is only one.
        languages: from which to which; None where there is only one way, such as ``src`` and ``tgt``.

    Raises:
        UserError: there is no such split or language, or a file cannot be read at all.
    """
    splits = _splits(Path(path))
    return splits[match_split(split, tuple(splits), Path(path))].read(languages)


def open_text(
    path: Path | str,
    split: str | None = None,
    languages: tuple[str, str] | None = None,
    *,
    skip_faulty: bool = False,
) -> TextPairs:
    """One split to train or to measure on.

    Args:
        path: a folder, or a file of tabs or JSON lines.
        split: name of the split; None where there is only one.
        languages: from which to which; None where there is only one way, such as ``src`` and ``tgt``.
        skip_faulty: leave out lines that cannot be read rather than stop at the first.

    Raises:
        UserError: as :func:`read_text`, or for lines that cannot be read; files of different lengths always.
    """
    read = read_text(path, split, languages)
    for fault in read.faults:
        if fault.severity == "error" and not (skip_faulty and fault.kind != "uneven-files"):
            more = len(read.faults) - 1
            told = f" (and {more:,} more such line{'' if more == 1 else 's'})" if more else ""
            raise UserError(f"{fault.what}{told}", where=fault.file, mend=fault.mend)
    if not len(read.pairs):
        raise UserError("there are no pairs of sentences", where=path, mend="check the files")
    return read.pairs


def _splits(path: Path) -> dict[str, _Split]:
    if not path.exists():
        raise UserError("there is no such folder or file", where=path, mend="check the path of the data")
    found = _find(path)
    if not found:
        raise UserError("there are no pairs of sentences here", where=path, mend=f"looked for {_LOOKED}")
    return {name: found[name] for name in sorted(found, key=split_order)}


def _find(path: Path) -> dict[str, _Split]:
    if path.is_file():
        return {_bare(path).stem: _Split({"": path})} if _bare(path).suffix in (*_TABS, *_JSON) else {}
    by_stem: dict[str, dict[str, Path]] = defaultdict(dict)
    for file in sorted(path.iterdir()) if path.is_dir() else ():
        bare = _bare(file)
        ending = bare.suffix.removeprefix(".")
        if bare.suffix in (*_TABS, *_JSON):
            by_stem[bare.stem].setdefault("", file)
        elif _LANGUAGE.fullmatch(ending) and ending not in _NO_LANGUAGE and file.is_file():
            by_stem[bare.stem][ending] = file
    return {stem: _Split(files) for stem, files in by_stem.items() if "" in files or len(files) > 1}


def _bare(path: Path) -> Path:
    """The path without the ending of gzip."""
    return path.with_suffix("") if path.suffix == ".gz" else path
