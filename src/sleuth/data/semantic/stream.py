"""Batches of augmented pictures with the classes of their pixels, in an order that (seed, epoch) decides alone."""

from collections.abc import Sequence

import torch

from sleuth.data.kept import Keeper
from sleuth.data.loader import Maker
from sleuth.data.semantic.augmentation import SemanticAugmentation
from sleuth.data.semantic.samples import SemanticSample, SemanticSource
from sleuth.data.stream import PlannedSample, ShuffledStream
from sleuth.tasks.preprocess import Preprocess, normalise_and_pad
from sleuth.types import SemanticBatch


class SemanticStream(ShuffledStream[SemanticBatch]):
    """Shuffled, augmented batches; see `ShuffledStream` for the order.

    The augmentation of a picture follows from (seed, epoch, index).

    Args:
        source: where pictures come from.
        augmentation: how they are changed.
        size_hw: height and width that the model is trained at.
        preprocess: the size at which the model sees whole pictures, and mean, deviation and scale of their pixels.
        batch_size: pictures per batch of this rank.
        budget: bytes of decoded pictures that are kept in memory.
        seed: seed of order and augmentation.
        workers: worker processes; 0 prepares batches in this process.
        rank: number of this process, 0 to world_size - 1.
        world_size: number of processes that train together.
        close_at: batches of this rank after which colours stay as they are; None never.

    Raises:
        UserError: there are no pictures.
    """

    def __init__(
        self,
        source: SemanticSource,
        augmentation: SemanticAugmentation,
        *,
        size_hw: tuple[int, int],
        preprocess: Preprocess,
        batch_size: int,
        budget: int = 0,
        seed: int = 0,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        close_at: int | None = None,
    ) -> None:
        super().__init__(
            _Batches(source, augmentation, size_hw, preprocess, budget),
            size=len(source),
            batch_size=batch_size,
            seed=seed,
            workers=workers,
            rank=rank,
            world_size=world_size,
            close_at=close_at,
        )


class _Batches(Maker[Sequence[PlannedSample], SemanticBatch]):
    """Prepares whole batches."""

    def __init__(
        self,
        source: SemanticSource,
        augmentation: SemanticAugmentation,
        size_hw: tuple[int, int],
        preprocess: Preprocess,
        budget: int,
    ) -> None:
        self.kept: Keeper[SemanticSample] = Keeper(source.load, _bytes_of, budget)
        self.size_hw, self.preprocess = size_hw, preprocess
        self.augmentations = {False: augmentation, True: augmentation.closed()}
        # Filled up with the colour that becomes 0, on the scale of 0 to 1.
        scale = 1 / (255 * preprocess.rescale)
        red, green, blue = (channel * scale for channel in preprocess.mean)
        self.mean = (red, green, blue) if preprocess.normalise else (0.5, 0.5, 0.5)

    def make(self, items: Sequence[PlannedSample]) -> SemanticBatch:
        """The batch of these samples."""
        augmentation, preprocess = self.augmentations[items[0].closing], self.preprocess
        pictures, labels, names = [], [], []
        # Only the CPU generator is forked and seeded: dropout on an accelerator keeps its own course.
        with torch.random.fork_rng(devices=[]):
            for item in items:
                sample = self.kept.load(item.index)
                torch.default_generator.manual_seed(item.seed)
                height, width = sample.image.shape[1:]
                picture, wanted = augmentation(
                    sample.image,
                    sample.labels,
                    base_hw=preprocess.size_for((height, width)),
                    size_hw=self.size_hw,
                    mean=self.mean,
                )
                pictures.append(picture)
                labels.append(wanted)
                names.append(sample.name)
        images = normalise_and_pad(
            pictures,
            mean=preprocess.mean,
            std=preprocess.std,
            rescale=preprocess.rescale,
            normalise=preprocess.normalise,
        )
        return SemanticBatch(images, torch.stack(labels), tuple(names))


def _bytes_of(sample: SemanticSample) -> int:
    return sample.image.nbytes + sample.labels.nbytes
