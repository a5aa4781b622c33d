"""The bundled translation model writes numbers out that it has never seen."""

from pathlib import Path

import pytest

from sleuth.data.text.numbers import NumberPairs
from sleuth.evaluation.translation import evaluate_translation
from sleuth.tasks.translator import Translator
from sleuth.weights.translators import BUNDLED, open_translator


@pytest.fixture(scope="module")
def translator() -> Translator:
    loaded = open_translator("numbers")
    return Translator(loaded.model, loaded.source, loaded.target, loaded.decoding)


def test_the_file_is_small_and_says_what_it_is():
    assert Path(BUNDLED["numbers"]).stat().st_size <= 3_000_000
    notes = open_translator("numbers").card.notes
    assert {"scores", "step"} <= notes.keys()


def test_unseen_numbers_are_exactly_right(translator: Translator):
    found = evaluate_translation(translator, NumberPairs("test", seed=5, count=400))
    assert found.exact >= 0.99  # 0.9994 of 5,000


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (">>eng<< 0", "zero"),
        (">>eng<< 1,234", "one thousand two hundred thirty-four"),
        (">>zho<< 10203", "一万零二百零三"),
        (">>num<< forty-two", "42"),
        (">>num<< 三百零五", "305"),
    ],
)
def test_numbers_are_written_in_all_directions(translator: Translator, line: str, answer: str):
    assert translator.translate([line])[0][0].text == answer
