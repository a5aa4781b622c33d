"""Translating through CTranslate2, the field's fastest engine, from a folder that Sleuth wrote for it."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import finalize

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2Seq
from sleuth.tasks.decoding.options import DecodingOptions, Hypothesis
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.weights.origins.ctranslate2_export import export_ctranslate2, read_beside
from sleuth.weights.origins.ctranslate2_vocabulary import read_vocabularies

Ids = Sequence[int]

# So many rows are quicker in two halves, a thread each, than with two threads for each product.
_ROWS_FOR_A_THREAD = 32


class CTranslate2Engine:
    """A translator of token ids that runs in CTranslate2.

    Greedy search gives what the model gives in PyTorch. Beam search is the engine's own: it ends once ``beams``
    hypotheses have finished, which are then ranked by the length penalty that was asked for.

    On a processor, a large batch is parted among the threads; few rows are worked on by all of them together. The
    engine is loaded once for each of the two.

    Args:
        folder: that `export_ctranslate2` wrote.
        device: cpu or cuda, perhaps with a number, as ``cuda:1``.
        compute: the type to compute in, such as int8 or float16; default is that of the file.
        threads: how many to use; 0 takes what the processor has.

    Raises:
        UserError: CTranslate2 is not installed, or it cannot load the folder.
    """

    def __init__(self, folder: Path, *, device: str = "cpu", compute: str = "default", threads: int = 0) -> None:
        self._engine = _engine()
        beside, vocabularies = read_beside(folder), read_vocabularies(folder)
        self.source, self.target, self.max_positions = beside.source, beside.target, beside.max_positions
        self._source, self._target = vocabularies.source, vocabularies.target
        self._ids = {piece: number for number, piece in enumerate(self._target)}
        kind, _, number = device.partition(":")
        self._folder, self._threads = folder, threads
        self._load = partial(
            self._engine.Translator, str(folder), device=kind, device_index=int(number or 0), compute_type=compute
        )
        self._workers = (threads or os.cpu_count() or 1) if kind == "cpu" else 1
        self._parallel: Any = None
        try:
            self._translator = self._load(inter_threads=1, intra_threads=threads)
        except (RuntimeError, ValueError) as error:
            mend = "choose another device or compute type, or convert the model again"
            raise UserError(f"CTranslate2 cannot load it ({error})", where=folder, mend=mend) from error

    def translate_ids(
        self,
        sentences: Sequence[Ids],
        options: DecodingOptions | None = None,
        *,
        prefixes: Sequence[Ids] | None = None,
        max_sentences: int = 64,
        max_tokens: int = 4096,
    ) -> list[list[Hypothesis]]:
        """Translate sentences; for each the ``n_best`` translations, best first.

        Args:
            sentences: source words, with whatever the model was trained to see at their end (EOS). An empty sentence
                has an empty translation.
            options: how to decode; greedy search if None.
            prefixes: the words that each translation must begin with.
            max_sentences: the most sentences of a batch.
            max_tokens: the most source tokens of a batch, padding included.

        Raises:
            UserError: a sentence is longer than the model's positions.
        """
        options = DecodingOptions() if options is None else options
        for number, sentence in enumerate(sentences, start=1):
            if len(sentence) > self.max_positions:
                what = f"it has {len(sentence)} tokens, but the model has {self.max_positions} positions"
                mend = "split it, or use a model with more positions"
                raise UserError(what, where=f"sentence {number}", mend=mend)
        if options.sample:
            self._engine.set_random_seed(options.seed)
        prefixes = [()] * len(sentences) if prefixes is None else prefixes
        # The engine draws one translation of a sentence.
        copies = options.n_best if options.sample else 1
        every, begun = ([each for each in given for _ in range(copies)] for given in (sentences, prefixes))
        found = self._translate(every, begun, options, max_sentences, max_tokens)
        if copies == 1:
            return found
        drawn = [[each[0] for each in found[i : i + copies]] for i in range(0, len(found), copies)]
        return [sorted(one, key=_rank) if sentence else one[:1] for sentence, one in zip(sentences, drawn, strict=True)]

    def _translate(
        self,
        sentences: Sequence[Ids],
        prefixes: Sequence[Ids],
        options: DecodingOptions,
        max_sentences: int,
        max_tokens: int,
    ) -> list[list[Hypothesis]]:
        """Translate sentences in batches of what may be in one."""
        nothing = Hypothesis(ids=(), score=0.0, finished=True, word_scores=() if options.word_scores else None)
        found = [[nothing] for _ in sentences]
        # Of a batch the engine has one greatest and one least length, which count the forced prefix.
        alike: dict[tuple[int, int], list[int]] = {}
        for number, sentence in enumerate(sentences):
            if sentence:
                forced = len(prefixes[number])
                # An end that is forced is the last word; the engine, which forces none, writes the words before it.
                limit = options.limit(len(sentence), self.max_positions - forced) - options.force_eos
                if limit:
                    alike.setdefault((limit, forced), []).append(number)
                else:
                    found[number] = [replace(nothing, ids=tuple(prefixes[number]))]
        for (limit, _), numbers in alike.items():
            # The engine makes a batch of sentences or of tokens; the longest sentence says which is less.
            longest = max(len(sentences[number]) for number in numbers)
            size = max(1, min(max_sentences, max_tokens // longest))
            batch, begun = ([each[number] for number in numbers] for each in (sentences, prefixes))
            for number, hypotheses in zip(numbers, self._search(batch, begun, limit, size, options), strict=True):
                found[number] = hypotheses
        return found

    def _search(
        self, sentences: Sequence[Ids], prefixes: Sequence[Ids], limit: int, size: int, options: DecodingOptions
    ) -> list[list[Hypothesis]]:
        """Translate sentences that have prefixes of one length, and one limit of what is added to them."""
        translator = self._translator
        rows = len(sentences) * options.beams
        if options.sample and (self._folder / "model.bin").exists():
            # The engine's threads take the seed when they start: with new ones, what is drawn follows from it.
            translator = self._load(inter_threads=1, intra_threads=self._threads)
        elif self._workers > 1 and rows >= self._workers * _ROWS_FOR_A_THREAD:
            translator, size = self._in_parallel(), min(size, -(-len(sentences) // self._workers))
        pieces = [[self._source[word] for word in sentence] for sentence in sentences]
        begun = [[self._target[word] for word in prefix] for prefix in prefixes]
        forced = len(begun[0])
        results = translator.translate_batch(
            pieces,
            target_prefix=begun if forced else None,
            max_batch_size=size,
            max_input_length=0,
            max_decoding_length=limit + forced,
            min_decoding_length=options.min_length + forced if options.min_length else 0,
            beam_size=options.beams,
            num_hypotheses=options.beams,
            length_penalty=0.0 if options.beams == 1 else options.length_penalty,
            repetition_penalty=options.repetition_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram,
            sampling_topk=(options.top_k or 0) if options.sample else 1,
            sampling_topp=options.top_p if options.sample else 1.0,
            sampling_temperature=options.temperature if options.sample else 1.0,
            # Greedy search without them does not add up the vocabulary.
            return_scores=options.beams > 1 or options.sample or options.word_scores or forced > 0,
            return_end_token=True,
        )
        made = [self._ranked(result, forced, options) for result in results]
        # With a forced prefix the engine's own score is of more than the words that were added.
        return self._scored(pieces, made, forced, limit, options) if options.word_scores or forced else made

    def _in_parallel(self) -> Any:
        """The engine with a batch for each thread; the first one where its files are gone by now."""
        if self._parallel is None and (self._folder / "model.bin").exists():
            self._parallel = self._load(inter_threads=self._workers, intra_threads=1)
        return self._parallel or self._translator

    def _ranked(self, result: Any, forced: int, options: DecodingOptions) -> list[Hypothesis]:
        """The engine's answers, ranked by the length penalty that was asked for."""
        made = []
        scores = result.scores or [None] * len(result.hypotheses)
        for pieces, score in zip(result.hypotheses, scores, strict=True):
            ids = [self._ids[piece] for piece in pieces]
            ended = bool(ids) and ids[-1] == self.target.eos_id
            cut = options.force_eos and not ended
            if options.beams > 1:
                total = score * max(len(ids), 1) ** options.length_penalty
                score = options.normalised(total, max(len(ids) - forced + cut, 1))
            made.append(Hypothesis(tuple(ids[:-1] if ended else ids), score, ended or cut))
        made.sort(key=_rank)
        return made[: options.n_best]

    def _scored(
        self,
        pieces: Sequence[list[str]],
        made: list[list[Hypothesis]],
        forced: int,
        limit: int,
        options: DecodingOptions,
    ) -> list[list[Hypothesis]]:
        """Scored by the log-probability of each added word, for which the engine reads its answers once more."""
        owners = [number for number, hypotheses in enumerate(made) for _ in hypotheses]
        every = [hypothesis for hypotheses in made for hypothesis in hypotheses]
        # The engine reads EOS as well, for which a translation of all the positions has no room: its last word is what
        # the search's own score has beyond the others.
        fills = [not hypothesis.finished and len(hypothesis.ids) >= self.max_positions for hypothesis in every]
        targets = [
            [self._target[word] for word in (hypothesis.ids[:-1] if full else hypothesis.ids)]
            for hypothesis, full in zip(every, fills, strict=True)
        ]
        scored = self._translator.score_batch([pieces[owner] for owner in owners], targets, max_input_length=0)
        found: list[list[Hypothesis]] = [[] for _ in made]
        for owner, hypothesis, full, result in zip(owners, every, fills, scored, strict=True):
            read = result.log_probs if hypothesis.finished else result.log_probs[:-1]
            if full:
                read = [*read, _total(hypothesis, forced, options) - sum(read)]
            added = tuple(read[forced:])
            if options.force_eos and len(hypothesis.ids) - forced == limit:
                added = (*added[:-1], 0.0)  # a forced end costs nothing
            score = options.normalised(sum(added), max(len(added), 1)) if options.beams > 1 else sum(added)
            words = added if options.word_scores else None
            found[owner].append(replace(hypothesis, score=score, word_scores=words))
        return [sorted(hypotheses, key=_rank) for hypotheses in found]


def _total(hypothesis: Hypothesis, forced: int, options: DecodingOptions) -> float:
    """The log-probability that the search found, without the length penalty."""
    assert hypothesis.score is not None
    if options.beams == 1:
        return hypothesis.score
    return hypothesis.score / options.normalised(1.0, max(len(hypothesis.ids) - forced, 1))


def _rank(hypothesis: Hypothesis) -> float:
    return -(hypothesis.score or 0.0)


def in_ctranslate2(
    model: Seq2Seq, tokenizers: tuple[Tokenizer, Tokenizer], *, device: str = "cpu", compute: str = "default"
) -> CTranslate2Engine:
    """A model of ours in CTranslate2, by way of a folder that lasts as long as the engine.

    Raises:
        UserError: CTranslate2 is not installed, or it cannot load the model.
    """
    _engine()
    folder = TemporaryDirectory()
    try:
        export_ctranslate2(model, tokenizers, Path(folder.name))
        engine = CTranslate2Engine(Path(folder.name), device=device, compute=compute)
    except BaseException:
        folder.cleanup()
        raise
    finalize(engine, folder.cleanup)
    return engine


def _engine() -> Any:
    try:
        return import_module("ctranslate2")
    except ImportError as error:
        what = "the runtime ctranslate2 needs the package ctranslate2, which is not installed"
        raise UserError(what, mend="pip install 'sleuth-vision[ctranslate2]'") from error
