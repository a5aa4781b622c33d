"""Augmented batches: pictures and masks move together, and an order depends on the seed alone."""

from dataclasses import replace

import pytest
import torch

from sleuth.data.semantic.augmentation import SemanticAugmentation
from sleuth.data.semantic.samples import SemanticSample
from sleuth.data.semantic.stream import SemanticStream
from sleuth.tasks.preprocess import Preprocess

MEAN = (0.5, 0.5, 0.5)


class Stripes:
    """Pictures whose brightness tells the class of each pixel: 0 is dark, 1 bright, 2 in between."""

    names = ("dark", "bright", "grey")

    def __len__(self) -> int:
        return 5

    def load(self, index: int) -> SemanticSample:
        labels = torch.zeros(24, 32, dtype=torch.uint8)
        labels[:, 12 + index :] = 1
        labels[16:, :8] = 2
        image = torch.tensor([20, 230, 120], dtype=torch.uint8)[labels.int()].expand(3, -1, -1).contiguous()
        return SemanticSample(image, labels, f"picture {index}")


def stream(seed: int = 0, **changes: object) -> SemanticStream:
    return SemanticStream(
        Stripes(),
        replace(SemanticAugmentation(colour=0.0), **changes),
        size_hw=(20, 20),
        preprocess=Preprocess(shortest=24, longest=100, mean=MEAN, std=MEAN),
        batch_size=2,
        seed=seed,
    )


def test_pictures_and_masks_move_together():
    for batch in stream().epoch(0):
        assert batch.images.pixels.shape == (2, 3, 20, 20)
        assert batch.labels.shape == (2, 20, 20)
        known = batch.labels != 255
        brightness = batch.images.pixels[:, 0] * 0.5 + 0.5
        guess = torch.full_like(batch.labels, 2)
        guess[brightness < 0.27] = 0
        guess[brightness > 0.7] = 1
        # Between two stripes, resizing mixes their brightness.
        assert float((guess == batch.labels)[known].float().mean()) > 0.9
        assert bool((brightness[~known] - 0.5).abs().max() < 0.01) if bool((~known).any()) else True


def test_small_pictures_are_filled_up_without_a_class():
    labels = torch.cat([batch.labels for batch in stream(scale=(0.5, 0.5)).epoch(0)])
    assert float((labels == 255).float().mean()) == pytest.approx(1 - 12 * 16 / 400, abs=0.01)


def test_the_order_and_the_augmentation_follow_from_the_seed():
    first, again = list(stream(seed=3).epoch(1)), list(stream(seed=3).epoch(1))
    assert len(first) == 2
    for one, other in zip(first, again, strict=True):
        assert one.names == other.names
        assert torch.equal(one.images.pixels, other.images.pixels)
    assert torch.equal(next(stream(seed=3).epoch(1, start_batch=1)).labels, first[1].labels)
    assert not torch.equal(next(stream(seed=4).epoch(1)).images.pixels, first[0].images.pixels)


def test_colours_change_until_the_end_and_labels_never():
    bright = SemanticAugmentation(scale=(1.0, 1.0), flip=False, colour=0.8)
    image, labels = torch.full((3, 8, 8), 100, dtype=torch.uint8), torch.ones(8, 8, dtype=torch.uint8)
    sizes = {"base_hw": (8, 8), "size_hw": (8, 8), "mean": MEAN}
    changed, same = bright(image, labels, **sizes)
    assert not torch.equal(changed, image)
    assert torch.equal(same, labels)
    assert torch.equal(bright.closed()(image, labels, **sizes)[0], image)


@pytest.mark.parametrize("wrong", [{"scale": (2.0, 1.0)}, {"scale": (0.0, 1.0)}, {"colour": 1.0}, {"turn": -1.0}])
def test_settings_out_of_range_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SemanticAugmentation(**wrong)
