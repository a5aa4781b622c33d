"""Which source words a target word came from, as read off the decoder's cross-attention."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2Seq
from sleuth.nn.attention import MultiHeadAttention, attention_weights
from sleuth.tasks.decoding.sources import Ids, check_sentences, padded
from sleuth.tasks.decoding.translate import evaluating


@dataclass(frozen=True)
class Alignment:
    """How much each target word looked at each source word.

    Args:
        weights: of each target word (EOS last) over the source words; rows sum to one.
    """

    weights: Float[Tensor, "target source"]

    def links(self) -> list[tuple[int, int]]:
        """(source place, target place) pairs: each target word but EOS with the source word it looked at most.

        >>> Alignment(torch.tensor([[0.2, 0.8], [0.7, 0.3], [0.5, 0.5]])).links()
        [(1, 0), (0, 1)]
        """
        return [(source, target) for target, source in enumerate(self.weights[:-1].argmax(1).tolist())]


def align_ids(
    model: Seq2Seq,
    sentences: Sequence[Ids],
    translations: Sequence[Ids],
    *,
    layer: int | None = None,
    head: int | None = None,
    when_read: bool = False,
) -> list[Alignment]:
    """Align translations with their sources by the cross-attention of one decoder layer.

    A word's attention depends on the words before it alone, so that the weights are those of decoding it step by step.

    Args:
        model: on any device.
        sentences: source words, as for `translate_ids`; none may be empty.
        translations: target words without BOS and EOS.
        layer: decoder layer, from 0; negative ones count from the last. None is the last but one, which Garg et al.
            found to align best; of a decoder with one layer, that one.
        head: attention head; None takes the mean of all.
        when_read: use the attention at the step that reads a word as input rather than at the step that predicts it. It
            often aligns better in a middle layer (Chen et al.). EOS, which is never read, keeps that of its prediction.

    Raises:
        UserError: a sentence is empty or beyond the model's positions; there is no such layer or head.

    Source: Garg et al. 2019, "Jointly learning to align and translate with Transformer models", section 4.2; Chen et
    al. 2020, "Accurate word alignment induction from neural machine translation", section 3.
    """
    check_sentences(sentences, translations, model.config, called="translation")
    attention = _attention(model, layer, head)
    found = []
    for number, (sentence, words) in enumerate(zip(sentences, translations, strict=True), start=1):
        if not sentence:
            raise UserError("an empty sentence has nothing to align", where=f"sentence {number}")
        weights = _weights(model, attention, sentence, words)
        heads = weights.mean(0) if head is None else weights[head]
        found.append(Alignment(torch.cat((heads[1:], heads[-1:])) if when_read else heads))
    return found


def _attention(model: Seq2Seq, layer: int | None, head: int | None) -> MultiHeadAttention:
    layers = model.decoder.layers
    wanted = max(len(layers) - 2, 0) if layer is None else layer
    if not -len(layers) <= wanted < len(layers):
        raise UserError(f"there is no decoder layer {wanted}", mend=f"choose one from 0 to {len(layers) - 1}")
    attention = cast(MultiHeadAttention, layers[wanted].cross_attention)
    if head is not None and not 0 <= head < attention.num_heads:
        raise UserError(f"there is no attention head {head}", mend=f"choose one from 0 to {attention.num_heads - 1}")
    return attention


@torch.no_grad()
def _weights(
    model: Seq2Seq, attention: MultiHeadAttention, sentence: Ids, words: Ids
) -> Float[Tensor, "heads target source"]:
    """Weights of all heads at BOS and at every word: the steps that predict every word, and EOS."""
    device = model.target_embedding.table.weight.device
    source, _ = padded([sentence], model.config.pad_id, device)
    read, _ = padded([(model.config.bos_id, *words)], model.config.pad_id, device)
    with evaluating(model), _watched(attention) as seen:
        memory = model.encode(source)
        model.decode(model.target_embedding(read, model.target_positions(read.shape[1])), memory)
    return seen[0][0].float().cpu()


@contextmanager
def _watched(attention: MultiHeadAttention) -> Iterator[list[Tensor]]:
    """The weights of an attention while the block runs, as `record_attention` sees them."""
    seen: list[Tensor] = []
    core = attention.core

    def watching(q: Tensor, k: Tensor, v: Tensor, attend: Tensor | None, dropout: float) -> Tensor:
        weights = attention_weights(q, k, attend)
        seen.append(weights)
        return weights @ v

    attention.core = watching
    try:
        yield seen
    finally:
        attention.core = core
