"""The sources of a batch, encoded in groups of like length, so that little of the work is padding."""

from collections.abc import Sequence
from itertools import pairwise

from sleuth.models.seq2seq import Seq2Seq
from sleuth.tasks.decoding.sources import Sources
from sleuth.types.text import TextMemory

# A product with fewer rows than this takes as long as reading the weights.
_WORTH_A_GROUP = 128


def encode_sources(model: Seq2Seq, sources: Sources) -> TextMemory:
    """What `Seq2Seq.encode` says of the words of the batch; what stands at padding nobody reads.

    Args:
        model: in evaluation mode.
        sources: the longest sentence first, as batches are made.
    """
    if sources.valid is None or sources.ids.device.type != "cpu":
        return model.encode(sources.ids, sources.valid)
    lengths = sources.valid.sum(1).tolist()
    cuts = groups(lengths)
    if len(cuts) == 2:
        return model.encode(sources.ids, sources.valid)
    tokens = None
    for first, last in pairwise(cuts):
        longest = max(lengths[first:last])
        valid = sources.valid[first:last, :longest]
        found = model.encode(sources.ids[first:last, :longest], None if bool(valid.all()) else valid).tokens
        if tokens is None:
            tokens = found.new_zeros(*sources.ids.shape, found.shape[-1])
        tokens[first:last, :longest] = found
    assert tokens is not None
    return TextMemory(tokens=tokens, valid=sources.valid)


def groups(lengths: Sequence[int]) -> list[int]:
    """Where groups begin and the last one ends: a sentence that is a quarter shorter begins a new one if that pays.

    >>> groups([40, 39, 38, 20, 19, 5]), groups([40, 40, 39, 38, 20, 19, 18, 18, 18, 17, 17, 5])
    ([0, 6], [0, 4, 12])
    """
    cuts = [0]
    for place, length in enumerate(lengths):
        first = cuts[-1]
        left = sum(lengths[place:])
        worth = min((place - first) * lengths[first], left) >= _WORTH_A_GROUP
        if worth and 4 * length <= 3 * lengths[first]:
            cuts.append(place)
    return [*cuts, len(lengths)]
