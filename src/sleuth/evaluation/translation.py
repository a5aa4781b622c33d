"""How good translations are: BLEU and chrF by sacrebleu, with their signatures, and how many are exactly right."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sacrebleu.metrics import BLEU, CHRF

from sleuth.data.text.samples import TextPairs, TextSource
from sleuth.errors import UserError
from sleuth.files import atomic_write, make_folder

# Scripts without spaces are cut by characters before n-grams are counted; others as sacrebleu cuts by default.
_CUT_BY = {"zh": "zh", "zho": "zh", "ja": "char", "jpn": "char", "th": "char", "tha": "char"}


@runtime_checkable
class Answer(Protocol):
    """One translation of a line."""

    @property
    def text(self) -> str:
        """The translation."""
        ...


@runtime_checkable
class Translates(Protocol):
    """Anything that translates lines of text; for each its translations, best first."""

    def translate(
        self, lines: Sequence[str], options: Any = None, *, too_long: Any = "refuse"
    ) -> Sequence[Sequence[Answer]]:
        """Translate lines."""
        ...


@dataclass(frozen=True)
class SentenceResult:
    """What became of one sentence.

    Args:
        name: its file and line, or number.
        source: what was given.
        reference: what was wanted.
        hypothesis: what the model said.
        score: chrF of the sentence, 0 to 100.
        exact: the hypothesis is the reference, spaces at the ends aside.
    """

    name: str
    source: str
    reference: str
    hypothesis: str
    score: float
    exact: bool


@dataclass(frozen=True)
class TranslationEvaluation:
    """Scores of a whole text.

    Args:
        bleu: BLEU of the corpus, 0 to 100, cased.
        chrf: chrF of the corpus, 0 to 100.
        exact: share of sentences that are exactly right, 0 to 1.
        precisions: shares in per cent of the hypotheses' 1- to 4-grams that references have too.
        length_ratio: words of the hypotheses over words of the references.
        signatures: how sacrebleu computed each score; scores compare only under one signature.
        sentences: each sentence with its own score.
    """

    bleu: float
    chrf: float
    exact: float
    precisions: tuple[float, ...]
    length_ratio: float
    signatures: dict[str, str]
    sentences: tuple[SentenceResult, ...]

    @property
    def numbers(self) -> dict[str, float]:
        """The scores by name."""
        return {"BLEU": self.bleu, "chrF": self.chrf, "exact": self.exact}

    def to_json(self) -> dict[str, object]:
        """The scores as plain values for a JSON file; the sentences lie beside it."""
        return {
            **self.numbers,
            "precisions": list(self.precisions),
            "length_ratio": self.length_ratio,
            "sentences": len(self.sentences),
            "signatures": self.signatures,
        }

    def render(self) -> str:
        """The scores as text."""
        precisions = "/".join(f"{value:.1f}" for value in self.precisions)
        right = sum(sentence.exact for sentence in self.sentences)
        return "\n".join(
            [
                f"BLEU   {self.bleu:6.2f}   {self.signatures['BLEU']}",
                f"                1- to 4-grams {precisions}, length ratio {self.length_ratio:.3f}",
                f"chrF   {self.chrf:6.2f}   {self.signatures['chrF']}",
                f"exact  {self.exact:6.4f}   {right:,} of {len(self.sentences):,} sentences",
            ]
        )


def evaluate_translation(
    translator: Translates,
    source: TextSource,
    options: Any = None,
    *,
    too_long: str = "refuse",
    cut_by: str | None = None,
) -> TranslationEvaluation:
    """Translate every source of a data set and compare with its targets.

    Args:
        translator: what is measured.
        source: the pairs; of a source without end, those of one epoch.
        options: how to decode; None leaves it to the translator.
        too_long: what becomes of sentences that are longer than the model's positions: ``refuse`` or ``split``.
        cut_by: how sacrebleu cuts text into words, such as ``13a``, ``zh`` or ``char``; None takes what the target
            language asks for.

    Raises:
        UserError: there are no pairs, or a sentence cannot be translated.
    """
    samples = [source.load(index) for index in range(len(source))]
    found = translator.translate([sample.source for sample in samples], options, too_long=too_long)
    if cut_by is None:
        language = source.languages[1] if isinstance(source, TextPairs) else ""
        cut_by = _CUT_BY.get(language.lower().replace("_", "-").partition("-")[0], "13a")
    return score_translations(
        [sample.source for sample in samples],
        [sample.target for sample in samples],
        [translations[0].text for translations in found],
        names=[sample.name for sample in samples],
        cut_by=cut_by,
    )


def score_translations(
    sources: Sequence[str],
    references: Sequence[str],
    hypotheses: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    cut_by: str = "13a",
) -> TranslationEvaluation:
    """Scores of translations that are there already, whatever made them.

    Args:
        sources: what was given.
        references: what was wanted.
        hypotheses: what was said.
        names: of each sentence; numbers from 1 by default.
        cut_by: how sacrebleu cuts text into words for BLEU.

    Raises:
        UserError: there are none, there are unequally many, or sacrebleu does not know how to cut so.
    """
    counts = len(sources), len(references), len(hypotheses)
    if not counts[0] or len(set(counts)) > 1:
        raise UserError(
            "{:,} sources, {:,} references and {:,} translations".format(*counts),
            where="evaluation",
            mend="give as many of each, and at least one",
        )
    if cut_by not in BLEU.TOKENIZERS:
        raise UserError(
            f"sacrebleu does not cut by {cut_by!r}", where="evaluation", mend=f"choose of {', '.join(BLEU.TOKENIZERS)}"
        )
    bleu, chrf = BLEU(tokenize=cut_by), CHRF()
    corpus = bleu.corpus_score(hypotheses, [references])
    characters = chrf.corpus_score(hypotheses, [references])
    rows = zip(
        names or [str(number) for number in range(1, counts[0] + 1)], sources, references, hypotheses, strict=True
    )
    sentences = tuple(
        SentenceResult(
            name=name,
            source=given,
            reference=wanted,
            hypothesis=said,
            score=float(chrf.sentence_score(said, [wanted]).score),
            exact=said.strip() == wanted.strip(),
        )
        for name, given, wanted, said in rows
    )
    return TranslationEvaluation(
        bleu=float(corpus.score),
        chrf=float(characters.score),
        exact=sum(sentence.exact for sentence in sentences) / len(sentences),
        precisions=tuple(map(float, corpus.precisions)),
        length_ratio=float(corpus.ratio),
        signatures={"BLEU": str(bleu.get_signature()), "chrF": str(chrf.get_signature())},
        sentences=sentences,
    )


def write_translations(evaluation: TranslationEvaluation, folder: Path) -> list[Path]:
    """Write an evaluation into a folder, each file whole or not at all.

    Files: scores.json; translations.jsonl, a sentence a line with source, reference, hypothesis and score, the worst
    first; hypotheses.txt, the translations in the order of the data, for other tools.

    Raises:
        UserError: the folder cannot be written to.
    """
    folder = make_folder(folder)
    worst_first = sorted(evaluation.sentences, key=lambda sentence: sentence.score)
    contents = {
        "scores.json": json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False) + "\n",
        "translations.jsonl": "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in worst_first),
        # A translation is one line, whatever a model says.
        "hypotheses.txt": "".join(" ".join(each.hypothesis.split("\n")) + "\n" for each in evaluation.sentences),
    }
    for name, content in contents.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return [folder / name for name in contents]
