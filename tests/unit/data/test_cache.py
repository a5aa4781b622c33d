"""A cache serves the same samples as its source, and keeps within its budget."""

from dataclasses import dataclass, field

import torch

from sleuth.data.cache import CACHE_SHARE, CachedSource, cached, free_memory
from sleuth.data.samples import Sample, SampleSource


@dataclass
class Counting:
    """Pictures of random pixels that counts how often each is loaded."""

    count: int = 4
    masks: bool = False
    loads: list[int] = field(default_factory=list)
    names = ("a", "b")
    category_ids = (4, 7)
    is_thing = (True, False)

    def __len__(self) -> int:
        return self.count

    def load(self, index: int) -> Sample:
        self.loads.append(index)
        generator = torch.Generator().manual_seed(index)
        masks = torch.zeros(1, 40, 60, dtype=torch.bool)
        masks[0, 10:20, 30:60] = True
        return Sample(
            image=torch.randint(0, 256, (3, 40, 60), generator=generator, dtype=torch.uint8),
            boxes_xyxy_px=torch.tensor([[30.0, 10.0, 60.0, 20.0]]),
            labels=torch.tensor([index]),
            name=f"{index}",
            image_id=index,
            size_hw=(40, 60),
            masks=masks if self.masks else None,
        )


def test_each_picture_is_loaded_once_and_stays_the_same():
    source = Counting()
    kept = CachedSource(source, budget=2**20)
    assert isinstance(kept, SampleSource)
    assert (kept.names, kept.category_ids, kept.is_thing, len(kept)) == (("a", "b"), (4, 7), (True, False), 4)
    for index in (0, 1, 0, 1, 1):
        assert torch.equal(kept.load(index).image, Counting().load(index).image)
    assert source.loads == [0, 1]


def test_beyond_the_budget_pictures_are_loaded_again_and_no_different():
    source = Counting(masks=True)
    one = 40 * 60 * 4 + 16 + 8
    kept = CachedSource(source, budget=one, longest=30)
    alike = CachedSource(Counting(masks=True), budget=2**20, longest=30)
    for index in (0, 1, 2, 3, 0, 1, 2, 3):
        ours, theirs = kept.load(index), alike.load(index)
        assert torch.equal(ours.image, theirs.image)
        assert torch.equal(ours.masks, theirs.masks)
    assert kept.kept_bytes <= one < alike.kept_bytes
    assert source.loads.count(0) == 1
    assert source.loads.count(3) == 2


def test_large_pictures_shrink_with_all_that_is_in_them():
    made = CachedSource(Counting(masks=True), budget=0, longest=30).load(2)
    assert made.image.shape == (3, 20, 30)
    assert made.boxes_xyxy_px.tolist() == [[15, 5, 30, 10]]
    assert made.masks[0].nonzero().amin(0).tolist() == [5, 15]
    assert made.size_hw == (40, 60)
    # A little too large is not worth a second resize.
    assert CachedSource(Counting(), budget=0, longest=50).load(0).image.shape == (3, 40, 60)


def test_the_budget_is_a_part_of_what_is_free():
    assert 2**20 < free_memory() < 2**48
    assert cached(Counting(), longest=None, processes=4).budget < free_memory() * CACHE_SHARE / 3
