"""Sentences as ids, and how they are put together so that batches hold little padding."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sleuth.data.text.samples import TextSample
from sleuth.errors import UserError
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.types.text import TextBatch

# Sentences are sorted by target length among so many batches of one width: padding falls, and batches stay mixed.
_SORTED_BATCHES = 8


@dataclass(frozen=True)
class Tokenizers:
    """The tokenizers of both sides; with one vocabulary for both they are the same.

    Args:
        source: of what is given.
        target: of what is wanted.
    """

    source: Tokenizer
    target: Tokenizer

    def encode(self, sample: TextSample) -> tuple[list[int], list[int]]:
        """Ids of both sides, EOS included.

        Raises:
            UserError: the sentence begins with a prefix that the vocabulary lacks; the message names its line.
        """
        try:
            return self.source.encode(sample.source), self.target.encode(sample.target)
        except UserError as error:
            raise UserError(f"{error.where}: {error.what}", where=sample.name, mend=error.mend) from None


@dataclass(frozen=True)
class EncodedPairs:
    """Many pairs as ids, in two flat arrays.

    Args:
        sources: ids of all source sentences, one after another.
        source_starts: where each begins, and last where the last one ends.
        targets: ids of all target sentences.
        target_starts: where each begins and the last one ends.
    """

    sources: np.ndarray
    source_starts: np.ndarray
    targets: np.ndarray
    target_starts: np.ndarray

    @classmethod
    def of(cls, pairs: Iterable[tuple[Sequence[int], Sequence[int]]]) -> "EncodedPairs":
        """Put pairs of ids together."""
        flat: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for pair in pairs:
            for side, ids in zip(flat, pair, strict=True):
                side.append(np.asarray(ids, dtype=np.int32))
        joined = [np.concatenate([np.zeros(0, np.int32), *side]) for side in flat]
        starts = [np.cumsum([0, *map(len, side)]) for side in flat]
        return cls(joined[0], starts[0], joined[1], starts[1])

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.source_starts) - 1

    @property
    def source_lengths(self) -> np.ndarray:
        """Tokens of each source."""
        return np.diff(self.source_starts)

    @property
    def target_lengths(self) -> np.ndarray:
        """Tokens of each target."""
        return np.diff(self.target_starts)

    def batch(self, rows: np.ndarray, names: tuple[str, ...], tokenizers: Tokenizers, multiple: int) -> TextBatch:
        """Some pairs as one batch, its sides padded to a multiple of so many tokens."""
        source, source_valid = _padded(self.sources, self.source_starts, rows, tokenizers.source.pad_id, multiple)
        target, target_valid = _padded(self.targets, self.target_starts, rows, tokenizers.target.pad_id, multiple)
        before = torch.full_like(target[:, :1], tokenizers.target.start_id)
        # Where a shorter target has ended, the decoder is given its EOS: no loss is asked of what it says then.
        return TextBatch(
            source=source,
            source_valid=source_valid,
            target_in=torch.cat((before, target[:, :-1]), dim=1),
            target_out=target,
            target_valid=target_valid,
            names=names,
        )


def plan_batches(
    source_lengths: np.ndarray, target_lengths: np.ndarray, order: np.ndarray, *, batch_tokens: int, multiple: int
) -> list[np.ndarray]:
    """Put pairs of like length together: no batch has more than so many tokens on either side, padding included.

    Pairs are gathered by width, the length of their longer side rounded up to ``multiple``. What does not fill a batch
    of its width goes into the next wider one. How many batches there are does not depend on the order.

    Args:
        source_lengths: tokens of each source; none has more than ``batch_tokens``.
        target_lengths: tokens of each target.
        order: the pairs to put together, in random order.
        batch_tokens: most tokens of a side.
        multiple: sides are padded to a multiple of so many tokens.

    Returns:
        The pairs of each batch, narrow batches first.
    """
    widths = -(-np.maximum(source_lengths, target_lengths) // multiple) * multiple
    # Stable: pairs of one width keep their random order.
    order = order[np.argsort(widths[order], kind="stable")]
    edges = np.flatnonzero(np.diff(widths[order])) + 1
    batches: list[np.ndarray] = []
    rest = order[:0]
    for pairs in np.split(order, edges) if len(order) else ():
        size = max(1, batch_tokens // int(widths[pairs[0]]))
        pairs = np.concatenate((rest, pairs))
        full = len(pairs) // size * size
        pairs, rest = pairs[:full], pairs[full:]
        for first in range(0, full, size * _SORTED_BATCHES):
            some = pairs[first : first + size * _SORTED_BATCHES]
            some = some[np.lexsort((source_lengths[some], target_lengths[some]))]
            batches += np.split(some, range(size, len(some), size))
    return [*batches, rest] if len(rest) else batches


def _padded(
    flat: np.ndarray, starts: np.ndarray, rows: np.ndarray, pad_id: int, multiple: int
) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = starts[rows + 1] - starts[rows]
    width = -(-int(lengths.max()) // multiple) * multiple
    places = np.arange(width)
    valid = places < lengths[:, None]
    taken = np.minimum(starts[rows][:, None] + places, len(flat) - 1)
    ids = np.where(valid, flat[taken], pad_id).astype(np.int64)
    return torch.from_numpy(ids), torch.from_numpy(valid)
