"""`sleuth demo translate`: numbers written out, word by word, offline on the bundled weights."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sleuth.cli.alignment_pictures import draw_alignment
from sleuth.cli.console import out, print_text, tell, try_next
from sleuth.cli.demo import plain_table
from sleuth.data.text.numbers import PREFIXES, NumberPairs, chinese, digits, english
from sleuth.errors import UserError
from sleuth.evaluation.translation import evaluate_translation
from sleuth.explain.decoding_steps import decoding_steps
from sleuth.files import make_folder
from sleuth.tasks.translator import Translation, Translator
from sleuth.weights.translators import open_translator

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = 2
"""Numbers in each direction."""

LEAST = 1_000
"""Smaller ones show little."""

CANDIDATES = 3

_ENGLISH, _CHINESE, _DIGITS = PREFIXES
DIRECTIONS = {
    "digits to English": (_ENGLISH, digits, english),
    "digits to Chinese": (_CHINESE, digits, chinese),
    "English to digits": (_DIGITS, english, digits),
    "Chinese to digits": (_DIGITS, chinese, digits),
}
"""Each with its prefix, how it is asked, and what is right."""


def run_demo_translate(folder: Path, model: str, count: int) -> None:
    """Translate, decode step by step, draw what was looked at, measure, and say what to try next."""
    if count < 1:
        raise UserError(f"{count} numbers cannot be measured", where="--scenes", mend="give at least 1")
    started = time.monotonic()
    loaded = open_translator(model)
    if not set(PREFIXES) <= set(loaded.source.prefixes):
        raise UserError("the model was not trained on numbers", where=model, mend="use the bundled numbers")
    translator = Translator(loaded.model, loaded.source, loaded.target, loaded.decoding)
    make_folder(folder)
    numbers = unseen_numbers(SHOWN * len(DIRECTIONS))
    asked = [
        (way, f"{prefix} {given(number)}", right(number))
        for place, (way, (prefix, given, right)) in enumerate(DIRECTIONS.items())
        for number in numbers[place * SHOWN : (place + 1) * SHOWN]
    ]
    found = [each[0] for each in translator.translate([line for _, line, _ in asked])]

    console = out()
    print_text(f"{model}: what are these numbers called? It was trained on none of them.\n")
    console.print(_overview(asked, found))
    console.print(_steps(translator, asked[0][1]))
    print_text(f"What each token looked at: {', '.join(map(str, _draw(folder, translator, asked, found)))}\n")
    measured = evaluate_translation(translator, NumberPairs(split="test", seed=2, count=count), loaded.decoding)
    right = sum(sentence.exact for sentence in measured.sentences)
    print_text(f"On {count} held-out numbers: exact match {measured.exact:.4f} ({right} of {count})\n")
    print_text(_next(model))
    tell(f"done in {time.monotonic() - started:.0f} s")


def unseen_numbers(count: int) -> list[int]:
    """Different numbers that no training has seen, each of four digits or more."""
    pairs, found = NumberPairs(split="test", seed=1), dict[int, None]()
    index = 0
    while len(found) < count:
        number = pairs.number(index)
        index += 1
        if number >= LEAST:
            found[number] = None
    return list(found)


def _overview(asked: Sequence[tuple[str, str, str]], found: Sequence[Translation]) -> "Table":
    rows = [
        (line, translation.text, "right" if translation.text == right else f"wrong: {right}")
        for (_, line, right), translation in zip(asked, found, strict=True)
    ]
    return _table("Translations", ("given", "translation", ""), rows)


def _steps(translator: Translator, line: str) -> "Table":
    """Greedy search of one line, with what else might have come."""
    ids = translator.source.encode(line)
    rows = [
        (
            str(number),
            translator.target.decode(step.so_far),
            *(f"{_piece(translator, id)} {_chance(chance)}" for id, chance in step.candidates),
        )
        for number, step in enumerate(
            decoding_steps(translator.model, ids, translator.decoding, candidates=CANDIDATES), start=1
        )
    ]
    title = f"{line}, step by step: the likeliest next tokens and their probabilities"
    return _table(title, ("step", "so far", "next", *("or",) * (CANDIDATES - 1)), rows)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    """Rows as they are: no cell is shortened, and brackets are text."""
    from rich.text import Text

    table = plain_table(title, columns)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _piece(translator: Translator, id: int) -> str:
    if id == translator.model.config.eos_id:
        return "(end)"
    return translator.target.decode([id]).strip() or translator.target.pieces([id])[0]


def _chance(value: float) -> str:
    return f"{value:.4f}" if value >= 1e-4 else f"{value:.0e}"


def _draw(
    folder: Path, translator: Translator, asked: Sequence[tuple[str, str, str]], found: Sequence[Translation]
) -> list[Path]:
    """A picture of the first translation in each direction."""
    drawn = []
    for place in range(0, len(asked), SHOWN):
        way = asked[place][0]
        if found[place].ids:
            path = folder / f"{way.lower().replace(' ', '-')}.png"
            drawn.append(draw_alignment(translator.align_tokens(found[place]), path, way))
    return drawn


def _next(model: str) -> str:
    commands = {
        f"echo '>>eng<< 1,234' | sleuth translate --model {model}": "your own number",
        f"sleuth translate numbers.txt --model {model} --beam 4 --n-best 4 --json": "a file, with scores of each token",
        f"sleuth trace --model {model} --size 8x6": "the flow through the model and its cache",
        f"sleuth evaluate --model {model}": "more held-out numbers: BLEU, chrF, exact match",
        "sleuth train --data YOUR-FOLDER --languages en-de": "learn your own pairs of sentences",
    }
    return try_next(commands)
