"""Decoding steps of fixed shapes, so that a GPU records one and plays it again rather than being told each kernel.

A step of a small model is hundreds of kernels of a few microseconds each: telling the GPU takes longer than computing.
A recorded step has fixed addresses and shapes. So the cache moves into tensors of rounded sizes that steps share, the
place of the new word is a number on the device, and a mask hides the places behind it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import ReferenceType, ref

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sleuth.models.seq2seq import Seq2Seq
from sleuth.nn.language import DecoderCache

Run = Callable[[], Tensor]
Capture = Callable[[Run], Run]

_LEAST_WORDS = 64
_SOURCE_STEP = 16
_MOST_BUFFERS = 16


def record_on_gpu(run: Run) -> Run:
    """A step as a CUDA graph: what is returned plays it, and gives the same tensor each time, filled anew."""
    here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
    # Whatever libraries set up on first use must not be recorded.
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        for _ in range(2):
            run()
    here.wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        states = run()

    def play() -> Tensor:
        graph.replay()
        return states

    return play


@dataclass
class _Buffers:
    """Tensors that a recorded step reads and writes, and whose cache lies in them now."""

    words: Float[Tensor, "layers 2 rows most_words dim"]
    memory: Float[Tensor, "layers 2 sentences tokens dim"]
    valid: Tensor
    new: Int[Tensor, "rows 1"]
    place: Int[Tensor, " 1"]
    play: Run | None = None
    owner: ReferenceType[DecoderCache] | None = field(default=None)

    def is_free_for(self, cache: DecoderCache) -> bool:
        """Whether no other cache that somebody still uses lies here."""
        owner = None if self.owner is None else self.owner()
        return owner is None or owner is cache or owner.words is not self.words

    def take_in(self, cache: DecoderCache) -> None:
        """Move a cache here; from now on it changes these tensors."""
        rows, length, sentences = cache.rows, cache.length, cache.sentences
        tokens = cache.memory.shape[3]
        valid = None if cache.valid is None else cache.valid[:sentences].clone()
        self.words[:, :, :rows, :length] = cache.words[:, :, :rows, :length]
        self.memory[:, :, :sentences, :tokens] = cache.memory[:, :, :sentences]
        self.valid.zero_()
        # What no sentence owns looks at one place, as softmax wants something to look at.
        self.valid[:, 0] = True
        self.valid[:sentences, :tokens] = True if valid is None else valid
        cache.words, cache.memory, cache.valid = self.words, self.memory, self.valid
        self.owner = ref(cache)


class CapturedSteps:
    """A model's decoding steps, recorded once for each size and played again.

    It stands in for the model in the searches: `advance` and `step` give what the model's own give.

    Args:
        model: in evaluation mode; its weights may change in place, but not move.
        capture: makes a step that can be played again of one; `record_on_gpu` unless a test says otherwise.
    """

    def __init__(self, model: Seq2Seq, capture: Capture = record_on_gpu) -> None:
        self.model = model
        self._capture = capture
        self._buffers: dict[tuple[int, ...], _Buffers] = {}

    @torch.no_grad()
    def step(self, words: Int[Tensor, "rows new"], cache: DecoderCache) -> Float[Tensor, "rows vocabulary"]:
        """As `Seq2Seq.step`."""
        return self.model.head(self.advance(words, cache))

    @torch.no_grad()
    def advance(self, words: Int[Tensor, "rows new"], cache: DecoderCache) -> Float[Tensor, "rows dim"]:
        """As `Seq2Seq.advance`; several words at once, such as a prefix, go through the model itself."""
        most = self.model.config.max_positions
        if words.shape[1] != 1 or cache.length + 1 > most:
            return self.model.advance(words, cache)
        buffers = self._place(cache)
        if buffers is None:
            return self.model.advance(words, cache)
        buffers.new[: len(words)] = words
        buffers.place.fill_(cache.length)
        if buffers.play is None:
            buffers.play = self._capture(lambda: self._fixed(buffers))
        states = buffers.play()[: len(words)]
        cache.length += 1
        return states

    def _fixed(self, buffers: _Buffers) -> Tensor:
        model, place = self.model, buffers.place
        queries = model.target_embedding(buffers.new, model.target_positions.table.index_select(0, place))
        return model.decoder.step_at(queries, place, buffers.words, buffers.memory, buffers.valid)[:, -1]

    def _place(self, cache: DecoderCache) -> _Buffers | None:
        """Buffers of the cache's rounded size with the cache in them; None where another cache lies there."""
        layers, _, _, _, dim = cache.words.shape
        sentences = _power(cache.sentences)
        capacity = max(_LEAST_WORDS, _power(cache.length + 1))
        tokens = -(-cache.memory.shape[3] // _SOURCE_STEP) * _SOURCE_STEP
        key = (layers, sentences, cache.beams, capacity, tokens, dim)
        buffers = self._buffers.pop(key, None)
        if buffers is None:
            buffers = self._made(cache, sentences, capacity, tokens)
        self._buffers[key] = buffers  # the latest used is the last
        while len(self._buffers) > _MOST_BUFFERS:
            del self._buffers[next(iter(self._buffers))]
        if cache.words is not buffers.words:
            if not buffers.is_free_for(cache):
                return None
            buffers.take_in(cache)
        return buffers

    def _made(self, cache: DecoderCache, sentences: int, capacity: int, tokens: int) -> _Buffers:
        layers, two, _, _, dim = cache.words.shape
        rows, device = sentences * cache.beams, cache.words.device
        options: dict[str, Any] = {"dtype": cache.words.dtype, "device": device}
        # Whoever comes later may be outside of inference mode.
        with torch.inference_mode(False):
            return _Buffers(
                words=torch.zeros(layers, two, rows, capacity, dim, **options),
                memory=torch.zeros(layers, two, sentences, tokens, dim, **options),
                valid=torch.zeros(sentences, tokens, dtype=torch.bool, device=device),
                new=torch.zeros(rows, 1, dtype=torch.long, device=device),
                place=torch.zeros(1, dtype=torch.long, device=device),
            )


def _power(number: int) -> int:
    """The least power of two that is no less.

    >>> _power(1), _power(5), _power(64)
    (1, 8, 64)
    """
    return 1 << (number - 1).bit_length()
