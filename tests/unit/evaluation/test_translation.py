"""Scores of translations: sacrebleu's own, and files that can be read again."""

import json
from dataclasses import dataclass

import pytest
import sacrebleu

from sleuth.data.text.numbers import NumberPairs
from sleuth.data.text.samples import TextPairs
from sleuth.errors import UserError
from sleuth.evaluation.translation import evaluate_translation, score_translations, write_translations

SOURCES = ["Ein Mann.", "Zwei Hunde laufen im Park.", "Nichts."]
REFERENCES = ["A man.", "Two dogs are running in the park.", "Nothing."]
HYPOTHESES = ["A man. ", "Two dogs run in the park.", "nothing"]


@dataclass(frozen=True)
class Said:
    text: str


class Parrot:
    """Says what it was taught, and remembers how it was asked."""

    def __init__(self, answers):
        self.answers = answers

    def translate(self, lines, options=None, *, too_long="refuse"):
        self.asked = (list(lines), options, too_long)
        return [[Said(self.answers[line]), Said("worse")] for line in lines]


def pairs(languages=("de", "en")):
    return TextPairs(SOURCES, REFERENCES, [1, 2, 3], "val.de", languages)


def test_scores_are_those_of_sacrebleu():
    found = evaluate_translation(Parrot(dict(zip(SOURCES, HYPOTHESES, strict=True))), pairs())
    assert found.bleu == pytest.approx(sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score)
    assert found.chrf == pytest.approx(sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES]).score)
    assert found.exact == pytest.approx(1 / 3)
    assert found.numbers == {"BLEU": found.bleu, "chrF": found.chrf, "exact": found.exact}
    assert "tok:13a" in found.signatures["BLEU"]
    assert "case:mixed" in found.signatures["BLEU"]
    assert sacrebleu.__version__ in found.signatures["chrF"]
    assert [sentence.exact for sentence in found.sentences] == [True, False, False]
    assert found.sentences[1].name == "val.de, line 2"
    assert found.sentences[1].score == pytest.approx(sacrebleu.sentence_chrf(HYPOTHESES[1], [REFERENCES[1]]).score)
    shown = found.render()
    assert f"{found.bleu:.2f}" in shown
    assert found.signatures["BLEU"] in shown
    assert "1 of 3 sentences" in shown


def test_how_to_decode_is_passed_on():
    parrot = Parrot(dict(zip(SOURCES, HYPOTHESES, strict=True)))
    evaluate_translation(parrot, pairs(), "beam", too_long="split")
    assert parrot.asked == (SOURCES, "beam", "split")


def test_perfect_numbers():
    source = NumberPairs("test", count=30)
    samples = [source.load(index) for index in range(30)]
    found = evaluate_translation(Parrot({sample.source: sample.target for sample in samples}), source)
    assert found.exact == 1.0
    assert found.chrf == pytest.approx(100.0)
    assert len(found.sentences) == 30


def test_text_without_spaces_is_cut_by_characters():
    wanted, said = ["他在公园里跑步吗"], ["她在公园里跑步吗"]
    chinese = TextPairs(["a"], wanted, [1], "x", ("en", "zh_CN"))
    found = evaluate_translation(Parrot({"a": said[0]}), chinese)
    assert "tok:zh" in found.signatures["BLEU"]
    assert found.bleu == pytest.approx(sacrebleu.corpus_bleu(said, [wanted], tokenize="zh").score)
    assert found.bleu > 50
    assert evaluate_translation(Parrot({"a": said[0]}), chinese, cut_by="13a").bleu < 50


def test_files(tmp_path):
    found = score_translations(SOURCES, REFERENCES, [*HYPOTHESES[:2], "no\nthing"])
    files = write_translations(found, tmp_path / "new")
    assert [file.name for file in files] == ["scores.json", "translations.jsonl", "hypotheses.txt"]
    assert json.loads(files[0].read_text())["BLEU"] == found.bleu
    rows = [json.loads(line) for line in files[1].read_text().splitlines()]
    assert [row["score"] for row in rows] == sorted(row["score"] for row in rows)
    assert {row["source"]: row["hypothesis"] for row in rows}["Ein Mann."] == "A man. "
    assert files[2].read_text() == "A man. \nTwo dogs run in the park.\nno thing\n"


def test_what_cannot_be_scored_is_said():
    with pytest.raises(UserError, match="3 sources, 3 references and 2 translations"):
        score_translations(SOURCES, REFERENCES, HYPOTHESES[:2])
    with pytest.raises(UserError, match="0 sources"):
        score_translations([], [], [])
    with pytest.raises(UserError, match="does not cut by 'words'"):
        score_translations(SOURCES, REFERENCES, HYPOTHESES, cut_by="words")


def test_empty_translations_score_nothing():
    found = score_translations(["a"], ["A man."], [""])
    assert (found.bleu, found.chrf, found.exact) == (0.0, 0.0, 0.0)
