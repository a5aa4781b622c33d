"""Facts about a data set, from its annotations."""

from pathlib import Path

import numpy as np
import pytest

from sleuth.data.records import DetectionData, PictureRecord
from sleuth.geometry.tiles import Tiling
from sleuth.training.facts import facts_of


def record(id: int, size_hw: tuple[int, int], sides: list[float], crowd: bool = False) -> PictureRecord:
    boxes = np.array([(0.0, 0.0, side, side) for side in sides]).reshape(-1, 4)
    return PictureRecord(
        id=id,
        path=Path(f"{id}.png"),
        name=f"{id}.png",
        size_hw=size_hw,
        labels=np.array([number % 2 for number in range(len(sides))], dtype=np.int64),
        boxes_xyxy_px=boxes,
        crowd=np.full(len(sides), crowd),
        annotation_ids=np.arange(len(sides), dtype=np.int64),
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
    )


def data(*records: PictureRecord) -> DetectionData:
    return DetectionData(records, names=("a", "b", "c"), category_ids=(1, 2, 3), root=Path(), format="coco")


def test_the_median_picture_and_its_small_objects():
    facts = facts_of(
        data(
            record(1, (100, 400), [20.0] * 5),
            record(2, (100, 400), [50.0] * 3),
            record(3, (200, 800), []),
            record(4, (400, 100), [30.0] * 2, crowd=True),
        )
    )
    assert (facts.pictures, facts.size_hw) == (4, (100, 400))
    assert facts.small_share == pytest.approx(20 / 200)
    assert (facts.most_objects, facts.mean_objects) == (5, 2.0)
    assert facts.class_counts == (("a", 5), ("b", 3), ("c", 0))
    assert facts.turned_share == 0.25


def test_upright_and_square_pictures():
    upright = facts_of(data(record(1, (400, 300), [10.0]), record(2, (300, 300), [10.0]), record(3, (500, 300), [])))
    assert (upright.size_hw, upright.turned_share) == ((400, 300), 0.0)
    square = facts_of(data(record(1, (300, 300), [10.0])))
    assert (square.size_hw, square.turned_share) == ((300, 300), 0.0)


def test_pictures_without_an_object():
    assert facts_of(data(record(1, (30, 40), []))).small_share == 1.0


def test_tiles_are_pictures_of_their_own():
    facts = facts_of(data(record(1, (100, 400), [20.0] * 3)), Tiling((100, 100), 0.0))
    assert facts.tiled
    assert (facts.pictures, facts.size_hw) == (2, (100, 100)), "the whole one, and the tile that has objects"
    assert facts.small_share == pytest.approx(0.2)
