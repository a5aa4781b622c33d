"""Drawing the next word: temperature, the k best, the best that make up p; each sentence from a stream of its own."""

import random
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sleuth.tasks.decoding.options import DecodingOptions

Choose = Callable[[Tensor, Sequence[int]], Tensor]
"""From scores [rows, vocabulary] and the sentence number of each row to the next word of each row."""


def sampler(options: DecodingOptions) -> Choose:
    """Draw words as the options say; sentence i from the stream of random numbers that ``seed`` and i make.

    So a sentence's draws depend neither on its batch nor on the other sentences.
    """
    streams: dict[int, random.Random] = {}

    def choose(scores: Tensor, sentences: Sequence[int]) -> Tensor:
        for sentence in sentences:
            if sentence not in streams:
                streams[sentence] = random.Random(f"{options.seed} {sentence}")
        draws = torch.tensor([streams[sentence].random() for sentence in sentences])
        return draw(scores, draws.to(scores.device), options)

    return choose


def draw(
    scores: Float[Tensor, "rows vocabulary"], draws: Float[Tensor, " rows"], options: DecodingOptions
) -> Int[Tensor, " rows"]:
    """The word at which the summed probability of the better words and its own passes a number drawn from 0 to 1.

    Args:
        scores: logits.
        draws: a number for each row, from 0 to 1.
        options: temperature, top_k and top_p, which apply in this order.

    Source: Fan et al. 2018, "Hierarchical neural story generation" (top k); Holtzman et al. 2020 (top p).
    """
    scores = scores / options.temperature
    k = scores.shape[1] if options.top_k is None else min(options.top_k, scores.shape[1])
    best, words = scores.topk(k, dim=1)
    probabilities = best.softmax(dim=1)
    reached = probabilities.cumsum(1)
    if options.top_p < 1:
        # A word stays if the better ones do not make up p without it; the best one always does.
        probabilities = probabilities * (reached - probabilities < options.top_p)
        reached = probabilities.cumsum(1)
    wanted = draws[:, None].to(reached.dtype) * reached[:, -1:]
    place = torch.searchsorted(reached, wanted, right=True)
    # Rounding may pass the last word that has any probability.
    last = (probabilities > 0).sum(1, keepdim=True) - 1
    return words.gather(1, torch.minimum(place, last))[:, 0]
