"""Rules on the next word: words never emitted, no end too soon, no repetition. They edit scores in place."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sleuth.tasks.decoding.options import DecodingOptions

_NEVER = float("-inf")


@dataclass(frozen=True)
class Rules:
    """What a model and its user forbid.

    Args:
        banned: words that are never emitted.
        eos: the word that ends a sentence.
        options: the user's wishes.
    """

    banned: tuple[int, ...]
    eos: int
    options: DecodingOptions

    @property
    def penalise(self) -> bool:
        """Whether scores are changed by what was written before."""
        return self.options.repetition_penalty != 1 or self.options.no_repeat_ngram > 0

    @property
    def edit(self) -> bool:
        """Whether scores are changed by more than leaving words out."""
        return self.penalise or self.options.force_eos

    def left_out(self, added: int) -> tuple[int, ...]:
        """The words that are not emitted now, whatever their score.

        Args:
            added: how many words the model has added.
        """
        return (*self.banned, self.eos) if added < self.options.min_length else self.banned

    def __call__(
        self,
        scores: Float[Tensor, "rows vocabulary"],
        history: Int[Tensor, "rows words"],
        added: int,
        limits: Sequence[int],
    ) -> None:
        """Edit the scores of the next word in place, in Hugging Face's order.

        Args:
            scores: logits or log-probabilities.
            history: the words of each row so far, BOS and a forced prefix included.
            added: how many of them were added by the model.
            limits: of each row, the most words that it may add.
        """
        if self.options.repetition_penalty != 1:
            penalise_repetition(scores, history, self.options.repetition_penalty)
        if self.options.no_repeat_ngram:
            forbid_ngrams(scores, history, self.options.no_repeat_ngram)
        for word in self.left_out(added):
            scores[:, word] = _NEVER
        if self.options.no_repeat_ngram:
            # A row that has no word left ends.
            scores[:, self.eos].masked_fill_(scores.amax(1) == _NEVER, 0.0)
        if self.options.force_eos:
            last = [row for row, limit in enumerate(limits) if limit == added + 1]
            scores[last] = _NEVER
            scores[last, self.eos] = 0.0


def penalise_repetition(
    scores: Float[Tensor, "rows vocabulary"], history: Int[Tensor, "rows words"], penalty: float
) -> None:
    """Make words that are there already less likely.

    Source: Keskar et al. 2019, section 4.1, with the sign minded, as Hugging Face does.
    """
    there = scores.gather(1, history)
    scores.scatter_(1, history, torch.where(there < 0, there * penalty, there / penalty))


def forbid_ngrams(scores: Float[Tensor, "rows vocabulary"], history: Int[Tensor, "rows words"], size: int) -> None:
    """Forbid words that would end a run of ``size`` words that is there already.

    >>> scores = torch.zeros(1, 5)
    >>> forbid_ngrams(scores, torch.tensor([[1, 2, 3, 1, 2]]), 3)
    >>> scores
    tensor([[0., 0., 0., -inf, 0.]])

    Source: Paulus et al. 2018, "A deep reinforced model for abstractive summarization", section 2.5.
    """
    length = history.shape[1]
    if length < size:
        return
    runs = history.unfold(1, size, 1)
    begun = history[:, length - size + 1 :]
    repeated = (runs[:, :, :-1] == begun[:, None]).all(-1)
    rows, places = repeated.nonzero(as_tuple=True)
    scores[rows, runs[rows, places, -1]] = _NEVER
