"""How many objects training pictures hold, drawn without pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sleuth.data.fullness import Fullness, training_fullness
from sleuth.data.open import open_data
from sleuth.data.source import PictureSource
from sleuth.data.tiled import TiledSource
from sleuth.data.transforms import Augmentation
from sleuth.geometry.tiles import Tiling


@pytest.fixture
def source(tmp_path, make_coco) -> PictureSource:
    boxes = [[4 * number, 3 * number, 9, 8] for number in range(9)]
    annotations = [
        {"id": number, "image_id": 11 + (number > 6), "category_id": 7, "bbox": box, "iscrowd": 0}
        for number, box in enumerate(boxes)
    ]
    make_coco(tmp_path / "x.json", tmp_path, annotations=annotations)
    return PictureSource(open_data(tmp_path))


class WithPixels:
    """The same pictures, but none that the count may leave unread."""

    def __init__(self, source) -> None:
        self.source = source

    def __getattr__(self, name: str):
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.source)

    def load(self, index: int):
        return self.source.load(index)


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation.for_scale(64),
        Augmentation.fitted((48, 64), mosaic=1.0, turn=True),
        Augmentation.fitted((48, 64), mosaic=0.5, mixup=0.5, copy_paste=1.0, scale_jitter=(0.5, 2.0), safe_crop=0.5),
        Augmentation.fitted((48, 64), multi_scale=(0.5, 1.5), zoom_out=1.0, copy_paste=0.5, stretch=True),
    ],
)
def test_counts_are_those_of_real_pictures(source, augmentation):
    bare = training_fullness(source, augmentation, pictures=8, seed=3)
    real = training_fullness(WithPixels(source), augmentation, pictures=8, seed=3)
    assert bare.counts.tolist() == real.counts.tolist()
    assert len(set(bare.counts.tolist())) > 1


def test_pictures_are_not_read_and_colours_not_drawn(source):
    coloured = Augmentation.fitted((48, 64), mosaic=1.0, brightness=0.5, hue=0.1)
    plain = replace(coloured, brightness=0.0, hue=0.0)
    for record in source.data.records:
        record.path.unlink()
    state = torch.get_rng_state()
    found = training_fullness(source, coloured, pictures=6)
    assert found.counts.tolist() == training_fullness(source, plain, pictures=6).counts.tolist()
    assert torch.equal(torch.get_rng_state(), state)
    assert found.most > 7  # more than any picture has by itself


def test_tiles_are_drawn_as_tiles(source):
    tiles = TiledSource(source, Tiling((40, 40), 0.2))
    assert len(tiles) > 2
    most = max(len(tiles.load(index).labels) for index in range(len(tiles)))
    still = Augmentation.flip_only()
    assert training_fullness(tiles, still, pictures=30).most == most
    assert training_fullness(WithPixels(tiles), still, pictures=30).counts.tolist() == (
        training_fullness(tiles, still, pictures=30).counts.tolist()
    )


def test_one_in_a_hundred_may_be_fuller():
    found = Fullness(np.array([3] * 99 + [50]))
    assert (found.usual, found.most) == (3, 50)
    assert (found.share_above(2), found.share_above(3), found.share_above(50)) == (1.0, 0.01, 0.0)
    assert Fullness(np.array([3] * 98 + [50, 50])).usual == 50
