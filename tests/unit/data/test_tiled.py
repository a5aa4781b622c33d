"""Pictures served tile by tile: which tiles there are, what is in them, and that nothing else matters."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sleuth.data.records import DetectionData, PictureRecord
from sleuth.data.samples import Sample, SampleSource
from sleuth.data.source import PictureSource
from sleuth.data.stream import TrainingStream
from sleuth.data.tiled import TiledSource, cut_out
from sleuth.data.transforms import Augmentation
from sleuth.geometry.tiles import Tile, Tiling

TILING = Tiling((40, 40), 0.25)


def record_of(path: Path, boxes, size_hw=(40, 100), number: int = 7, crowd=()) -> PictureRecord:
    pixels = np.zeros((*size_hw, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(size_hw[1]) % 256
    pixels[..., 1] = np.arange(size_hw[0])[:, None]
    Image.fromarray(pixels).save(path)
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return PictureRecord(
        id=number,
        path=path,
        name=path.name,
        size_hw=size_hw,
        labels=np.arange(len(corners)) % 2,
        boxes_xyxy_px=corners,
        crowd=np.array([row in crowd for row in range(len(corners))], dtype=bool),
        annotation_ids=np.arange(len(corners)),
        areas=np.prod(corners[:, 2:] - corners[:, :2], axis=1),
    )


def source_of(*records: PictureRecord, is_thing=()) -> PictureSource:
    return PictureSource(DetectionData(records, ("cat", "sky"), (1, 2), Path("x"), "coco", is_thing=is_thing))


def test_tiles_with_their_objects_and_the_whole_picture(tmp_path):
    """Tiles begin at 0, 30 and 60. The second object is shown by two tiles, and enough of it by one."""
    tiled = TiledSource(source_of(record_of(tmp_path / "a.png", [(2, 4, 12, 20), (34, 10, 44, 30)])), TILING)
    assert isinstance(tiled, SampleSource)
    assert (tiled.names, tiled.category_ids, tiled.is_thing) == (("cat", "sky"), (1, 2), (True, True))
    samples = [tiled.load(index) for index in range(len(tiled))]
    assert [sample.name for sample in samples] == ["a.png", "a.png [0:40, 0:40]", "a.png [30:70, 0:40]"]
    assert [sample.boxes_xyxy_px.tolist() for sample in samples] == [
        [[2, 4, 12, 20], [34, 10, 44, 30]],
        [[2, 4, 12, 20], [34, 10, 40, 30]],
        [[4, 10, 14, 30]],
    ]
    assert samples[2].labels.tolist() == [1]
    assert samples[2].image.shape == (3, 40, 40)
    assert samples[2].image[0, 0].tolist() == list(range(30, 70))
    assert [sample.size_hw for sample in samples] == [(40, 100), (40, 40), (40, 40)]


def test_a_tile_with_a_sliver_alone_is_not_served(tmp_path):
    """The last tile shows a fifth of the object: too little to ask for, too much to call it nothing."""
    record = record_of(tmp_path / "a.png", [(42, 5, 62, 15)])
    names = [TiledSource(source_of(record), TILING).load(index).name for index in range(2)]
    assert names == ["a.png", "a.png [30:70, 0:40]"]
    assert len(TiledSource(source_of(record), TILING, least_visible=0.1)) == 3


def test_a_few_empty_tiles_are_kept(tmp_path):
    records = [
        record_of(tmp_path / f"{number}.png", [(2, 4, 12, 20)], number=number, size_hw=(40, 160)) for number in range(9)
    ]
    source = source_of(*records)
    tiled = TiledSource(source, TILING, empty_share=0.25)
    assert (len(tiled), tiled.num_tiles, tiled.num_empty) == (9 + 12, 12, 3)
    assert sum(len(tiled.load(index).labels) == 0 for index in range(len(tiled))) == 3
    assert TiledSource(source, TILING, empty_share=0.0).num_empty == 0


def test_a_crowd_is_neither_an_object_nor_nothing(tmp_path):
    record = record_of(tmp_path / "a.png", [(2, 4, 12, 20), (62, 0, 100, 40)], crowd=(1,))
    tiled = TiledSource(source_of(record), TILING, empty_share=0.6)
    assert [tiled.load(index).name for index in range(len(tiled))] == [
        "a.png",
        "a.png [0:40, 0:40]",
    ], "the second tile has a strip of the crowd, the third most of it"


def test_ids_do_not_depend_on_other_pictures(tmp_path):
    first, second = (
        record_of(tmp_path / f"{number}.png", [(2, 4, 12, 20), (70, 5, 80, 15)], number=number) for number in (3, 5)
    )
    alone, both = TiledSource(source_of(second), TILING), TiledSource(source_of(first, second), TILING)
    ids = [alone.load(index).image_id for index in range(len(alone))]
    assert ids == [5 * 2**20, 5 * 2**20 + 1, 5 * 2**20 + 3]
    every = [both.load(index).image_id for index in range(len(both))]
    assert len(set(every)) == len(every)
    assert set(ids) <= set(every)


def test_a_small_picture_is_served_as_it_is(tmp_path):
    tiled = TiledSource(source_of(record_of(tmp_path / "a.png", [(2, 4, 12, 20)], size_hw=(40, 40))), TILING)
    assert len(tiled) == 1
    assert tiled.load(0).image.shape == (3, 40, 40)


def test_masks_are_cut_with_their_boxes():
    """An object whose box shows but whose mask does not is gone; of stuff a small part remains."""
    masks = torch.zeros(3, 40, 100, dtype=torch.bool)
    masks[0, 5:15, 32:38] = masks[1, 0:3, 60:90] = masks[2, 0:2] = True
    sample = Sample(
        image=torch.zeros(3, 40, 100, dtype=torch.uint8),
        boxes_xyxy_px=torch.tensor([[32.0, 5, 38, 15], [40, 0, 90, 10], [0, 0, 100, 2]]),
        labels=torch.tensor([0, 0, 1]),
        name="a",
        image_id=1,
        size_hw=(40, 100),
        masks=masks,
    )
    cut = cut_out(sample, Tile(20, 0, 60, 40), is_thing=(True, False))
    assert cut.labels.tolist() == [0, 1]
    assert cut.boxes_xyxy_px.tolist() == [[12, 5, 18, 15], [0, 0, 40, 2]]
    assert torch.equal(cut.masks, masks[[0, 2], :, 20:60])
    empty = replace(sample, boxes_xyxy_px=torch.zeros(0, 4), labels=sample.labels[:0], masks=masks[:0])
    none = cut_out(empty, Tile(0, 0, 9, 9))
    assert none.masks.shape == (0, 9, 9)


def test_tiles_are_trained_on(tmp_path):
    record = record_of(tmp_path / "a.png", [(2, 4, 12, 20), (34, 10, 44, 30)])
    stream = TrainingStream(TiledSource(source_of(record), TILING), Augmentation.for_scale(64), batch_size=3, workers=1)
    ((images, targets),) = stream.epoch(0)
    assert images.pixels.shape[:2] == (3, 3)
    assert len({target.image_id for target in targets}) == 3


@pytest.mark.parametrize("words", [{"least_visible": 0.0}, {"empty_share": 1.0}])
def test_shares_are_shares(tmp_path, words):
    with pytest.raises(ValueError, match="are shares"):
        TiledSource(source_of(record_of(tmp_path / "a.png", [])), TILING, **words)
