"""Batches of pictures of classes, augmented and mixed, in an order that (seed, epoch) decides alone."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from sleuth.data.classes.augmentation import ClassAugmentation
from sleuth.data.classes.samples import ClassSource
from sleuth.data.loader import Maker
from sleuth.data.shuffled import PlannedSample, ShuffledStream, StreamOptions, own_draws
from sleuth.tasks.preprocess import Preprocess, normalised
from sleuth.types.batches import ClassBatch, ImageBatch


class ClassStream(ShuffledStream[ClassBatch]):
    """Shuffled, augmented batches of classes; see `ShuffledStream` for the order.

    The augmentation of a picture follows from (seed, epoch, index), the mixing of a batch from (seed, epoch, place).

    Args:
        source: where pictures come from.
        augmentation: how they are changed.
        size_hw: height and width that the model is trained at.
        preprocess: mean, standard deviation and scale of the model's pixels.
        options: size of batches, seed, processes and order; of a run that closes, only crops and flips are left.

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
        **options: Unpack[StreamOptions],
    ) -> None:
        super().__init__(_Batches(source, augmentation, size_hw, preprocess), size=len(source), **options)


class _Batches(Maker[Sequence[PlannedSample], ClassBatch]):
    """Prepares whole batches."""

    def __init__(
        self, source: ClassSource, augmentation: ClassAugmentation, size_hw: tuple[int, int], preprocess: Preprocess
    ) -> None:
        self.source, self.size_hw, self.preprocess = source, size_hw, preprocess
        self.augmentations = {False: augmentation, True: augmentation.closed()}

    def make(self, items: Sequence[PlannedSample]) -> ClassBatch:
        """The batch of these samples."""
        augmentation, preprocess = self.augmentations[items[0].closing], self.preprocess
        samples = [self.source.load(item.index) for item in items]
        labels = torch.tensor([sample.label for sample in samples])
        with own_draws() as seed:
            pictures: list[Tensor] = []
            for item, sample in zip(items, samples, strict=True):
                seed(item.seed)
                pictures.append(augmentation.one(sample.image, self.size_hw, preprocess.blank))
            images = normalised(pictures, preprocess)
            seed(items[0].batch_seed)
            pixels, wanted = augmentation.batch(images.pixels, labels, len(self.source.names))
        if wanted is not None:
            labels = wanted.argmax(dim=1)
        return ClassBatch(ImageBatch(pixels, images.valid), labels, wanted, tuple(sample.name for sample in samples))
