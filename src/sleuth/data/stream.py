"""Batches in a fixed order, prepared by worker processes while the model computes.

What a batch holds is a function of (seed, epoch, place in the epoch) alone: the number of workers does not matter,
and a stream can start at any batch, so that a stopped training resumes bit for bit.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, runtime_checkable

import torch
from torch.utils.data import Dataset

from sleuth.data.batches import Colour, to_batch
from sleuth.data.loader import Loader, Made, Maker
from sleuth.data.samples import Sample, SampleSource
from sleuth.data.transforms import Resize
from sleuth.errors import UserError
from sleuth.tasks.detection import IMAGENET_MEAN, IMAGENET_STD
from sleuth.types import ImageBatch, Target

Batch = tuple[ImageBatch, list[Target]]

# Beyond this many samples an order is not shuffled: such sources compose samples that are independent anyway.
MAX_SHUFFLED = 2**23


def mix(*numbers: int) -> int:
    """A 63-bit seed from whole numbers, the same on every machine and unrelated between neighbours."""
    digest = hashlib.blake2b(struct.pack(f"<{len(numbers)}q", *numbers), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@dataclass(frozen=True)
class PlannedSample:
    """One sample of a batch: which, the seed of its augmentation, that of its batch, and whether the run is closing."""

    index: int
    seed: int
    batch_seed: int = 0
    closing: bool = False


@runtime_checkable
class BatchTransform(Protocol):
    """An augmentation that sees more than one picture: it borrows others, and all of a batch may share a size."""

    def compose(self, sample: Sample, draw: Callable[[], Sample], batch_seed: int) -> Sample:
        """An augmented copy of a sample.

        Args:
            sample: the picture.
            draw: a random picture of the source; it draws from PyTorch's global generator, as the transform does.
            batch_seed: the same for all pictures of a batch, on all ranks.
        """
        ...

    def padded_hw(self, batch_seed: int) -> tuple[int, int] | None:
        """Height and width that the batch of this seed is padded to; None for those of its largest pictures."""
        ...


Transform = Callable[[Sample], Sample] | BatchTransform
"""Changes one sample, drawing from PyTorch's global generator."""


class _Batches(Maker[Sequence[PlannedSample], Batch]):
    """Prepares whole batches."""

    def __init__(self, source: SampleSource, transform: Transform, closing: Transform, collate: "_Collate") -> None:
        self.source, self.collate = source, collate
        self.transforms = {False: transform, True: closing}

    def make(self, items: Sequence[PlannedSample]) -> Batch:
        """The batch of these samples."""
        samples = [self._sample(item) for item in items]
        transform = self.transforms[items[0].closing]
        padded = transform.padded_hw(items[0].batch_seed) if isinstance(transform, BatchTransform) else None
        return self.collate(samples, padded)

    def _sample(self, item: PlannedSample) -> Sample:
        sample, transform = self.source.load(item.index), self.transforms[item.closing]
        # Only the CPU generator is forked and seeded: dropout on an accelerator keeps its own course.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(item.seed)
            if isinstance(transform, BatchTransform):
                return transform.compose(sample, self._draw, item.batch_seed)
            return transform(sample)

    def _draw(self) -> Sample:
        return self.source.load(int(torch.randint(0, len(self.source), ())))


@dataclass(frozen=True)
class _Collate:
    mean: Colour
    std: Colour
    multiple: int

    def __call__(self, samples: Sequence[Sample], padded_hw: tuple[int, int] | None) -> Batch:
        return to_batch(samples, self.mean, self.std, self.multiple, padded_hw)


class ShuffledStream(Generic[Made]):
    """Shuffled batches, epoch after epoch, each made from the plan of its samples.

    The order is a permutation drawn from (seed, epoch), the seed of each sample's augmentation from
    (seed, epoch, index). The last samples that do not fill a batch of all ranks wait for another epoch; a source
    smaller than one batch is repeated. Rank r of w serves the r-th part of each batch of w * batch_size, so that the
    ranks together see what one process with the larger batch would.

    Args:
        makers: makes a batch of a list of planned samples; a user's fault is returned, to be raised where the user is.
        size: samples of the source.
        batch_size: pictures per batch of this rank.
        seed: seed of order and augmentation.
        workers: worker processes; 0 prepares batches in this process.
        rank: number of this process, 0 to world_size - 1.
        world_size: number of processes that train together.
        prefetch: batches that each worker prepares ahead.
        shuffle: False keeps the source's own order.
        close_at: batches of this rank, from the first epoch's first on, after which the run closes; None never.

    Attributes:
        close_at: may be set until the run comes near it: workers prepare some batches ahead.
    """

    def __init__(
        self,
        makers: Dataset[Made | UserError],
        *,
        size: int,
        batch_size: int,
        seed: int = 0,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        prefetch: int = 2,
        shuffle: bool = True,
        close_at: int | None = None,
    ) -> None:
        if size == 0:
            raise UserError("there are no pictures to train on", where="data", mend="check the folder and the split")
        if batch_size < 1:
            raise UserError(f"a batch of {batch_size} pictures is none", mend="give a batch size of at least 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size}")
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.shuffle = shuffle and self.size <= MAX_SHUFFLED
        self.close_at = close_at
        self._loader: Loader[list[PlannedSample], Made] = Loader(makers, workers, prefetch)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of one epoch, the same for every rank."""
        return max(1, self.size // (self.batch_size * self.world_size))

    @property
    def wait_seconds(self) -> float:
        """Seconds that the consumer has waited for data so far."""
        return self._loader.wait_seconds

    def __len__(self) -> int:
        """Batches of one epoch."""
        return self.batches_per_epoch

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Made]:
        """The batches of one epoch from ``start_batch`` on.

        Raises:
            UserError: a picture cannot be read; the message names it.
        """
        return self._loader.run(self._plan(epoch, start_batch))

    def _plan(self, epoch: int, start_batch: int) -> Iterator[list[PlannedSample]]:
        order = self._order(epoch)
        for batch in range(start_batch, self.batches_per_epoch):
            first = (batch * self.world_size + self.rank) * self.batch_size
            shared = mix(self.seed, epoch, batch), self._closing(epoch, batch)
            yield [self._item(order, epoch, place, *shared) for place in range(first, first + self.batch_size)]

    def _closing(self, epoch: int, batch: int) -> bool:
        return self.close_at is not None and epoch * self.batches_per_epoch + batch >= self.close_at

    def _order(self, epoch: int) -> Sequence[int] | torch.Tensor:
        if not self.shuffle:
            return range(self.size)
        return torch.randperm(self.size, generator=torch.Generator().manual_seed(mix(self.seed, epoch)))

    def _item(
        self, order: Sequence[int] | torch.Tensor, epoch: int, place: int, batch_seed: int, closing: bool
    ) -> PlannedSample:
        repeat, place = divmod(place, self.size)
        index = int(order[place])
        return PlannedSample(index, mix(self.seed, epoch, index, repeat), batch_seed, closing)


class TrainingStream(ShuffledStream[Batch]):
    """Shuffled, augmented batches of annotated pictures; see `ShuffledStream` for the order.

    Args:
        source: where samples come from.
        augmentation: changes one sample; a `BatchTransform` borrows others of the source.
        batch_size: pictures per batch of this rank.
        seed: seed of order and augmentation.
        workers: worker processes; 0 prepares batches in this process.
        rank: number of this process, 0 to world_size - 1.
        world_size: number of processes that train together.
        mean: mean of each colour, 0 to 1.
        std: standard deviation of each colour, 0 to 1.
        multiple: padded sides are multiples of this number of pixels.
        prefetch: batches that each worker prepares ahead.
        shuffle: False keeps the source's own order.
        closing: augmentation of the last batches of a run; the same one by default.
        close_at: batches of this rank, from the first epoch's first on, after which the run closes; None never.
    """

    def __init__(
        self,
        source: SampleSource,
        augmentation: Transform,
        *,
        batch_size: int,
        seed: int = 0,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        mean: Colour = IMAGENET_MEAN,
        std: Colour = IMAGENET_STD,
        multiple: int = 1,
        prefetch: int = 2,
        shuffle: bool = True,
        closing: Transform | None = None,
        close_at: int | None = None,
    ) -> None:
        super().__init__(
            _Batches(source, augmentation, closing or augmentation, _Collate(mean, std, multiple)),
            size=len(source),
            batch_size=batch_size,
            seed=seed,
            workers=workers,
            rank=rank,
            world_size=world_size,
            prefetch=prefetch,
            shuffle=shuffle,
            close_at=close_at,
        )


class EvaluationStream:
    """Batches of a source in its own order, resized without augmentation; the last one may be smaller.

    Args:
        source: where samples come from.
        shortest: pixels of the shorter side.
        longest: most pixels of the longer side.
        batch_size: pictures per batch.
        workers: worker processes; 0 prepares batches in this process.
        mean: mean of each colour, 0 to 1.
        std: standard deviation of each colour, 0 to 1.
        multiple: padded sides are multiples of this number of pixels.
        prefetch: batches that each worker prepares ahead.
        limit: serve only the first so many pictures; None serves all.
    """

    def __init__(
        self,
        source: SampleSource,
        *,
        shortest: int,
        longest: int | None,
        batch_size: int = 1,
        workers: int = 0,
        mean: Colour = IMAGENET_MEAN,
        std: Colour = IMAGENET_STD,
        multiple: int = 1,
        prefetch: int = 2,
        limit: int | None = None,
    ) -> None:
        self.size = len(source) if limit is None else min(limit, len(source))
        self.batch_size = batch_size
        resized = Resize(shortest, longest)
        batches = _Batches(source, resized, resized, _Collate(mean, std, multiple))
        self._loader: Loader[list[PlannedSample], Batch] = Loader(batches, workers, prefetch)

    @property
    def wait_seconds(self) -> float:
        """Seconds that the consumer has waited for data so far."""
        return self._loader.wait_seconds

    def __len__(self) -> int:
        """Number of batches."""
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """One pass over the pictures."""
        return self._loader.run(self._plan())

    def _plan(self) -> Iterator[list[PlannedSample]]:
        for first in range(0, self.size, self.batch_size):
            yield [PlannedSample(index, 0) for index in range(first, min(first + self.batch_size, self.size))]
