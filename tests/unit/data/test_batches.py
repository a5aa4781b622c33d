"""Batches are padded at the bottom and right; boxes know nothing of the padding."""

import torch

from sleuth.data.batches import IMAGENET_MEAN, IMAGENET_STD, to_batch
from sleuth.data.samples import Sample


def sample(size_hw, boxes=(), original=None) -> Sample:
    return Sample(
        image=torch.full((3, *size_hw), 255, dtype=torch.uint8),
        boxes_xyxy_px=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.zeros(len(boxes), dtype=torch.int64),
        name="one",
        image_id=9,
        size_hw=original or size_hw,
    )


def test_padding_and_validity():
    images, targets = to_batch([sample((10, 20)), sample((16, 8))])
    assert images.pixels.shape == (2, 3, 16, 20)
    assert images.valid.sum(dim=(1, 2)).tolist() == [200, 128]
    assert images.valid[0, :10, :20].all()
    assert (images.pixels[0, :, 10:] == 0).all()
    assert (images.pixels[1, :, :, 8:] == 0).all()
    white = (1 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    assert torch.allclose(images.pixels[1, :, 3, 3], white)
    assert [len(target.labels) for target in targets] == [0, 0]


def test_targets_are_relative_to_the_unpadded_picture():
    _, (target, _) = to_batch([sample((10, 20), [(5, 0, 15, 10)], original=(100, 200)), sample((30, 40))])
    assert target.boxes_cxcywh.tolist() == [[0.5, 0.5, 0.5, 1.0]]
    assert (target.name, target.image_id, target.size_hw) == ("one", 9, (100, 200))


def test_multiples_and_own_statistics():
    images, _ = to_batch([sample((10, 33))], mean=(0.0, 0.0, 0.0), std=(2.0, 2.0, 2.0), multiple=32)
    assert images.pixels.shape == (1, 3, 32, 64)
    assert (images.pixels[0, :, :10, :33] == 0.5).all()
    assert not images.valid[0, 10:].any()
