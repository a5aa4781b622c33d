"""The training stream: one order whatever the workers, exact resume, exact shards."""

from dataclasses import dataclass

import pytest
import torch

from sleuth.data.cache import CachedSource
from sleuth.data.samples import Sample
from sleuth.data.shuffled import mix
from sleuth.data.stream import EvaluationStream, TrainingStream
from sleuth.data.transforms import Augmentation
from sleuth.errors import UserError


@dataclass(frozen=True)
class Noise:
    """Pictures of random pixels, each a function of its index."""

    count: int
    broken: int | None = None
    names = ("a", "b")
    category_ids = (1, 2)
    is_thing = (True, True)

    def __len__(self) -> int:
        return self.count

    def load(self, index: int) -> Sample:
        if index == self.broken:
            raise UserError("cannot be read", where=f"picture {index}", mend="replace it")
        generator = torch.Generator().manual_seed(index)
        size_hw = (24 + index % 5, 40 - index % 3)
        corner = torch.rand(3, 2, generator=generator) * 15
        return Sample(
            image=torch.randint(0, 256, (3, *size_hw), generator=generator, dtype=torch.uint8),
            boxes_xyxy_px=torch.cat((corner, corner + 8), dim=1),
            labels=torch.randint(0, 2, (3,), generator=generator),
            name=f"noise {index}",
            image_id=index,
            size_hw=size_hw,
        )


AUGMENTATION = Augmentation.for_scale(32)


def stream(count=11, augmentation=AUGMENTATION, **options):
    return TrainingStream(Noise(count), augmentation, **{"batch_size": 2, "seed": 5, **options})


def same(one, other) -> bool:
    (images, targets), (other_images, other_targets) = one, other
    return (
        torch.equal(images.pixels, other_images.pixels)
        and torch.equal(images.valid, other_images.valid)
        and [target.name for target in targets] == [target.name for target in other_targets]
        and all(torch.equal(a.boxes_cxcywh, b.boxes_cxcywh) for a, b in zip(targets, other_targets, strict=True))
        and all(torch.equal(a.labels, b.labels) for a, b in zip(targets, other_targets, strict=True))
    )


# Nothing of the paper's, all of the rest.
SMALL_DATA = Augmentation.fitted(
    (32, 64), multi_scale=(1.0, 3.0), turn=True, mosaic=0.5, mixup=0.3, copy_paste=0.5, safe_crop=0.5, zoom_out=0.3,
    scale_jitter=(0.7, 1.5), brightness=0.2, hue=0.1,
)  # fmt: skip


@pytest.mark.parametrize("augmentation", [AUGMENTATION, SMALL_DATA])
def test_workers_change_nothing(augmentation):
    alone, helped = (stream(augmentation=augmentation, workers=workers) for workers in (0, 2))
    for epoch in (0, 3):
        ours, theirs = list(alone.epoch(epoch)), list(helped.epoch(epoch))
        assert len(ours) == len(theirs) == 5
        assert all(same(a, b) for a, b in zip(ours, theirs, strict=True))
    assert helped.wait_seconds > 0


@pytest.mark.parametrize("augmentation", [AUGMENTATION, SMALL_DATA])
@pytest.mark.parametrize("workers", [0, 1])
def test_any_start_gives_the_rest_of_the_epoch(workers, augmentation):
    served = stream(workers=workers, augmentation=augmentation)
    whole = list(served.epoch(2))
    for start in (0, 1, 4, 5):
        rest = list(served.epoch(2, start_batch=start))
        assert len(rest) == 5 - start
        assert all(same(a, b) for a, b in zip(whole[start:], rest, strict=True))


def test_a_pass_left_early_does_not_disturb_the_next():
    served = stream(workers=1)
    first = next(iter(served.epoch(0)))
    again = list(served.epoch(0))
    assert len(again) == 5
    assert same(first, again[0])


def test_ranks_together_see_the_larger_batch():
    whole = stream(batch_size=4)
    parts = [stream(batch_size=2, rank=rank, world_size=2) for rank in (0, 1)]
    assert whole.batches_per_epoch == parts[0].batches_per_epoch == parts[1].batches_per_epoch == 2
    for large, left, right in zip(*(s.epoch(1) for s in (whole, *parts)), strict=True):
        names = [target.name for _, targets in (left, right) for target in targets]
        assert names == [target.name for target in large[1]]
        for row, (images, targets, place) in enumerate(
            (part[0], part[1], place) for part in (left, right) for place in (0, 1)
        ):
            assert torch.equal(targets[place].boxes_cxcywh, large[1][row].boxes_cxcywh)
            height, width = (int(images.valid[place].any(dim).sum()) for dim in (1, 0))
            assert torch.equal(images.pixels[place, :, :height, :width], large[0].pixels[row, :, :height, :width])


def test_each_epoch_has_its_own_order_and_every_picture_at_most_once():
    served = stream(count=12)
    orders = [[target.image_id for _, targets in served.epoch(epoch) for target in targets] for epoch in (0, 1)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(12))


def test_a_source_smaller_than_a_batch_is_repeated_with_other_augmentations():
    (images, targets), *rest = stream(count=2, batch_size=6).epoch(0)
    assert not rest
    assert sorted(target.image_id for target in targets) == [0, 0, 0, 1, 1, 1]
    twins = [images.pixels[row] for row, target in enumerate(targets) if target.image_id == 0]
    assert not torch.equal(twins[0], twins[1])


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_generator_is_left_alone(workers):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    list(stream(workers=workers).epoch(0))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_of_the_user_arrives_as_one_line(workers):
    served = TrainingStream(Noise(4, broken=2), AUGMENTATION, batch_size=2, workers=workers)
    with pytest.raises(UserError) as caught:
        list(served.epoch(0))
    assert str(caught.value) == "picture 2: cannot be read. replace it"
    assert caught.value.where == "picture 2"


def test_nothing_to_train_on_is_said():
    with pytest.raises(UserError, match="no pictures"):
        stream(count=0)
    with pytest.raises(UserError, match="batch"):
        stream(batch_size=0)


def test_a_batch_has_one_size_and_batches_differ():
    shapes = [
        tuple(images.pixels.shape[2:])
        for epoch in range(4)
        for images, _ in stream(augmentation=SMALL_DATA).epoch(epoch)
    ]
    assert set(shapes) == {(32, 64), (64, 128), (96, 192)}
    ranks = [stream(augmentation=SMALL_DATA, batch_size=1, rank=rank, world_size=2) for rank in (0, 1)]
    ours, theirs = ([images.pixels.shape for images, _ in served.epoch(1)] for served in ranks)
    assert ours == theirs


def test_a_cache_changes_nothing():
    source = Noise(11)
    plain = TrainingStream(source, SMALL_DATA, batch_size=2, seed=5)
    kept = TrainingStream(CachedSource(source, budget=2**20), SMALL_DATA, batch_size=2, seed=5)
    for epoch in (0, 1):
        assert all(same(a, b) for a, b in zip(plain.epoch(epoch), kept.epoch(epoch), strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_end_of_a_run_closes_at_its_batch(workers):
    whole = stream(augmentation=SMALL_DATA, workers=workers)
    plain = stream(augmentation=SMALL_DATA.closed())
    closing = stream(augmentation=SMALL_DATA, closing=SMALL_DATA.closed(), close_at=7, workers=workers)
    assert all(same(a, b) for a, b in zip(whole.epoch(0), closing.epoch(0), strict=True))
    second = list(closing.epoch(1))
    assert all(same(a, b) for a, b in zip(list(whole.epoch(1))[:2], second[:2], strict=True))
    assert all(same(a, b) for a, b in zip(list(plain.epoch(1))[2:], second[2:], strict=True))
    assert all(same(a, b) for a, b in zip(closing.epoch(1, start_batch=3), second[3:], strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_keeps_the_order_and_serves_every_picture(workers):
    served = EvaluationStream(Noise(5), shortest=16, longest=40, batch_size=2, workers=workers)
    batches = list(served)
    assert len(batches) == len(served) == 3
    assert [target.image_id for _, targets in batches for target in targets] == [0, 1, 2, 3, 4]
    assert batches[0][0].pixels.shape[2] == 16
    assert batches[0][1][1].size_hw == (25, 39)


def test_evaluation_of_the_first_few():
    served = EvaluationStream(Noise(5), shortest=16, longest=None, limit=3, batch_size=2)
    assert [target.image_id for _, targets in served for target in targets] == [0, 1, 2]


def test_seeds_of_neighbours_differ_and_never_change():
    assert mix(0, 0) != mix(0, 1) != mix(1, 0)
    assert mix(1, 2, 3) == 6520558355739401531
