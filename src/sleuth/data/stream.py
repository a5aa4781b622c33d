"""Batches of annotated pictures in a fixed order, prepared by worker processes while the model computes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Unpack, runtime_checkable

import torch

from sleuth.data.batches import Colour, to_batch
from sleuth.data.loader import Loader, Maker
from sleuth.data.samples import Sample, SampleSource
from sleuth.data.shuffled import PlannedSample, ShuffledStream, StreamOptions, own_draws
from sleuth.data.transforms import Resize
from sleuth.tasks.detection import IMAGENET_MEAN, IMAGENET_STD
from sleuth.types.batches import ImageBatch, Target

Batch = tuple[ImageBatch, list[Target]]


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
        with own_draws() as seed:
            seed(item.seed)
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


class TrainingStream(ShuffledStream[Batch]):
    """Shuffled, augmented batches of annotated pictures; see `ShuffledStream` for the order.

    Args:
        source: where samples come from.
        augmentation: changes one sample; a `BatchTransform` borrows others of the source.
        mean: mean of each colour, 0 to 1.
        std: standard deviation of each colour, 0 to 1.
        multiple: padded sides are multiples of this number of pixels.
        closing: augmentation of the last batches of a run; the same one by default.
        options: size of batches, seed, processes and order.

    Raises:
        UserError: there are no pictures.
    """

    def __init__(
        self,
        source: SampleSource,
        augmentation: Transform,
        *,
        mean: Colour = IMAGENET_MEAN,
        std: Colour = IMAGENET_STD,
        multiple: int = 1,
        closing: Transform | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        batches = _Batches(source, augmentation, closing or augmentation, _Collate(mean, std, multiple))
        super().__init__(batches, size=len(source), **options)


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
