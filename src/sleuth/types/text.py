"""Sentences as token ids, as memory, and what the next word may be."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class TextBatch:
    """Pairs of sentences as token ids, padded at the right; the target twice, one step apart.

    Args:
        source: ids of the source sentences, EOS included.
        source_valid: True on tokens, False on padding.
        target_in: what the decoder is given: the start token and all target tokens but the last.
        target_out: what it is to say at each of those places: the target tokens, EOS last.
        target_valid: True on tokens of the target, False on padding.
        names: each pair's file and line, or number: errors and skipped steps name it.
    """

    source: Int[Tensor, "batch source_words"]
    source_valid: Bool[Tensor, "batch source_words"]
    target_in: Int[Tensor, "batch target_words"]
    target_out: Int[Tensor, "batch target_words"]
    target_valid: Bool[Tensor, "batch target_words"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.names)

    def to(self, device: torch.device | str) -> "TextBatch":
        """The same batch on another device."""
        return replace(
            self,
            source=self.source.to(device, non_blocking=True),
            source_valid=self.source_valid.to(device, non_blocking=True),
            target_in=self.target_in.to(device, non_blocking=True),
            target_out=self.target_out.to(device, non_blocking=True),
            target_valid=self.target_valid.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class TextMemory:
    """What the words to come question: the encoded source sentences.

    Args:
        tokens: encoder output.
        valid: True on words, False on padding; None where there is no padding at all.
    """

    tokens: Float[Tensor, "batch tokens dim"]
    valid: Bool[Tensor, "batch tokens"] | None


@dataclass(frozen=True)
class TokenPrediction:
    """What the next word may be, at every position of the target or at those that were asked for.

    Args:
        logits: of the vocabulary: [batch, words, vocabulary], or [asked, vocabulary].
        memory: the encoder output that was questioned.
    """

    logits: Float[Tensor, "*where vocabulary"]
    memory: TextMemory
