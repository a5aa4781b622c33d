"""Shuffled batches in an order that (seed, epoch) decides alone, whatever they hold.

What a batch holds is a function of (seed, epoch, place in the epoch): the number of workers does not matter, and a
stream can start at any batch, so that a stopped training resumes bit for bit.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Required, TypedDict

import torch
from torch.utils.data import Dataset

from sleuth.data.loader import Loader, Made
from sleuth.errors import UserError

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


@contextmanager
def own_draws() -> Iterator[Callable[[int], object]]:
    """A block that draws from PyTorch's global generator and leaves it as it was; what it is given sets the seed."""
    # Only the CPU generator is forked and seeded: dropout on an accelerator keeps its own course.
    with torch.random.fork_rng(devices=[]):
        yield torch.default_generator.manual_seed


class StreamOptions(TypedDict, total=False):
    """How a stream of pictures is parted and ordered; see `ShuffledStream`, which has their meaning and defaults."""

    batch_size: Required[int]
    seed: int
    workers: int
    rank: int
    world_size: int
    prefetch: int
    shuffle: bool
    close_at: int | None


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
