"""Batches of sentence pairs by tokens, epoch after epoch, in an order that (seed, epoch) decides alone."""

import time
from collections.abc import Iterator

import numpy as np
import torch

from sleuth.data.loader import Loader, Maker
from sleuth.data.shuffled import mix
from sleuth.data.text.batches import EncodedPairs, Tokenizers, plan_batches
from sleuth.data.text.samples import TextSource
from sleuth.errors import UserError
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.types.text import TextBatch

# Of sources without end, so many batches are planned together.
_GROUP = 16
_PROBED = 256


class TextStream:
    """Shuffled batches of sentence pairs of like length.

    Files are tokenised once, here. In each epoch every pair occurs once, but for the batches that do not go round all
    ranks. Batch t of rank r of w is batch t * w + r of the epoch, so that w ranks see what one process sees that
    accumulates w batches.

    Sources without end are drawn from as they are needed, by worker processes if there are any; each rank draws pairs
    of its own.

    Args:
        source: where pairs come from.
        source_tokenizer: cuts sources.
        target_tokenizer: cuts targets; None where one vocabulary serves both.
        batch_tokens: most tokens of a batch on either side, padding included.
        seed: of the order.
        workers: worker processes for sources without end; 0 draws in this process. Files need none.
        rank: number of this process, 0 to world_size - 1.
        world_size: number of processes that train together.
        max_tokens: pairs with more tokens on a side are left out, as are pairs with an empty side.
        max_ratio: so are pairs of which one side has so many times the tokens of the other; None leaves out none.
        multiple: sides are padded to a multiple of so many tokens; 1 pads least, 8 gives compiled models few shapes.
        prefetch: groups of batches that each worker prepares ahead.
        shuffle: False keeps batches in order of length.
        close_at: as in `TrainingStream`; here nothing closes.

    Attributes:
        left_out: how many pairs are left out, for being empty, too long or too unlike; of sources without end, among
            the first.

    Raises:
        UserError: there are no pairs, none is short enough, or one begins with an unknown prefix.
    """

    def __init__(
        self,
        source: TextSource,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer | None = None,
        *,
        batch_tokens: int = 4096,
        seed: int = 0,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        max_tokens: int = 256,
        max_ratio: float | None = None,
        multiple: int = 1,
        prefetch: int = 2,
        shuffle: bool = True,
        close_at: int | None = None,
    ) -> None:
        if len(source) == 0:
            raise UserError("there are no pairs of sentences to train on", where="data", mend="check the files")
        if batch_tokens < multiple:
            raise UserError(f"a batch of {batch_tokens} tokens holds no sentence", mend=f"at least {multiple}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size}")
        self.seed, self.rank, self.world_size, self.shuffle = seed, rank, world_size, shuffle
        self.close_at = close_at
        tokenizers = Tokenizers(source_tokenizer, source_tokenizer if target_tokenizer is None else target_tokenizer)
        most = min(max_tokens, batch_tokens // multiple * multiple)
        self._cutter = _Cutter(tokenizers, batch_tokens, multiple, most, max_ratio)
        self._waited = 0.0
        self._source = source
        probed = range(_PROBED if source.endless else len(source))
        self._pairs, self._kept = self._cutter.encode(source, probed)
        self.left_out = len(probed) - len(self._kept)
        if not len(self._kept):
            raise UserError(
                f"all {len(probed):,} pairs are empty, longer than {most} tokens, or too unlike in length",
                where="data",
                mend="raise the most tokens of a sentence and of a batch, or part the lines",
            )
        self._loader: Loader[tuple[int, int], list[TextBatch]] | None = None
        if source.endless:
            longer = np.maximum(self._pairs.source_lengths, self._pairs.target_lengths)
            share = batch_tokens / float(np.mean(-(-longer // multiple) * multiple))  # pairs that fill a batch
            self._total = max(world_size, round(len(source) / share))
            per_group = max(1, round(share * _GROUP))
            self._loader = Loader(_Groups(source, self._cutter, per_group, seed), workers, prefetch)
        else:
            self._total = len(self._cutter.plan(self._pairs, np.arange(len(self._kept))))

    @property
    def batches_per_epoch(self) -> int:
        """Batches of one epoch, the same for every rank."""
        return max(1, self._total // self.world_size)

    @property
    def wait_seconds(self) -> float:
        """Seconds that the consumer has waited for data so far."""
        return self._waited + (self._loader.wait_seconds if self._loader is not None else 0.0)

    def __len__(self) -> int:
        """Batches of one epoch."""
        return self.batches_per_epoch

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[TextBatch]:
        """The batches of one epoch from ``start_batch`` on.

        Raises:
            UserError: a pair cannot be tokenised; the message names it.
        """
        return self._drawn(epoch, start_batch) if self._loader is not None else self._read(epoch, start_batch)

    def _read(self, epoch: int, start_batch: int) -> Iterator[TextBatch]:
        """Batches of files."""
        start = time.perf_counter()
        plan = self._cutter.shuffled(self._pairs, mix(self.seed, epoch) if self.shuffle else None)
        for batch in range(start_batch, len(self)):
            rows = plan[(batch * self.world_size + self.rank) % len(plan)]
            made = self._cutter.batch(self._source, self._pairs, self._kept, rows)
            self._waited += time.perf_counter() - start
            yield made
            start = time.perf_counter()

    def _drawn(self, epoch: int, start_batch: int) -> Iterator[TextBatch]:
        """Batches of a source without end, group after group."""
        assert self._loader is not None
        groups = -(-len(self) // _GROUP)
        first = start_batch // _GROUP
        plan = ((epoch, (epoch * groups + group) * self.world_size + self.rank) for group in range(first, groups))
        place = first * _GROUP
        for batches in self._loader.run(plan):
            for batch in batches:
                if start_batch <= place < len(self):
                    yield batch
                place += 1


class _Cutter:
    """Tokenises pairs and cuts them into batches."""

    def __init__(
        self, tokenizers: Tokenizers, batch_tokens: int, multiple: int, max_tokens: int, max_ratio: float | None
    ) -> None:
        self.tokenizers, self.batch_tokens, self.multiple = tokenizers, batch_tokens, multiple
        self.max_tokens, self.max_ratio = max_tokens, max_ratio

    def encode(self, source: TextSource, indices: range) -> tuple[EncodedPairs, np.ndarray]:
        """The pairs at these indices that are neither empty, too long nor unlike, and which of the source they are."""
        kept, encoded = [], []
        for index in indices:
            sample = source.load(index)
            if not (sample.source.strip() and sample.target.strip()):
                continue
            pair = self.tokenizers.encode(sample)
            shorter, longer = sorted(map(len, pair))
            if longer <= self.max_tokens and (self.max_ratio is None or longer <= self.max_ratio * shorter):
                kept.append(index)
                encoded.append(pair)
        return EncodedPairs.of(encoded), np.asarray(kept, dtype=np.int64)

    def plan(self, pairs: EncodedPairs, order: np.ndarray) -> list[np.ndarray]:
        return plan_batches(
            pairs.source_lengths, pairs.target_lengths, order, batch_tokens=self.batch_tokens, multiple=self.multiple
        )

    def shuffled(self, pairs: EncodedPairs, seed: int | None) -> list[np.ndarray]:
        """All batches, pairs and batches in random order; without a seed, in order of length."""
        if seed is None:
            return self.plan(pairs, np.arange(len(pairs)))
        plan = self.plan(pairs, _permutation(len(pairs), mix(seed, 0)))
        return [plan[place] for place in _permutation(len(plan), mix(seed, 1))]

    def batch(self, source: TextSource, pairs: EncodedPairs, kept: np.ndarray, rows: np.ndarray) -> TextBatch:
        names = tuple(source.name(int(index)) for index in kept[rows])
        return pairs.batch(rows, names, self.tokenizers, self.multiple)


class _Groups(Maker[tuple[int, int], list[TextBatch]]):
    """Makes a group of batches of pairs that no other group has."""

    def __init__(self, source: TextSource, cutter: _Cutter, per_group: int, seed: int) -> None:
        self.source, self.cutter, self.per_group, self.seed = source, cutter, per_group, seed

    def make(self, place: tuple[int, int]) -> list[TextBatch]:
        """The batches of an epoch's group of this number."""
        epoch, group = place
        # Room for more pairs than a group can hold keeps the indices of groups apart.
        first = group * 4 * self.per_group
        count = self.per_group
        while True:
            pairs, kept = self.cutter.encode(self.source, range(first, first + count))
            plan = self.cutter.shuffled(pairs, mix(self.seed, epoch, group))
            if len(plan) >= _GROUP or count == 4 * self.per_group:
                break
            count = min(4 * self.per_group, count + max(1, count // 4))
        if not plan:
            raise UserError("only empty or too long pairs are drawn", where="data", mend="allow more tokens")
        # What is over is let go, whichever it is, so that no length is favoured.
        return [self.cutter.batch(self.source, pairs, kept, plan[place % len(plan)]) for place in range(_GROUP)]


def _permutation(count: int, seed: int) -> np.ndarray:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy()
