"""Who takes the decoder's steps: the model itself, or what does the same faster."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sleuth.models.seq2seq import Seq2Seq
from sleuth.nn.flat_decoder import FlatDecoder
from sleuth.nn.language import DecoderCache


@runtime_checkable
class Steps(Protocol):
    """Reads the newest words of each row; `Seq2Seq` is one of these."""

    def step(self, words: Int[Tensor, "rows new"], cache: DecoderCache) -> Float[Tensor, "rows vocabulary"]:
        """As `Seq2Seq.step`."""
        ...

    def advance(self, words: Int[Tensor, "rows new"], cache: DecoderCache) -> Float[Tensor, "rows dim"]:
        """As `Seq2Seq.advance`."""
        ...


class FlatSteps:
    """A model's steps on a processor with fewer calls; it stands in for the model in the searches.

    Args:
        model: in evaluation mode; its weights must not change.
    """

    def __init__(self, model: Seq2Seq) -> None:
        self.model = model
        self._decoder = FlatDecoder(model.decoder)

    @torch.no_grad()
    def step(self, words: Int[Tensor, "rows new"], cache: DecoderCache) -> Float[Tensor, "rows vocabulary"]:
        """As `Seq2Seq.step`."""
        return self.model.head(self.advance(words, cache))

    @torch.no_grad()
    def advance(self, words: Int[Tensor, "rows new"], cache: DecoderCache) -> Float[Tensor, "rows dim"]:
        """As `Seq2Seq.advance`; several words at once, such as a prefix, go through the model itself."""
        if words.shape[1] != 1:
            return self.model.advance(words, cache)
        queries = self.model.target_embedding(words, self.model.target_positions(1, cache.length))
        return self._decoder.step(queries[:, 0], cache)
