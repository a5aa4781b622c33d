"""A step of the language decoder without modules: for a few rows, saying what to do takes as long as doing it.

`LanguageDecoder.step` is the one to read. This does the same sums with the fewest calls: queries, keys and values of a
layer come out of one product, and a tensor is cut into heads once for all layers.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.attention import MultiHeadAttention, fused_attention, padding_mask
from sleuth.nn.feedforward import Activation
from sleuth.nn.language import DecoderCache, LanguageDecoder
from sleuth.nn.layers import DecoderLayer
from sleuth.nn.swapped import is_plain_linear
from sleuth.nn.turned import TurnedProduct

KeysValues = tuple[Tensor, Tensor]


class FlatDecoder:
    """The decoder's step for one new word of each row, on a processor, in float32.

    The weights must not change as long as this is used. Beyond them it keeps those of queries, keys and values side by
    side, and turned copies for the numbers of rows that gain by them.

    Args:
        decoder: one that `can_be_flat` says yes to, in evaluation mode.
    """

    def __init__(self, decoder: LanguageDecoder) -> None:
        self.layers = [_FlatLayer.of(cast(DecoderLayer, layer)) for layer in decoder.layers]
        self.norm = _Norm.of(decoder.norm) if isinstance(decoder.norm, nn.LayerNorm) else None

    @torch.no_grad()
    def step(self, states: Float[Tensor, "rows dim"], cache: DecoderCache) -> Float[Tensor, "rows dim"]:
        """As `LanguageDecoder.step` for the newest word of each row; the cache takes it in."""
        cache.make_room(1)
        cache.length += 1
        used = cache.words[:, :, : cache.rows, : cache.length]
        newest = _pairs(used[:, :, :, -1].view(-1, cache.rows, used.shape[-1]))
        words = _pairs(_in_heads(used, self.layers[0].num_heads))
        memory = _pairs(_in_heads(cache.memory[:, :, : cache.sentences], self.layers[0].num_heads_memory))
        hidden = None
        if cache.valid is not None:
            valid = padding_mask(cache.valid[: cache.sentences])
            hidden = torch.zeros(valid.shape, dtype=states.dtype).masked_fill_(~valid, float("-inf"))
        for layer, into, own, remembered in zip(self.layers, newest, words, memory, strict=True):
            states = layer.step(states, into, own, remembered, hidden)
        return states if self.norm is None else self.norm(states)


def _in_heads(kept: Float[Tensor, "layers 2 rows tokens dim"], heads: int) -> Float[Tensor, "both rows heads tokens _"]:
    return kept.flatten(0, 1).unflatten(-1, (heads, -1)).transpose(2, 3)


def _pairs(both: Float[Tensor, "both *rest"]) -> list[KeysValues]:
    """Keys and values of each layer."""
    each = both.unbind()
    return list(zip(each[::2], each[1::2], strict=True))


def can_be_flat(decoder: LanguageDecoder) -> bool:
    """Whether all its parts are the plain ones, on a processor in float32: no adapters, no other attention cores."""
    layers = list(decoder.layers)
    return bool(layers) and all(type(layer) is DecoderLayer and _is_plain(layer) for layer in layers)


def _is_plain(layer: DecoderLayer) -> bool:
    own, cross, thinking = layer.self_attention, layer.cross_attention, layer.feedforward
    linears = [each for attention in (own, cross) for each in _projections(attention)]
    linears += [thinking.linear1, thinking.linear2]
    return own.core is cross.core is fused_attention and all(is_plain_linear(linear) for linear in linears)


def _projections(attention: MultiHeadAttention) -> list[nn.Linear]:
    return [attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj]


@dataclass(frozen=True)
class _Norm:
    shape: tuple[int, ...]
    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, norm: nn.LayerNorm) -> "_Norm":
        return cls(tuple(norm.normalized_shape), norm.weight.detach(), norm.bias.detach(), norm.eps)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, self.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True)
class _FlatLayer:
    """A `DecoderLayer`: confer, ask the memory, think."""

    num_heads: int
    num_heads_memory: int
    qkv: TurnedProduct
    confer_out: TurnedProduct
    ask: TurnedProduct
    ask_out: TurnedProduct
    expand: TurnedProduct
    contract: TurnedProduct
    activation: Activation
    norms: tuple[_Norm, _Norm, _Norm]
    pre_norm: bool

    @classmethod
    def of(cls, layer: DecoderLayer) -> "_FlatLayer":
        own, cross, thinking = layer.self_attention, layer.cross_attention, layer.feedforward
        side_by_side = _projections(own)[:3]
        return cls(
            num_heads=own.num_heads,
            num_heads_memory=cross.num_heads,
            qkv=TurnedProduct(
                torch.cat([each.weight.detach() for each in side_by_side]),
                torch.cat([each.bias.detach() for each in side_by_side]),
            ),
            confer_out=_product(own.out_proj),
            ask=_product(cross.q_proj),
            ask_out=_product(cross.out_proj),
            expand=_product(thinking.linear1),
            contract=_product(thinking.linear2),
            activation=thinking.activation,
            norms=(_Norm.of(layer.norm1), _Norm.of(layer.norm2), _Norm.of(layer.norm3)),
            pre_norm=layer.pre_norm,
        )

    def step(
        self, states: Tensor, newest: KeysValues, words: KeysValues, memory: KeysValues, hidden: Tensor | None
    ) -> Tensor:
        norm1, norm2, norm3 = self.norms
        if self.pre_norm:
            states = self._confer(norm1(states), newest, words).add_(states)
            states = self._ask(norm2(states), memory, hidden).add_(states)
            return self._think(norm3(states)).add_(states)
        states = norm1(self._confer(states, newest, words).add_(states))
        states = norm2(self._ask(states, memory, hidden).add_(states))
        return norm3(self._think(states).add_(states))

    def _confer(self, x: Tensor, newest: KeysValues, words: KeysValues) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, 1)
        newest[0].copy_(k)
        newest[1].copy_(v)
        q = q.view(x.shape[0], self.num_heads, 1, -1)
        return self.confer_out(F.scaled_dot_product_attention(q, *words).reshape(x.shape))

    def _ask(self, x: Tensor, memory: KeysValues, hidden: Tensor | None) -> Tensor:
        # The rows of a sentence ask its memory together, as several queries of one sentence.
        q = self.ask(x).view(memory[0].shape[0], -1, self.num_heads_memory, memory[0].shape[-1]).transpose(1, 2)
        looked = F.scaled_dot_product_attention(q, *memory, attn_mask=hidden)
        return self.ask_out(looked.transpose(1, 2).reshape(x.shape))

    def _think(self, x: Tensor) -> Tensor:
        return self.contract(self.activation(self.expand(x)))


def _product(linear: nn.Linear) -> TurnedProduct:
    return TurnedProduct(linear.weight, linear.bias)
