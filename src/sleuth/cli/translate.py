"""`sleuth translate`: lines in, lines out."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sleuth.cli.alignment_pictures import draw_alignment, drawable
from sleuth.cli.console import progress, tell
from sleuth.errors import UserError
from sleuth.files import atomic_write, make_folder
from sleuth.runtime.ctranslate2 import in_ctranslate2
from sleuth.runtime.devices import choose_device
from sleuth.tasks.decoding.options import DecodingOptions
from sleuth.tasks.translator import Translation, Translator
from sleuth.weights.translator import LoadedTranslator
from sleuth.weights.translators import open_translator

AT_ONCE = 2048
"""Lines that are sorted by length together; those of a pipe are answered once so many are there, or it ends."""

RUNTIMES = ("torch", "ctranslate2")

PLOTTED = 10
"""Lines whose alignment is drawn."""


@dataclass(frozen=True)
class TranslateWords:
    """What the command line said; see `sleuth translate --help`."""

    file: Path | None
    model: str
    out: Path | None = None
    beam: int | None = None
    n_best: int = 1
    json: bool = False
    align: bool = False
    plot: Path | None = None
    stream: bool = False
    score: Path | None = None
    prefix: str | None = None
    begin: str | None = None
    long: str = "refuse"
    length_penalty: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    sample: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    batch_size: int = 64
    runtime: str = "torch"
    device: str = "auto"


def run_translate(words: TranslateWords) -> None:
    """Translate a file or standard input, line for line."""
    _check(words)
    loaded = open_translator(words.model)
    if words.plot is not None:
        make_folder(words.plot)
    options = options_from(words, loaded.decoding)
    with _input(words.file) as raw, _output(words.out) as sink:
        lines = _lines(raw, words.file)
        if words.score is not None:
            with words.score.open("rb") as given:
                _write_scores(lines, _lines(given, words.score), words, loaded, sink)
            return
        device, engine = choose_device(words.device), None
        if words.runtime == "ctranslate2":
            engine = in_ctranslate2(loaded.model, (loaded.source, loaded.target), device=str(device))
        else:
            loaded.model.to(device)
        translator = Translator(loaded.model, loaded.source, loaded.target, options, engine)
        if words.stream:
            _write_stream(translator, lines, options, words, sink)
            return
        total = _count(words.file)
        with progress("translating", total) if total is not None else nullcontext(lambda done: None) as advance:
            done = 0
            for chunk in _chunks(lines):
                found = translator.translate(
                    chunk,
                    options,
                    prefix=words.prefix,
                    begin=words.begin,
                    too_long=words.long,  # type: ignore[arg-type]
                    max_sentences=words.batch_size,
                )
                for number, (line, translations) in enumerate(zip(chunk, found, strict=True), start=done + 1):
                    _write(sink, number, line, translations, words, loaded)
                    if words.plot is not None and number <= PLOTTED:
                        _plot(translator, number, translations[0], words.plot)
                sink.flush()
                done += len(chunk)
                advance(done)


def options_from(words: TranslateWords, usual: DecodingOptions) -> DecodingOptions:
    """How to decode: the model's own way, but for what was said.

    Raises:
        UserError: words that make no search.
    """
    said: dict[str, Any] = {
        "beams": 1 if words.sample and words.beam is None else words.beam,
        "length_penalty": words.length_penalty,
        "min_length": words.min_length,
        "max_length": words.max_length,
        "top_k": words.top_k,
    }
    said = {name: value for name, value in said.items() if value is not None}
    if words.n_best > 1 and words.beam is None and not words.sample:
        said["beams"] = max(usual.beams, words.n_best)
    try:
        return replace(
            usual,
            **said,
            n_best=words.n_best,
            sample=words.sample,
            temperature=words.temperature,
            top_p=words.top_p,
            seed=words.seed,
            repetition_penalty=words.repetition_penalty if words.repetition_penalty != 1 else usual.repetition_penalty,
            no_repeat_ngram=words.no_repeat_ngram or usual.no_repeat_ngram,
            word_scores=words.json,
        )
    except ValueError as error:
        raise UserError(str(error), where="the command line", mend="see `sleuth translate --help`") from None


def _check(words: TranslateWords) -> None:
    if words.runtime not in RUNTIMES:
        raise UserError(f"--runtime {words.runtime} is unknown", mend=f"choose one of {', '.join(RUNTIMES)}")
    if words.long not in ("refuse", "split"):
        raise UserError(f"--long {words.long} is unknown", mend="choose refuse or split")
    if words.batch_size < 1:
        raise UserError("a batch of no lines", where="--batch-size", mend="give 1 or more")
    aligned = words.align or words.plot is not None
    if words.stream and (words.n_best > 1 or (words.beam or 1) > 1 or words.json or aligned):
        raise UserError(
            "--stream writes one translation as it grows", mend="leave --beam, --n-best, --json, --align, --plot out"
        )
    if words.plot is not None and words.score is not None:
        raise UserError("--plot draws translations that are made here", mend="leave --score out")
    if words.runtime == "ctranslate2" and (words.stream or aligned or words.score is not None):
        raise UserError("--stream, --align, --plot and --score need the torch runtime", mend="leave --runtime out")


@contextmanager
def _input(file: Path | None) -> Iterator[Iterable[bytes]]:
    if file is None or str(file) == "-":
        yield sys.stdin.buffer
        return
    if file.is_dir() or not file.exists():
        what = "this is a folder, not a file of lines" if file.is_dir() else "there is no such file"
        raise UserError(what, where=file, mend="name a text file, or leave it out to read standard input")
    with file.open("rb") as opened:
        yield opened


@contextmanager
def _output(out: Path | None) -> Iterator[Any]:
    """Where lines go: a file only once it is whole."""
    if out is None:
        yield sys.stdout
        return
    with atomic_write(out) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as opened:
        yield opened


def _lines(raw: Iterable[bytes], file: Path | None) -> Iterator[str]:
    """The lines of a stream.

    Raises:
        UserError: bytes that are no UTF-8, with the line's number.
    """
    for number, line in enumerate(raw, start=1):
        try:
            yield line.decode("utf-8").rstrip("\r\n").removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
        except UnicodeDecodeError as error:
            where = f"{file or 'standard input'}, line {number}"
            what = f"byte {line[error.start]:#04x} at place {error.start + 1} is not UTF-8"
            raise UserError(what, where=where, mend="save the file as UTF-8") from None


def _count(file: Path | None) -> int | None:
    """How many lines a file has; None of a pipe."""
    if file is None or str(file) == "-" or not file.is_file():
        return None
    with file.open("rb") as opened:
        return sum(1 for _ in opened)


def _chunks(lines: Iterator[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _write(
    sink: Any,
    number: int,
    line: str,
    translations: Sequence[Translation],
    words: TranslateWords,
    loaded: LoadedTranslator,
) -> None:
    if not words.json:
        links = _links(translations, loaded) if words.align else [""] * len(translations)
        for translation, linked in zip(translations, links, strict=True):
            score = "" if words.n_best == 1 or translation.score is None else f"\t{translation.score:.4f}"
            sink.write(f"{translation.text}{score}{linked}\n")
        return
    records = []
    for translation in translations:
        record: dict[str, Any] = {"text": translation.text, "score": _rounded(translation.score)}
        record["finished"] = translation.finished
        if translation.ids:
            record["tokens"] = loaded.target.pieces(translation.ids)
        if translation.word_scores is not None:
            record["token_scores"] = [_rounded(score) for score in translation.word_scores]
        if translation.pieces > 1:
            record["pieces"] = translation.pieces
        if words.align and translation.ids and translation.pieces == 1:
            words_of = Translator(loaded.model, loaded.source, loaded.target).align_words(translation)
            record["alignment"] = {"source": words_of.source, "target": words_of.target, "links": words_of.links}
        records.append(record)
    value = {"line": number, "source": line, "translations": records}
    sink.write(json.dumps(value, ensure_ascii=False) + "\n")


def _plot(translator: Translator, number: int, translation: Translation, folder: Path) -> None:
    """Draw what each word of a translation looked at; an empty line and one in pieces have no picture."""
    alignment = drawable(translator, translation)
    if alignment is not None:
        draw_alignment(alignment, folder / f"line-{number:02}.png")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _links(translations: Sequence[Translation], loaded: LoadedTranslator) -> list[str]:
    """Links of words after a tab, in Pharaoh's form, such as ``0-0 1-2``; none for an empty line or one in pieces."""
    translator, found = Translator(loaded.model, loaded.source, loaded.target), []
    for translation in translations:
        whole = translation.ids and translation.pieces == 1
        links = translator.align_words(translation).links if whole else ()
        found.append("\t" + " ".join(f"{source}-{target}" for source, target in links))
    return found


def _write_stream(
    translator: Translator, lines: Iterator[str], options: DecodingOptions, words: TranslateWords, sink: Any
) -> None:
    for line in lines:
        for part in translator.stream(line, options, prefix=words.prefix, begin=words.begin, too_long=words.long):  # type: ignore[arg-type]
            sink.write(part)
            sink.flush()
        sink.write("\n")


def _write_scores(
    lines: Iterator[str], given: Iterator[str], words: TranslateWords, loaded: LoadedTranslator, sink: Any
) -> None:
    """The log-probability of each given translation, a line each."""
    sources, targets = list(lines), list(given)
    if len(sources) != len(targets):
        what = f"{len(sources):,} lines to translate, but {len(targets):,} translations"
        raise UserError(what, where=words.score, mend="give one translation for each line")
    translator = Translator(loaded.model.to(choose_device(words.device)), loaded.source, loaded.target)
    for number, scores in enumerate(translator.score(sources, targets, prefix=words.prefix)):
        if words.json:
            pieces = [*translator.target.pieces(translator.target.encode(targets[number], eos=False)), "</s>"]
            value = {"line": number + 1, "score": _rounded(sum(scores)), "tokens": pieces}
            sink.write(json.dumps(value | {"token_scores": [_rounded(s) for s in scores]}, ensure_ascii=False) + "\n")
        else:
            sink.write(f"{sum(scores):.4f}\n")
    tell(f"{len(sources):,} translations scored")
