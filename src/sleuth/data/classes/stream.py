"""Batches of pictures of classes, augmented and mixed, in an order that (seed, epoch) decides alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sleuth.data.classes.augmentation import ClassAugmentation
from sleuth.data.classes.samples import ClassSource
from sleuth.data.loader import Maker
from sleuth.data.stream import PlannedSample, ShuffledStream
from sleuth.tasks.preprocess import Preprocess, normalise_and_pad
from sleuth.types import ClassBatch, ImageBatch


class ClassStream(ShuffledStream[ClassBatch]):
    """Shuffled, augmented batches of classes; see `ShuffledStream` for the order.

    The augmentation of a picture follows from (seed, epoch, index), the mixing of a batch from (seed, epoch, place).

    Args:
        source: where pictures come from.
        augmentation: how they are changed.
        size_hw: height and width that the model is trained at.
        preprocess: mean, standard deviation and scale of the model's pixels.
        batch_size: pictures per batch of this rank.
        seed: seed of order and augmentation.
        workers: worker processes; 0 prepares batches in this process.
        rank: number of this process, 0 to world_size - 1.
        world_size: number of processes that train together.
        shuffle: False keeps the source's own order.
        close_at: batches of this rank after which only crops and flips are left; None never.

    Raises:
        UserError: there are no pictures.
    """

    def __init__(
        self,
        source: ClassSource,
        augmentation: ClassAugmentation,
        *,
        size_hw: tuple[int, int],
        preprocess: Preprocess,
        batch_size: int,
        seed: int = 0,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        close_at: int | None = None,
    ) -> None:
        super().__init__(
            _Batches(source, augmentation, size_hw, preprocess),
            size=len(source),
            batch_size=batch_size,
            seed=seed,
            workers=workers,
            rank=rank,
            world_size=world_size,
            shuffle=shuffle,
            close_at=close_at,
        )


class _Batches(Maker[Sequence[PlannedSample], ClassBatch]):
    """Prepares whole batches."""

    def __init__(
        self, source: ClassSource, augmentation: ClassAugmentation, size_hw: tuple[int, int], preprocess: Preprocess
    ) -> None:
        self.source, self.size_hw, self.preprocess = source, size_hw, preprocess
        self.augmentations = {False: augmentation, True: augmentation.closed()}
        # Blanks are of the colour that becomes 0, on the scale of 0 to 1.
        scale = 1 / (255 * preprocess.rescale)
        red, green, blue = (channel * scale for channel in preprocess.mean)
        self.mean = (red, green, blue) if preprocess.normalise else (0.5, 0.5, 0.5)

    def make(self, items: Sequence[PlannedSample]) -> ClassBatch:
        """The batch of these samples."""
        augmentation, preprocess = self.augmentations[items[0].closing], self.preprocess
        samples = [self.source.load(item.index) for item in items]
        labels = torch.tensor([sample.label for sample in samples])
        # Only the CPU generator is forked and seeded: dropout on an accelerator keeps its own course.
        with torch.random.fork_rng(devices=[]):
            pictures: list[Tensor] = []
            for item, sample in zip(items, samples, strict=True):
                torch.default_generator.manual_seed(item.seed)
                pictures.append(augmentation.one(sample.image, self.size_hw, self.mean))
            images = normalise_and_pad(
                pictures,
                mean=preprocess.mean,
                std=preprocess.std,
                rescale=preprocess.rescale,
                normalise=preprocess.normalise,
            )
            torch.default_generator.manual_seed(items[0].batch_seed)
            pixels, wanted = augmentation.batch(images.pixels, labels, len(self.source.names))
        if wanted is not None:
            labels = wanted.argmax(dim=1)
        return ClassBatch(ImageBatch(pixels, images.valid), labels, wanted, tuple(sample.name for sample in samples))
