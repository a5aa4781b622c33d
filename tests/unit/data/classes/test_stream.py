"""Batches of classes: a function of (seed, epoch, place) alone, augmented and mixed as the settings say."""

from itertools import islice

import pytest
import torch

from sleuth.data.classes.augmentation import ClassAugmentation
from sleuth.data.classes.digits import DigitPictures
from sleuth.data.classes.samples import FirstPictures
from sleuth.data.classes.stream import ClassStream
from sleuth.errors import UserError
from sleuth.tasks.classification import classifier_preprocess
from sleuth.tasks.preprocess import preprocess_images
from sleuth.training.work import BatchStream

PLAIN = ClassAugmentation(crop="none", flip=False)
ALL = ClassAugmentation(
    crop="padded", padding=1, turn=10.0, randaugment=1, erase=0.5, mixup=0.2, cutmix=1.0, mix_share=0.8
)


def stream(augmentation=ALL, size_hw=(8, 8), count=30, **changes) -> ClassStream:
    settings = {"batch_size": 6, "seed": 4} | changes
    source = FirstPictures(DigitPictures("train"), count)
    return ClassStream(source, augmentation, size_hw=size_hw, preprocess=classifier_preprocess(size_hw), **settings)


def same(a, b) -> bool:
    mixed = (a.wanted is None) == (b.wanted is None) and (a.wanted is None or torch.equal(a.wanted, b.wanted))
    return mixed and torch.equal(a.images.pixels, b.images.pixels) and torch.equal(a.labels, b.labels)


def test_it_begins_anywhere_and_leaves_the_generator_alone():
    made = stream()
    assert isinstance(made, BatchStream)
    assert len(made) == 5
    before = torch.get_rng_state()
    whole = list(made.epoch(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(same(a, b) for a, b in zip(whole[3:], stream().epoch(1, 3), strict=True))
    assert not same(whole[0], next(iter(stream().epoch(2))))
    assert sorted(name for batch in whole for name in batch.names) == sorted(
        DigitPictures("train").load(i).name for i in range(30)
    )


def test_ranks_see_together_what_one_process_sees():
    whole = next(iter(stream(PLAIN, batch_size=12).epoch(0)))
    parts = [next(iter(stream(PLAIN, rank=rank, world_size=2).epoch(0))) for rank in range(2)]
    assert torch.equal(torch.cat([part.images.pixels for part in parts]), whole.images.pixels)


def test_without_augmentation_a_picture_is_what_the_model_sees_of_it():
    batch = next(iter(stream(PLAIN, shuffle=False).epoch(0)))
    source = DigitPictures("train")
    images = preprocess_images([source.load(i).image for i in range(6)], classifier_preprocess((8, 8)))
    assert torch.equal(batch.images.pixels, images.pixels)
    assert batch.labels.tolist() == [source.label(i) for i in range(6)]
    assert batch.wanted is None


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixed_pictures_have_shares_of_two_classes(settings):
    batches = list(stream(ClassAugmentation(crop="none", flip=False, **settings)).epoch(0))
    for batch in batches:
        assert torch.allclose(batch.wanted.sum(1), torch.ones(6))
        assert int((batch.wanted > 0).sum(1).max()) <= 2
        assert torch.equal(batch.labels, batch.wanted.argmax(1))
    assert any(((batch.wanted > 0.01) & (batch.wanted < 0.99)).any() for batch in batches)


def test_the_end_of_a_run_goes_without():
    closing = list(stream(close_at=3).epoch(0))
    assert all(batch.wanted is None for batch in closing[3:])
    assert any(batch.wanted is not None for batch in stream().epoch(0))
    assert ALL.closed().mixes is False


@pytest.mark.parametrize("crop", ["resized", "padded", "none"])
def test_every_crop_brings_pictures_to_the_models_size(crop):
    made = stream(ClassAugmentation(crop=crop, erase=1.0), size_hw=(12, 10))
    for batch in islice(made.epoch(0), 2):
        assert tuple(batch.images.pixels.shape) == (6, 3, 12, 10)
        assert bool(batch.images.valid.all())


@pytest.mark.parametrize(
    "wrong",
    [{"least_area": 0.0}, {"padding": -1}, {"magnitude": 31}, {"erase": 1.5}, {"mix_share": -0.1}, {"mixup": -1.0}],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ClassAugmentation(**wrong)


def test_no_pictures_are_refused():
    with pytest.raises(UserError, match="no pictures to train on"):
        stream(count=0)
