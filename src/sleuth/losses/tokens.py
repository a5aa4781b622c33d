"""Cross-entropy of the next word, with label smoothing, in little more memory than the logits take."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Logits are widened to float32 so many numbers at a time: on a processor, what its cache holds.
_CHUNK_CPU, _CHUNK_GPU = 2**18, 2**25


class TokenLosses(NamedTuple):
    """Sums over words, each to be divided by their number.

    Args:
        smoothed: cross-entropy against smoothed labels: what training descends.
        nll: negative log-likelihood of the words themselves; its mean's exponential is the perplexity. No gradient.
        correct: how many words were the likeliest. No gradient.
    """

    smoothed: Float[Tensor, ""]
    nll: Float[Tensor, ""]
    correct: Float[Tensor, ""]


def token_cross_entropy(
    logits: Float[Tensor, "words vocabulary"], labels: Int[Tensor, " words"], smoothing: float = 0.0
) -> TokenLosses:
    """Label-smoothed cross-entropy, summed over words.

    The right word is asked for with probability ``1 - smoothing``, and the rest is shared out evenly among all words,
    the right one included; it is what PyTorch's ``cross_entropy(label_smoothing=...)`` computes. Forwards, three
    numbers a word are kept beside the logits; backwards, the gradient is the only tensor of the logits' size.

    Args:
        logits: of every word that counts; padding is left out by the caller. bfloat16 is summed in float32.
        labels: the right words.
        smoothing: 0 asks for the right word alone.

    Source: Vaswani et al. 2017, section 5.4 (0.1); Szegedy et al. 2016, section 7.
    """
    return TokenLosses(*_TokenCrossEntropy.apply(logits, labels, smoothing))


class _TokenCrossEntropy(torch.autograd.Function):
    """With l = logits, y the right word, n the vocabulary: loss = lse(l) - (1 - s) l[y] - s mean(l)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor, Tensor]:
        right = logits.gather(1, labels[:, None])[:, 0].float()
        lse, mean = torch.empty_like(right), torch.zeros_like(right)
        best = torch.empty_like(right)
        for rows in _chunks(logits):
            chunk = logits[rows].float()
            best[rows] = chunk.amax(1)
            if smoothing:
                mean[rows] = chunk.mean(1)
            lse[rows] = chunk.logsumexp(1)
        ctx.save_for_backward(logits, labels, lse)
        ctx.smoothing = smoothing
        nll, correct = (lse - right).sum(), (right >= best).sum().float()
        ctx.mark_non_differentiable(nll, correct)
        smoothed = (lse - (1 - smoothing) * right - smoothing * mean).sum()
        return smoothed, nll, correct

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        logits, labels, lse = ctx.saved_tensors
        share = ctx.smoothing / logits.shape[1]
        gradient = torch.empty_like(logits)
        for rows in _chunks(logits):
            chunk = (logits[rows].float() - lse[rows, None]).exp_()
            if share:
                chunk -= share
            chunk.scatter_add_(1, labels[rows, None], torch.full_like(lse[rows, None], ctx.smoothing - 1))
            gradient[rows] = chunk.mul_(outer[0])
        return gradient, None, None


def _chunks(logits: Tensor) -> list[slice]:
    words, vocabulary = logits.shape
    rows = max(1, (_CHUNK_CPU if logits.device.type == "cpu" else _CHUNK_GPU) // max(1, vocabulary))
    return [slice(first, first + rows) for first in range(0, words, rows)]
