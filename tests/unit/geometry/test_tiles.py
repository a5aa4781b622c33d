"""Tiles of a picture and the merging of what was found on them."""

import pytest
import torch

from sleuth.errors import UserError
from sleuth.geometry.tiles import Tile, Tiling, merge_views, tile_starts

LEFT, RIGHT, WHOLE = Tile(0, 0, 100, 100), Tile(80, 0, 180, 100), Tile(0, 0, 180, 100)
PICTURE_HW = (100, 180)


def merged(*found, tiles=(LEFT, RIGHT, WHOLE)):
    """Kept rows of (view, box, score[, label])."""
    boxes = torch.tensor([each[1] for each in found], dtype=torch.float32)
    views = torch.tensor([each[0] for each in found])
    cut = torch.stack([tiles[view].cuts(box[None], PICTURE_HW)[0] for view, box in zip(views, boxes, strict=True)])
    labels = torch.tensor([each[3] if len(each) > 3 else 0 for each in found])
    return merge_views(boxes, torch.tensor([each[2] for each in found]), labels, views, cut).tolist()


def test_as_few_tiles_as_will_do():
    assert tile_starts(640, 640, 128) == [0]
    assert tile_starts(641, 640, 128) == [0, 1]
    assert tile_starts(1152, 640, 128) == [0, 512]
    assert tile_starts(1153, 640, 128) == [0, 256, 513]


def test_a_small_picture_is_one_tile_and_a_narrow_one_a_row():
    assert Tiling((64, 64)).tiles((50, 40)) == [Tile(0, 0, 40, 50)]
    assert [tile.size_hw for tile in Tiling((64, 64), 0.25).tiles((50, 112))] == [(50, 64)] * 2


@pytest.mark.parametrize(
    ("size_hw", "overlap", "said"),
    [((0, 0), 0.2, "tiles of 0 pixels"), ((640, 31), 0.2, "640x31"), ((64, 64), 0.9, "0.9"), ((64, 64), -0.1, "-0.1")],
)
def test_tiles_that_make_no_sense(size_hw, overlap, said):
    with pytest.raises(UserError, match=said):
        Tiling(size_hw, overlap)


def test_only_inner_edges_cut():
    boxes = torch.tensor([[0.0, 0, 20, 100], [90.0, 40, 101, 60], [99.0, 40, 120, 60], [70.0, 40, 97, 60]])
    assert LEFT.cuts(boxes, PICTURE_HW).tolist() == [False, True, True, False]
    assert RIGHT.cuts(boxes[:1] + 80, PICTURE_HW).tolist() == [True]


def test_what_the_neighbour_sees_more_of_is_left_to_it():
    """The overlap of 20 less both edges is 16: a cut box narrower than that is seen better from the other side."""
    boxes = torch.tensor([[90.0, 40, 100, 60], [83, 0, 100, 100], [85, 0, 97, 5], [0, 40, 10, 60]])
    assert LEFT.left_to_neighbours(boxes, PICTURE_HW, (20, 20)).tolist() == [True, False, False, False]
    assert not bool(LEFT.left_to_neighbours(boxes, PICTURE_HW, (0, 0)).any())


def test_a_crop_is_of_the_tile():
    image = torch.arange(180).expand(3, 100, 180)
    assert RIGHT.crop(image)[0, 0].tolist() == list(range(80, 180))
    assert RIGHT.shares(torch.tensor([[70.0, 0, 90, 10], [0, 0, 10, 10], [90, 5, 90, 9]])).tolist() == [0.5, 0.0, 0.0]


def test_an_object_seen_by_two_tiles_is_one():
    assert merged((0, (82, 40, 96, 60), 0.8), (1, (83, 40, 97, 60), 0.9)) == [1]


def test_two_objects_of_one_view_stay_two():
    assert merged((0, (20, 40, 40, 60), 0.8), (0, (21, 40, 41, 60), 0.9)) == [1, 0]


def test_another_class_is_another_object():
    assert merged((0, (84, 40, 96, 60), 0.8), (1, (84, 40, 96, 60), 0.9, 1)) == [1, 0]


def test_the_whole_view_displaces_the_cut_one_though_less_sure():
    assert merged((0, (90, 40, 100, 60), 0.9), (1, (90, 40, 120, 60), 0.6)) == [1]


def test_an_object_too_large_for_a_tile_is_taken_from_the_whole_picture():
    found = [(0, (50, 10, 100, 90), 0.9), (1, (80, 10, 140, 90), 0.8), (2, (50, 10, 140, 90), 0.5)]
    assert merged(*found) == [2]
    assert merged(*found[:2]) == [0, 1], "where nobody saw the whole, the parts remain"


def test_a_part_taken_for_another_class_gives_way_to_the_whole():
    assert merged((0, (60, 40, 100, 60), 0.9), (2, (60, 40, 120, 60), 0.6, 1)) == [1]
    assert merged((0, (60, 40, 90, 60), 0.9), (2, (60, 40, 120, 60), 0.6, 1)) == [0, 1], "nothing cuts that one"


def test_what_is_hardly_believed_displaces_nothing():
    assert merged((0, (90, 40, 100, 60), 0.9), (1, (90, 40, 120, 60), 0.1)) == [0, 1]


def test_a_small_object_before_a_large_one_remains():
    """The whole picture shows the large one alone; the tile sees both, and its small one is no part of the large."""
    found = [(2, (10, 10, 170, 90), 0.9), (1, (110, 40, 130, 60), 0.5)]
    assert merged(*found) == [0, 1]


def test_one_view_gives_each_object_once():
    """Two cut boxes of one tile are not both parts of one whole."""
    found = [(0, (85, 40, 100, 60), 0.9), (0, (86, 41, 99, 59), 0.8), (1, (85, 40, 105, 60), 0.7)]
    assert merged(*found) == [1, 2]


def test_nothing_found_is_nothing():
    none = torch.zeros(0, dtype=torch.int64)
    assert merge_views(torch.zeros(0, 4), torch.zeros(0), none, none, torch.zeros(0, dtype=torch.bool)).tolist() == []
