"""Log-probabilities and best words of a large vocabulary, faster than by looking at words with their numbers in hand.

The maximum of numbers alone runs at the speed of memory, while `torch.argmax` and `torch.topk` carry indices along. So
the vocabulary is cut into about sqrt(vocabulary) blocks: the k best words all lie in the k blocks with the greatest
maxima.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

_SMALL = 2048
_CACHED = 2**19


def top_words(
    scores: Float[Tensor, "rows vocabulary"], k: int
) -> tuple[Float[Tensor, "rows {k}"], Int[Tensor, "rows {k}"]]:
    """The k best words of each row, best first, exactly as `torch.topk` finds them (among equals, any).

    Args:
        scores: of every word.
        k: how many; at most the vocabulary.
    """
    vocabulary = scores.shape[1]
    size = math.isqrt(vocabulary)
    blocks = vocabulary // size
    # On a GPU topk is quick as it is. On a processor blocks pay for large vocabularies and few words.
    if vocabulary < _SMALL or blocks <= 2 * k or scores.device.type != "cpu":
        return scores.topk(k, dim=1)
    cut, rest = scores[:, : blocks * size].unflatten(1, (blocks, size)), scores[:, blocks * size :]
    best_blocks = cut.amax(-1).topk(k, dim=1).indices
    candidates = cut.gather(1, best_blocks[:, :, None].expand(-1, -1, size)).flatten(1)
    numbers = (best_blocks[:, :, None] * size + torch.arange(size)).flatten(1)
    if rest.shape[1]:
        beyond = torch.arange(blocks * size, vocabulary).expand(len(scores), -1)
        candidates, numbers = torch.cat((candidates, rest), 1), torch.cat((numbers, beyond), 1)
    best = candidates.topk(k, dim=1)
    return best.values, numbers.gather(1, best.indices)


def normalise_(logits: Float[Tensor, "rows vocabulary"]) -> Float[Tensor, "rows vocabulary"]:
    """Logits become log-probabilities in place, a few rows at a time, so that a processor's cache holds them."""
    rows = max(1, _CACHED // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
    for part in logits.split(rows):
        part.copy_(part.log_softmax(1))
    return logits
