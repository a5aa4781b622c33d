"""Drawings show on any ground, stay inside the picture and leave the input alone."""

import math

import numpy as np
import pytest

from sleuth.render.boxes import caption, draw_boxes, line_width
from sleuth.render.palette import PALETTE, PAPER, colour_of, font, ink_on
from sleuth.render.sheet import Cell, annotated, contact_sheet


def plain(value=128, size_hw=(120, 160)):
    return np.full((*size_hw, 3), value, dtype=np.uint8)


BOX = np.array([[30.0, 40.0, 100.0, 90.0]])


@pytest.mark.parametrize("value", [0, 90, 128, 255])
def test_the_outline_shows_its_colour_on_any_ground(value):
    picture = plain(value)
    drawn = draw_boxes(picture, BOX, np.array([2]))
    assert (picture == value).all()
    assert drawn.shape == picture.shape
    assert tuple(drawn[60, 30]) == colour_of(2)
    assert tuple(drawn[60, 99]) == colour_of(2)
    assert tuple(drawn[40, 60]) == colour_of(2)
    assert tuple(drawn[60, 29]) == (0, 0, 0)
    assert (drawn[60, 40:90] == value).all()


def test_lines_grow_with_the_picture():
    assert line_width(128, 128) == 2
    assert line_width(2000, 3000) == 9


@pytest.mark.parametrize(
    "box",
    [
        [0, 0, 160, 120],
        [-50, -50, 400, 400],
        [10, 10, 10, 10],
        [100, 90, 30, 40],
        [159, 119, 160, 120],
        [np.nan, 0, np.inf, 20],
        [500, 500, 600, 600],
    ],
)
def test_odd_boxes_do_no_harm(box):
    drawn = draw_boxes(
        plain(), np.array([box], dtype=float), np.array([0]), ["a very long caption indeed, wider than all"]
    )
    assert drawn.shape == (120, 160, 3)


def test_captions():
    bare = draw_boxes(plain(), BOX, np.array([0]))
    tagged = draw_boxes(plain(), BOX, np.array([0]), [caption("Größe\nñ", 0.5)])
    assert (tagged[25:40] != bare[25:40]).any()
    assert caption("cat") == "cat"
    assert caption("cat", 0.987) == "cat 0.99"
    assert (draw_boxes(plain(), np.zeros((0, 4)), np.zeros(0, dtype=np.int64), []) == 128).all()


def test_tags_keep_out_of_each_other_s_way():
    one = draw_boxes(plain(), np.repeat(BOX, 1, axis=0), np.array([1]), ["cat"])
    two = draw_boxes(plain(), np.repeat(BOX, 2, axis=0), np.array([1, 1]), ["cat", "dog"])
    fill = [(drawn == colour_of(1)).all(axis=2).sum() for drawn in (one, two)]
    assert fill[1] > fill[0] + 50


def test_in_a_crowd_captions_cover_nothing():
    boxes = np.array([[x, y, x + 12, y + 12] for y in range(8, 120, 16) for x in range(4, 160, 16)], dtype=float)
    labels = np.zeros(len(boxes), dtype=int)
    bare = draw_boxes(plain(), boxes, labels)
    drawn = draw_boxes(plain(), boxes, labels, ["cat"] * len(boxes))
    for left, top, right, bottom in boxes.astype(int):
        inside = np.s_[top:bottom, left:right]
        assert (drawn[inside] == bare[inside]).all()
    few = draw_boxes(plain(), boxes[:2], labels[:2], ["cat"] * 2)
    assert (few != draw_boxes(plain(), boxes[:2], labels[:2])).any(), "there is room for some"


def test_colours_repeat_and_ink_is_readable():
    assert colour_of(len(PALETTE)) == PALETTE[0]
    assert len(set(PALETTE)) == len(PALETTE) == 11
    assert ink_on((255, 255, 255)) == (0, 0, 0)
    assert ink_on((0, 0, 80)) == (255, 255, 255)
    assert font(12) is font(12)


def cell(size_hw=(40, 80), **more):
    return Cell(plain(200, size_hw), "title", np.array([[10.0, 10.0, 70.0, 30.0]]), np.array([1]), **more)


def test_a_cell_is_fitted_with_its_boxes():
    drawn = annotated(cell(), 160)
    assert drawn.shape == (80, 160, 3)
    assert tuple(drawn[40, 20]) == colour_of(1)


@pytest.mark.parametrize(("count", "columns"), [(0, None), (1, None), (5, None), (5, 2)])
def test_sheets_of_any_number(count, columns):
    sheet = contact_sheet(
        [cell()] * count, columns=columns, side=100, heading="heading", legend=[(1, "cat"), (2, "a\nb")]
    )
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == (columns or max(1, math.ceil(math.sqrt(count)))) * 110 + 10
    assert tuple(sheet[-1, -1]) == PAPER
    assert ((sheet == colour_of(1)).all(axis=2).sum() > 100) or count == 0


def test_a_cell_without_picture_is_an_empty_frame():
    empty = Cell(
        None,
        "gone.jpg: there is no such picture, and a long title besides",
        np.zeros((0, 4)),
        np.zeros(0, dtype=np.int64),
    )
    assert contact_sheet([empty, cell()], side=90).shape[1] == 2 * 100 + 10
    with pytest.raises(ValueError, match="no picture"):
        annotated(empty, 50)
