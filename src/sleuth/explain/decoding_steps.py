"""Greedy search as it goes: what was said so far, and what might have come next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from sleuth.models.seq2seq import Seq2Seq
from sleuth.tasks.decoding.greedy import best_word, write
from sleuth.tasks.decoding.options import DecodingOptions
from sleuth.tasks.decoding.sources import Ids, batches, check_sentences
from sleuth.tasks.decoding.translate import evaluating


@dataclass(frozen=True)
class DecodingStep:
    """One step of greedy search.

    Args:
        so_far: the words that were there before.
        candidates: the likeliest next words, each with its probability; the first was taken.
    """

    so_far: tuple[int, ...]
    candidates: tuple[tuple[int, float], ...]

    @property
    def chosen(self) -> int:
        """The word that was taken; EOS at the end."""
        return self.candidates[0][0]


def decoding_steps(
    model: Seq2Seq, sentence: Ids, options: DecodingOptions | None = None, *, candidates: int = 3
) -> list[DecodingStep]:
    """Translate one sentence greedily, and tell of each step; the words are those of `translate_ids`.

    Args:
        model: on any device.
        sentence: source words, as for `translate_ids`.
        options: limits and rules; beams and sampling are left aside.
        candidates: how many next words to tell of.

    Raises:
        UserError: the sentence is longer than the model's positions, or has words that the model has not.
    """
    options = replace(DecodingOptions() if options is None else options, beams=1, n_best=1, sample=False)
    check_sentences([sentence], [()], model.config)
    if not sentence:
        return []
    with evaluating(model):
        return list(_steps(model, sentence, options, min(candidates, model.config.target_vocab)))


def _steps(model: Seq2Seq, sentence: Ids, options: DecodingOptions, candidates: int) -> Iterator[DecodingStep]:
    told: list[tuple[tuple[int, float], ...]] = []

    def choose(scores: Tensor, sentences: Sequence[int]) -> Tensor:
        chances, words = scores[0].softmax(0).topk(candidates)
        best = best_word(scores, sentences)
        others = [pair for pair in zip(words.tolist(), chances.tolist(), strict=True) if pair[0] != int(best[0])]
        told.append(((int(best[0]), float(chances[0])), *others[: candidates - 1]))
        return best

    device = model.target_embedding.table.weight.device
    so_far: tuple[int, ...] = ()
    for sources in batches(
        [sentence], [()], options, model.config, max_sentences=1, max_tokens=len(sentence), device=device
    ):
        for word in write(model, sources, options, choose):
            yield DecodingStep(so_far, told[-1])
            so_far = (*so_far, word.id)
