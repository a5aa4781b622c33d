"""Translating through CTranslate2, the field's fastest engine, from a folder that Sleuth wrote for it."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2Seq
from sleuth.tasks.decoding.options import DecodingOptions, Hypothesis
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.weights.origins.ctranslate2_export import export_ctranslate2, read_beside
from sleuth.weights.origins.ctranslate2_vocabulary import read_vocabularies

Ids = Sequence[int]


class CTranslate2Translator:
    """A translator that runs in CTranslate2.

    Greedy search gives what the model gives in PyTorch. Beam search is the engine's own: it ends once ``beams``
    hypotheses have finished, which are then ranked by the length penalty that was asked for.

    Args:
        folder: that `export_ctranslate2` wrote.
        device: cpu or cuda, perhaps with a number, as ``cuda:1``.
        compute: the type to compute in, such as int8 or float16; default is that of the file.
        threads: of one batch; 0 lets the engine choose.

    Raises:
        UserError: CTranslate2 is not installed, or it cannot load the folder.
    """

    def __init__(self, folder: Path, *, device: str = "cpu", compute: str = "default", threads: int = 0) -> None:
        self._engine = _engine()
        beside, vocabularies = read_beside(folder), read_vocabularies(folder)
        self.source, self.target, self.max_positions = beside.source, beside.target, beside.max_positions
        self._pieces = vocabularies
        self._ids = {piece: number for number, piece in enumerate(vocabularies.target)}
        kind, _, number = device.partition(":")
        try:
            self._translator = self._engine.Translator(
                str(folder),
                device=kind,
                device_index=int(number or 0),
                compute_type=compute,
                inter_threads=1,
                intra_threads=threads,
            )
        except (RuntimeError, ValueError) as error:
            mend = "choose another device or compute type, or convert the model again"
            raise UserError(f"CTranslate2 cannot load it ({error})", where=folder, mend=mend) from error

    def translate_ids(
        self,
        sentences: Sequence[Ids],
        options: DecodingOptions | None = None,
        *,
        max_sentences: int = 64,
        max_tokens: int = 4096,
    ) -> list[list[Hypothesis]]:
        """Translate sentences; for each the ``n_best`` translations, best first.

        Args:
            sentences: source words, with whatever the model was trained to see at their end (EOS). An empty sentence
                has an empty translation.
            options: how to decode; greedy search if None.
            max_sentences: the most sentences of a batch.
            max_tokens: the most source tokens of a batch, padding included.

        Raises:
            UserError: a sentence is longer than the model's positions, or the engine cannot do what was asked for.
        """
        options = DecodingOptions() if options is None else options
        _check(options)
        found = [[Hypothesis(ids=(), score=0.0, finished=True)] for _ in sentences]
        by_limit: dict[int, list[int]] = {}
        for number, sentence in enumerate(sentences):
            if len(sentence) > self.max_positions:
                what = f"it has {len(sentence)} tokens, but the model has {self.max_positions} positions"
                mend = "split it, or use a model with more positions"
                raise UserError(what, where=f"sentence {number + 1}", mend=mend)
            if sentence:
                by_limit.setdefault(options.limit(len(sentence), self.max_positions), []).append(number)
        if options.sample:
            self._engine.set_random_seed(options.seed)
        for limit, numbers in by_limit.items():
            # The engine makes a batch of sentences or of tokens; the longest sentence says which is less.
            longest = max(len(sentences[number]) for number in numbers)
            results = self._translator.translate_batch(
                [[self._pieces.source[word] for word in sentences[number]] for number in numbers],
                max_batch_size=max(1, min(max_sentences, max_tokens // longest)),
                max_input_length=0,
                max_decoding_length=limit,
                min_decoding_length=options.min_length,
                beam_size=options.beams,
                num_hypotheses=options.n_best if options.sample else options.beams,
                length_penalty=0.0 if options.beams == 1 else options.length_penalty,
                repetition_penalty=options.repetition_penalty,
                no_repeat_ngram_size=options.no_repeat_ngram,
                sampling_topk=(options.top_k or 0) if options.sample else 1,
                sampling_topp=options.top_p,
                sampling_temperature=options.temperature,
                return_scores=True,
                return_end_token=True,
            )
            for number, result in zip(numbers, results, strict=True):
                found[number] = self._hypotheses(result, options)
        return found

    def _hypotheses(self, result: Any, options: DecodingOptions) -> list[Hypothesis]:
        """The engine's answers, ranked by the length penalty that was asked for."""
        made = []
        for pieces, score in zip(result.hypotheses, result.scores, strict=True):
            ids = [self._ids[piece] for piece in pieces]
            finished = bool(ids) and ids[-1] == self.target.eos_id
            length = max(len(ids), 1)
            total = score if options.beams == 1 else score * length**options.length_penalty
            ranked = total if options.beams == 1 else options.normalised(total, length)
            made.append(Hypothesis(tuple(ids[:-1] if finished else ids), ranked, finished))
        made.sort(key=lambda hypothesis: -(hypothesis.score or 0.0))
        return made[: options.n_best]


def in_ctranslate2(
    model: Seq2Seq, tokenizers: tuple[Tokenizer, Tokenizer], *, device: str = "cpu", compute: str = "default"
) -> CTranslate2Translator:
    """A model of ours in CTranslate2, by way of a folder that is gone afterwards.

    Raises:
        UserError: CTranslate2 is not installed, or it cannot load the model.
    """
    _engine()
    with TemporaryDirectory() as folder:
        export_ctranslate2(model, tokenizers, Path(folder))
        return CTranslate2Translator(Path(folder), device=device, compute=compute)


def _engine() -> Any:
    try:
        return import_module("ctranslate2")
    except ImportError as error:
        what = "the runtime ctranslate2 needs the package ctranslate2, which is not installed"
        raise UserError(what, mend="pip install 'sleuth-vision[ctranslate2]'") from error


def _check(options: DecodingOptions) -> None:
    """Refuse what the engine cannot do, rather than leave it out."""
    for name, asked in (("word_scores", options.word_scores), ("force_eos", options.force_eos)):
        if asked:
            raise UserError(f"the runtime ctranslate2 has no {name}", mend="leave it out, or use the runtime torch")
