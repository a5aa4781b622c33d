"""Batches of augmented pictures with the classes of their pixels, in an order that (seed, epoch) decides alone."""

from collections.abc import Sequence
from typing import Unpack

import torch

from sleuth.data.kept import Keeper
from sleuth.data.loader import Maker
from sleuth.data.semantic.augmentation import SemanticAugmentation
from sleuth.data.semantic.samples import SemanticSample, SemanticSource
from sleuth.data.shuffled import PlannedSample, ShuffledStream, StreamOptions, own_draws
from sleuth.tasks.preprocess import Preprocess, normalised
from sleuth.types.batches import SemanticBatch


class SemanticStream(ShuffledStream[SemanticBatch]):
    """Shuffled, augmented batches; see `ShuffledStream` for the order.

    The augmentation of a picture follows from (seed, epoch, index).

    Args:
        source: where pictures come from.
        augmentation: how they are changed.
        size_hw: height and width that the model is trained at.
        preprocess: the size at which the model sees whole pictures, and mean, deviation and scale of their pixels.
        budget: bytes of decoded pictures that are kept in memory.
        options: size of batches, seed, processes and order; in a run that closes, colours stay as they are.

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
        budget: int = 0,
        **options: Unpack[StreamOptions],
    ) -> None:
        super().__init__(_Batches(source, augmentation, size_hw, preprocess, budget), size=len(source), **options)


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

    def make(self, items: Sequence[PlannedSample]) -> SemanticBatch:
        """The batch of these samples."""
        augmentation, preprocess = self.augmentations[items[0].closing], self.preprocess
        pictures, labels, names = [], [], []
        with own_draws() as seed:
            for item in items:
                sample = self.kept.load(item.index)
                seed(item.seed)
                height, width = sample.image.shape[1:]
                picture, wanted = augmentation(
                    sample.image,
                    sample.labels,
                    base_hw=preprocess.size_for((height, width)),
                    size_hw=self.size_hw,
                    mean=preprocess.blank,
                )
                pictures.append(picture)
                labels.append(wanted)
                names.append(sample.name)
        images = normalised(pictures, preprocess)
        return SemanticBatch(images, torch.stack(labels), tuple(names))


def _bytes_of(sample: SemanticSample) -> int:
    return sample.image.nbytes + sample.labels.nbytes
