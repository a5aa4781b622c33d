"""Text in, text out: a translation model with its vocabularies."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2Seq
from sleuth.tasks.decoding.alignment import Alignment, align_ids
from sleuth.tasks.decoding.options import DecodingOptions, Hypothesis
from sleuth.tasks.decoding.scoring import score_ids
from sleuth.tasks.decoding.sources import Ids
from sleuth.tasks.decoding.stream import stream_ids
from sleuth.tasks.decoding.translate import iterate_translations
from sleuth.tasks.tokenizer import Tokenizer

TooLong = Literal["refuse", "split"]
"""What becomes of a sentence with more tokens than the model has positions; it is never cut silently."""

# Where a long sentence may be parted, the better places first.
_ENDS = (
    re.compile("(?<=[.!?;:\u3002\uff01\uff1f\uff1b])\\s*"),
    re.compile("(?<=[,\uff0c\u3001])\\s*"),
    re.compile(r"\s+"),
)


@dataclass(frozen=True)
class Translation:
    """One translation of a line.

    Args:
        text: the translation.
        score: what hypotheses are ranked by; None where it was not asked for. Of a line in pieces, their mean.
        ids: its tokens, without BOS and EOS.
        source_ids: the tokens it is a translation of, EOS included.
        finished: False if it was cut at the greatest length.
        pieces: how many pieces the line was translated in.
        word_scores: log-probability of each token, if asked for.
    """

    text: str
    score: float | None
    ids: tuple[int, ...]
    source_ids: tuple[int, ...]
    finished: bool = True
    pieces: int = 1
    word_scores: tuple[float, ...] | None = None


@dataclass(frozen=True)
class WordAlignment:
    """Which source word each target word came from, as attention has it.

    Args:
        source: source words, or tokens.
        target: target words, or tokens.
        shares: of each target word, how much it looked at each source word; what is missing to 1 went to EOS.
        links: (source place, target place) of the source word that each target word looked at most.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]
    links: tuple[tuple[int, int], ...]


@runtime_checkable
class Engine(Protocol):
    """Another program that runs the model: token ids in, hypotheses out."""

    def translate_ids(
        self,
        sentences: Sequence[Ids],
        options: DecodingOptions | None = None,
        *,
        prefixes: Sequence[Ids] | None = None,
        max_sentences: int = 64,
    ) -> list[list[Hypothesis]]:
        """As `sleuth.tasks.decoding.translate.translate_ids`."""
        ...


class Translator:
    """Translates lines of text; an empty line stays empty.

    Args:
        model: the model.
        source: cuts source lines.
        target: joins target tokens; by default the same.
        decoding: how to decode where nobody says otherwise.
        engine: what runs the model; PyTorch by default.
    """

    def __init__(
        self,
        model: Seq2Seq,
        source: Tokenizer,
        target: Tokenizer | None = None,
        decoding: DecodingOptions | None = None,
        engine: Engine | None = None,
    ) -> None:
        self.model, self.source, self.engine = model, source, engine
        self.target = source if target is None else target
        self.decoding = DecodingOptions() if decoding is None else decoding

    def translate(
        self,
        lines: Sequence[str],
        options: DecodingOptions | None = None,
        *,
        prefix: str | None = None,
        begin: str | None = None,
        too_long: TooLong = "refuse",
        max_sentences: int = 64,
    ) -> list[list[Translation]]:
        """The translations of each line, best first; their number is ``n_best``.

        Args:
            lines: sentences.
            options: how to decode; the translator's own by default.
            prefix: a token such as ``>>deu<<`` put before every line.
            begin: what every translation must begin with.
            too_long: what becomes of lines that are longer than the model's positions.
            max_sentences: the most sentences of a batch.

        Raises:
            UserError: a line is too long, or the vocabulary lacks the prefix.
        """
        found: list[list[Translation]] = [[] for _ in lines]
        for number, translations in self.iterate(
            lines, options, prefix=prefix, begin=begin, too_long=too_long, max_sentences=max_sentences
        ):
            found[number] = translations
        return found

    def iterate(
        self,
        lines: Sequence[str],
        options: DecodingOptions | None = None,
        *,
        prefix: str | None = None,
        begin: str | None = None,
        too_long: TooLong = "refuse",
        max_sentences: int = 64,
    ) -> Iterator[tuple[int, list[Translation]]]:
        """As :meth:`translate`, but line numbers and translations as they are done: for showing progress."""
        options = self.decoding if options is None else options
        parts = [self._pieces(line, number, prefix, too_long) for number, line in enumerate(lines, start=1)]
        owners = [number for number, pieces in enumerate(parts) for _ in pieces]
        sentences = [piece for pieces in parts for piece in pieces]
        firsts = [place for pieces in parts for place in range(len(pieces))]
        forced = () if begin is None else tuple(self.target.encode(begin, eos=False))
        prefixes = [forced if first == 0 else () for first in firsts]
        waiting: dict[int, dict[int, list[Hypothesis]]] = {}
        for number, pieces in enumerate(parts):
            if not pieces:
                yield number, [Translation("", None if options.beams == 1 else 0.0, (), ())]
        for place, hypotheses in self._found(sentences, options, prefixes, max_sentences):
            number = owners[place]
            waiting.setdefault(number, {})[firsts[place]] = hypotheses
            if len(waiting[number]) == len(parts[number]):
                done = waiting.pop(number)
                yield number, self._joined(parts[number], [done[place] for place in range(len(done))])

    def _found(
        self, sentences: Sequence[Ids], options: DecodingOptions, prefixes: Sequence[Ids], max_sentences: int
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        if self.engine is None:
            return iterate_translations(self.model, sentences, options, prefixes=prefixes, max_sentences=max_sentences)
        found = self.engine.translate_ids(sentences, options, prefixes=prefixes, max_sentences=max_sentences)
        return iter(enumerate(found))

    def stream(
        self,
        line: str,
        options: DecodingOptions | None = None,
        *,
        prefix: str | None = None,
        begin: str | None = None,
        too_long: TooLong = "refuse",
    ) -> Iterator[str]:
        """The translation of a line as it grows, a token at a time: each item is what is new in the text."""
        options = self.decoding if options is None else options
        options = replace(options, beams=1, n_best=1)
        pieces = self._pieces(line, 1, prefix, too_long)
        before = ""
        for number, sentence in enumerate(pieces):
            forced = [] if begin is None or number else self.target.encode(begin, eos=False)
            ids, shown = list(forced), ""
            for word in stream_ids(self.model, sentence, options, prefix=forced):
                if word.id == self.model.config.eos_id:
                    break
                ids.append(word.id)
                text = self.target.decode(ids)
                # A piece may change how the last ones read: only what stays is given away.
                if text.startswith(shown) and not text.endswith("\N{REPLACEMENT CHARACTER}"):
                    yield before + text[len(shown) :]
                    before, shown = "", text
            before = " "

    def align(self, translations: Sequence[Translation], *, layer: int | None = None) -> list[Alignment]:
        """Which source tokens each target token looked at; see `align_ids`. Empty translations have none."""
        return align_ids(
            self.model,
            [translation.source_ids for translation in translations],
            [translation.ids for translation in translations],
            layer=layer,
        )

    def align_words(self, translation: Translation) -> WordAlignment:
        """Which source word each target word looked at most: the sum of attention over the tokens of both."""
        weights = self.align([translation])[0].weights
        source, target = self.source.words(translation.source_ids), self.target.words(translation.ids)
        shares = [
            [
                float(weights[list(word.positions)][:, list(other.positions)].sum()) / len(word.positions)
                for other in source
            ]
            for word in target
        ]
        links = [(max(range(len(row)), key=row.__getitem__), place) for place, row in enumerate(shares) if row]
        return WordAlignment(
            source=tuple(word.text for word in source),
            target=tuple(word.text for word in target),
            shares=tuple(map(tuple, shares)),
            links=tuple(links),
        )

    def align_tokens(self, translation: Translation) -> WordAlignment:
        """As :meth:`align_words`, token by token: the source's EOS, and a prefix before it, are among the tokens."""
        weights = self.align([translation])[0]
        return WordAlignment(
            source=_told(self.source, translation.source_ids),
            target=_told(self.target, translation.ids),
            shares=tuple(map(tuple, weights.weights[:-1].tolist())),
            links=tuple(weights.links()),
        )

    def score(
        self, lines: Sequence[str], translations: Sequence[str], *, prefix: str | None = None
    ) -> list[list[float]]:
        """The log-probability of each token of given translations, EOS last.

        Raises:
            UserError: a line or translation is longer than the model's positions.
        """
        sources = [self.source.encode(line, prefix=prefix) for line in lines]
        targets = [self.target.encode(text, eos=False) for text in translations]
        return [list(scores) for scores in score_ids(self.model, sources, targets)]

    def _pieces(self, line: str, number: int, prefix: str | None, too_long: TooLong) -> list[list[int]]:
        """The tokens of a line, in as many pieces as it needs; none for an empty line."""
        if not line.strip():
            return []
        most = self.model.config.max_positions
        ids = self.source.encode(line, prefix=prefix)
        if len(ids) <= most:
            return [ids]
        if too_long == "refuse":
            raise UserError(
                f"it has {len(ids)} tokens, but the model has {most} positions",
                where=f"line {number}",
                mend="put its sentences on lines of their own, or translate it in pieces with --long split",
            )
        return [self.source.encode(part, prefix=prefix) for part in self._parted(line, most, prefix, number)]

    def _parted(self, text: str, most: int, prefix: str | None, number: int) -> list[str]:
        """A text in pieces that fit, as evenly as may be: at sentence ends, else commas, else between words."""
        if len(self.source.encode(text, prefix=prefix)) <= most:
            return [text]
        for ends in _ENDS:
            places = [match.end() for match in ends.finditer(text) if 0 < match.end() < len(text)]
            if places:
                middle = min(places, key=lambda place: abs(place - len(text) / 2))
                left, right = text[:middle].strip(), text[middle:].strip()
                if left and right:
                    return [piece for part in (left, right) for piece in self._parted(part, most, prefix, number)]
        raise UserError(
            f"a word of {len(text)} characters is longer than the model's {most} positions",
            where=f"line {number}",
            mend="part it by hand",
        )

    def _joined(self, sources: Sequence[Sequence[int]], found: Sequence[Sequence[Hypothesis]]) -> list[Translation]:
        """Of each rank, the translation of a line from those of its pieces."""
        translations = []
        for rank in range(min(map(len, found))):
            parts = [hypotheses[rank] for hypotheses in found]
            scores = [part.score for part in parts if part.score is not None]
            words = [part.word_scores for part in parts if part.word_scores is not None]
            translations.append(
                Translation(
                    text=" ".join(self.target.decode(part.ids) for part in parts),
                    score=sum(scores) / len(scores) if scores else None,
                    ids=tuple(id for part in parts for id in part.ids),
                    source_ids=tuple(id for source in sources for id in source),
                    finished=all(part.finished for part in parts),
                    pieces=len(parts),
                    word_scores=tuple(score for each in words for score in each) if words else None,
                )
            )
        return translations


def _told(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[str, ...]:
    """Tokens as a reader knows them: without marks of spaces, but special tokens as they are."""
    pieces = tokenizer.pieces(ids)
    return tuple(tokenizer.decode([id]).strip() or piece for id, piece in zip(ids, pieces, strict=True))
