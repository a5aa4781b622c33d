"""The decoder of language: all words at once under a causal mask, or one word after another with a cache.

Each word looks at the words before it. Their keys and values stay as they were, so a decoder that writes word by word
keeps them, and those of the memory, in a `DecoderCache` rather than computing them anew.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sleuth.nn.attention import padding_mask
from sleuth.nn.layers import DecoderLayer

_FIRST_CAPACITY = 32


@dataclass
class DecoderCache:
    """Keys and values of all layers: of the words so far for each row, of the memory for each sentence.

    A sentence has one row, or ``beams`` rows side by side that share its memory. Rows and words fill the tensors from
    the front; what lies behind is room. Sentences leave by the last ones taking their places.

    Args:
        words: keys and values of decoded words; the first ``rows`` and ``length`` are in use.
        memory: keys and values of the source; the first ``rows / beams`` sentences are in use.
        valid: True on words of the source; None where there is no padding.
        sentences: how many are in use.
        beams: rows of each sentence.
        length: words so far.
    """

    words: Float[Tensor, "layers 2 most_rows most_words dim"]
    memory: Float[Tensor, "layers 2 most_sentences tokens dim"]
    valid: Bool[Tensor, "most_sentences tokens"] | None
    sentences: int
    beams: int = 1
    length: int = 0

    @property
    def rows(self) -> int:
        """Rows in use: sentence by sentence, ``beams`` of each."""
        return self.sentences * self.beams

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What is in use, layers and (keys, values) first: for those who want to see the cache grow.

        >>> cache = DecoderCache(torch.zeros(6, 2, 1, 32, 8), torch.zeros(6, 2, 1, 9, 8), None, sentences=1, length=3)
        >>> cache.shapes()
        {'words': (6, 2, 1, 3, 8), 'memory': (6, 2, 1, 9, 8)}
        """
        layers, two, _, _, dim = self.words.shape
        return {
            "words": (layers, two, self.rows, self.length, dim),
            "memory": (layers, two, self.sentences, *self.memory.shape[3:]),
        }

    def make_room(self, new: int) -> None:
        """Room for new words, twice as much as before if there is too little."""
        layers, two, rows, capacity, dim = self.words.shape
        if self.length + new <= capacity:
            return
        larger = self.words.new_empty(layers, two, rows, max(2 * capacity, self.length + new), dim)
        larger[:, :, : self.rows, : self.length] = self.words[:, :, : self.rows, : self.length]
        self.words = larger

    def split(self, beams: int) -> None:
        """Make ``beams`` rows of each sentence's only row."""
        if self.beams != 1:
            raise ValueError(f"the sentences have {self.beams} rows already")
        layers, two, rows, capacity, dim = self.words.shape
        larger = self.words.new_empty(layers, two, rows * beams, capacity, dim)
        used = self.words[:, :, : self.rows, : self.length]
        larger[:, :, : self.rows * beams, : self.length] = used.repeat_interleave(beams, dim=2)
        self.words, self.beams = larger, beams

    def copy_rows(self, source: Sequence[int], target: Sequence[int]) -> None:
        """Let rows forget their words and take over those of others; no row may be on both sides."""
        if source:
            used = self.words[:, :, :, : self.length]
            used[:, :, torch.tensor(target)] = used[:, :, torch.tensor(source)]

    def keep(self, order: Sequence[int]) -> None:
        """Let sentences leave: place i is taken by sentence ``order[i]``; `closing_ranks` moves the fewest.

        Args:
            order: sentences that stay; those that move come from behind the last place.
        """
        self.sentences = len(order)
        moves = [(old, new) for new, old in enumerate(order) if old != new]
        if not moves:
            return
        rows = [(old * self.beams + i, new * self.beams + i) for old, new in moves for i in range(self.beams)]
        self.copy_rows([old for old, _ in rows], [new for _, new in rows])
        old, new = torch.tensor(moves).T
        self.memory[:, :, new] = self.memory[:, :, old]
        if self.valid is not None:
            self.valid[new] = self.valid[old]


def closing_ranks(leaves: Sequence[bool]) -> list[int]:
    """Who takes which place when some leave: the last ones step into the gaps, and nobody else moves.

    >>> closing_ranks([False, True, False, False, True, False])
    [0, 5, 2, 3]
    """
    places = len(leaves) - sum(leaves)
    movers = (i for i in range(len(leaves) - 1, places - 1, -1) if not leaves[i])
    return [next(movers) if leaves[i] else i for i in range(places)]


class LanguageDecoder(nn.Module):
    """A stack of decoder layers that answers with the last layer's states alone, as language models do.

    Args:
        layers: the layers, first to last.
        norm: applied once, at the end, or None: pre-norm stacks need it, post-norm ones have normalised already.

    Source: Vaswani et al. 2017, section 3.1.
    """

    def __init__(self, layers: list[DecoderLayer], *, norm: nn.LayerNorm | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.Identity() if norm is None else norm

    def forward(
        self,
        states: Float[Tensor, "batch words dim"],
        memory: Float[Tensor, "batch tokens dim"],
        *,
        attend: Bool[Tensor, "#batch #heads #words words"] | None = None,
        attend_memory: Bool[Tensor, "#batch #heads #words tokens"] | None = None,
    ) -> Float[Tensor, "batch words dim"]:
        """All words at once, as in training."""
        for layer in self.layers:
            states = layer(states, memory, attend=attend, attend_memory=attend_memory)
        return self.norm(states)

    @torch.no_grad()
    def start(
        self,
        memory: Float[Tensor, "batch tokens dim"],
        valid: Bool[Tensor, "batch tokens"] | None = None,
    ) -> DecoderCache:
        """A cache without words: the keys and values of the memory, computed once for a sentence."""
        batch, tokens, dim = memory.shape
        # A clone, since sentences that leave change it. Without padding there is nothing to hide.
        valid = None if valid is None or bool(valid.all()) else valid.clone()
        kept = memory.new_zeros(len(self.layers), 2, batch, tokens, dim)
        seen = slice(None) if valid is None else valid
        questioned = memory[seen]
        for layer, into in zip(self._decoder_layers(), kept, strict=True):
            into[0][seen] = layer.cross_attention.k_proj(questioned)
            into[1][seen] = layer.cross_attention.v_proj(questioned)
        words = memory.new_empty(len(self.layers), 2, batch, _FIRST_CAPACITY, dim)
        return DecoderCache(words, kept, valid, sentences=batch)

    @torch.no_grad()
    def step(self, states: Float[Tensor, "rows new dim"], cache: DecoderCache) -> Float[Tensor, "rows new dim"]:
        """The newest words of each row, which look at themselves, at the words in the cache, and at the memory.

        The result is that of `forward` on the whole rows at these words. There are neither gradients nor dropout.
        """
        new = states.shape[1]
        cache.make_room(new)
        first, cache.length = cache.length, cache.length + new
        attend = None if new == 1 else _seen(first, new, states.device)
        attend_memory = None if cache.valid is None else padding_mask(cache.valid[: cache.sentences])
        words = cache.words[:, :, : cache.rows, : cache.length]
        memory = cache.memory[:, :, : cache.sentences]

        def write(into: Tensor, x: Tensor) -> None:
            into[:, -new:] = x

        for layer, (k, v), (memory_k, memory_v) in zip(self._decoder_layers(), words, memory, strict=True):
            states = _step(layer, states, k, v, attend, memory_k, memory_v, attend_memory, write)
        return self.norm(states)

    @torch.no_grad()
    def step_at(
        self,
        states: Float[Tensor, "rows 1 dim"],
        place: Int[Tensor, " 1"],
        words: Float[Tensor, "layers 2 rows most_words dim"],
        memory: Float[Tensor, "layers 2 sentences tokens dim"],
        valid: Bool[Tensor, "sentences tokens"],
    ) -> Float[Tensor, "rows 1 dim"]:
        """As `step` for one word of each row, with shapes that do not grow, so that a GPU can record it.

        Args:
            states: of the newest words.
            place: number of these words in their sentences; it stays on the device.
            words: keys and values of words, with room; those of the newest are written in.
            memory: keys and values of the memory.
            valid: True on words of the source; at least one for each sentence.
        """
        seen = torch.arange(words.shape[3], device=words.device) <= place
        attend, attend_memory = seen[None, None, None], padding_mask(valid)

        def write(into: Tensor, x: Tensor) -> None:
            into.index_copy_(1, place, x)

        for layer, (k, v), (memory_k, memory_v) in zip(self._decoder_layers(), words, memory, strict=True):
            states = _step(layer, states, k, v, attend, memory_k, memory_v, attend_memory, write)
        return self.norm(states)

    def step_linears(self) -> list[nn.Module]:
        """The linear layers that `step` goes through, for those who prepare them."""
        found: list[nn.Module] = []
        for layer in self._decoder_layers():
            own, cross = layer.self_attention, layer.cross_attention
            found += [own.q_proj, own.k_proj, own.v_proj, own.out_proj, cross.q_proj, cross.out_proj]
            found += [layer.feedforward.linear1, layer.feedforward.linear2]
        return found

    def _decoder_layers(self) -> Iterable[DecoderLayer]:
        return cast(Iterable[DecoderLayer], self.layers)


def _seen(first: int, new: int, device: torch.device) -> Bool[Tensor, "1 1 {new} {first}+{new}"]:
    """New words see all words of the cache, and among themselves the earlier ones."""
    return torch.ones(new, first + new, dtype=torch.bool, device=device).tril(first)[None, None]


def _step(
    layer: DecoderLayer,
    states: Tensor,
    k: Tensor,
    v: Tensor,
    attend: Tensor | None,
    memory_k: Tensor,
    memory_v: Tensor,
    attend_memory: Tensor | None,
    write: Callable[[Tensor, Tensor], None],
) -> Tensor:
    """`DecoderLayer.forward` for new words, whose keys and values are written into k and v first."""

    def confer(x: Tensor) -> Tensor:
        write(k, layer.self_attention.k_proj(x))
        write(v, layer.self_attention.v_proj(x))
        return layer.self_attention.look(x, k, v, attend)

    def ask(x: Tensor) -> Tensor:
        # The rows of a sentence ask its memory together, as several queries of one sentence.
        asked = x.reshape(len(memory_k), -1, x.shape[-1])
        return layer.cross_attention.look(asked, memory_k, memory_v, attend_memory).view_as(x)

    if layer.pre_norm:
        states = states + confer(layer.norm1(states))
        states = states + ask(layer.norm2(states))
        return states + layer.feedforward(layer.norm3(states))
    states = layer.norm1(states + confer(states))
    states = layer.norm2(states + ask(states))
    return layer.norm3(states + layer.feedforward(states))
