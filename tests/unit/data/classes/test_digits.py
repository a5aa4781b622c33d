"""The built-in digits: a fifth of each is held out, always the same."""

import pytest
import torch

from sleuth.data.classes.cache import CachedClasses
from sleuth.data.classes.digits import DigitPictures
from sleuth.data.classes.samples import ClassSource, FirstPictures
from sleuth.errors import UserError


def test_a_fifth_of_each_digit_is_held_out():
    train, val, every = (DigitPictures(split) for split in ("train", "val", "all"))
    assert isinstance(train, ClassSource)
    assert len(train) + len(val) == len(every) == 1797
    for digit in range(10):
        counts = [sum(source.label(i) == digit for i in range(len(source))) for source in (val, every)]
        assert counts[0] == counts[1] // 5
    names = {train.load(i).name for i in range(0, len(train), 50)}
    assert names.isdisjoint(val.load(i).name for i in range(len(val)))
    # Another choice would make scores that were told before incomparable.
    assert val.load(0).name == DigitPictures("val").load(0).name


def test_pictures_are_grey_and_of_full_range():
    sample = DigitPictures("val").load(3)
    assert tuple(sample.image.shape) == (3, 8, 8)
    assert sample.image[0].equal(sample.image[2])
    assert (int(sample.image.min()), int(sample.image.max())) == (0, 255)


def test_an_unknown_split_and_the_first_few():
    with pytest.raises(UserError, match="no split 'test'"):
        DigitPictures("test")
    few = FirstPictures(DigitPictures("val"), 3)
    assert (len(few), few.names[9]) == (3, "9")
    with pytest.raises(IndexError):
        few.load(3)


def test_the_cache_keeps_what_fits():
    source = DigitPictures("val")
    cached = CachedClasses(source, budget=2 * 3 * 64)
    first = [cached.load(i) for i in range(4)]
    assert cached.kept_bytes == 2 * 3 * 64
    assert cached.load(0) is first[0]
    assert cached.load(3) is not first[3]
    assert torch.equal(cached.load(3).image, first[3].image)
    assert (len(cached), cached.label(2), cached.names) == (len(source), source.label(2), source.names)
