"""Masks and panoptic maps in colour, with names where there is room and a legend outside the picture."""

import itertools

import numpy as np
import pytest
from PIL import Image

from sleuth.render.legend import LegendEntry, add_legend
from sleuth.render.masks import CROWD, Region, draw_masks, draw_panoptic, legend_of, region_colours, smoothed
from sleuth.render.palette import PALETTE, PAPER, class_colours, colour_of, shade
from sleuth.render.tags import Tags

SIZE_HW = (200, 300)


def plain(value=128, size_hw=SIZE_HW):
    return np.full((*size_hw, 3), value, dtype=np.uint8)


def block(top, bottom, left, right, size_hw=SIZE_HW):
    mask = np.zeros(size_hw, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def region(number, label, *, caption="", area=1, is_thing=True):
    return Region(id=number, label=label, name=f"class {label}", caption=caption, area=area, is_thing=is_thing)


def test_a_mask_is_tinted_outlined_and_nothing_else_is_touched():
    picture, mask = plain(), block(50, 150, 100, 200)
    drawn = draw_masks(picture, [region(1, 2, area=10_000)], [mask].__getitem__, legend=False)
    assert drawn.shape == picture.shape
    assert (picture == 128).all()
    assert tuple(drawn[100, 100]) == colour_of(2), "the edge is in full colour"
    assert np.allclose(drawn[100, 150], (np.array(colour_of(2)) + 128) / 2, atol=1)
    assert (drawn[100, 99] < 64).all(), "a dark rim outside"
    assert (drawn[:45] == 128).all()
    assert (drawn[:, 210:] == 128).all()


def test_a_mask_that_fills_the_picture_has_no_frame():
    drawn = draw_masks(plain(), [region(1, 2, area=60_000)], lambda row: np.ones(SIZE_HW, dtype=bool), legend=False)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 1


def test_a_small_mask_is_seen_on_a_large_one():
    masks = [block(80, 100, 120, 140), block(10, 190, 10, 290)]
    regions = [region(1, 0, area=400), region(2, 4, area=50_000)]
    for order in ((0, 1), (1, 0)):
        drawn = draw_masks(plain(), [regions[n] for n in order], [masks[n] for n in order].__getitem__, legend=False)
        assert tuple(drawn[80, 130]) == colour_of(0)


def test_an_empty_mask_is_neither_drawn_nor_in_the_legend():
    page = draw_masks(plain(), [region(1, 1, caption="ghost")], lambda row: np.zeros(SIZE_HW, dtype=bool))
    assert np.array_equal(page, plain())


def test_a_map_is_tinted_and_parted_by_lines():
    ids = np.zeros(SIZE_HW, dtype=np.int32)
    ids[:, 100:200], ids[:, 200:] = 7, 9
    regions = [region(7, 1, area=20_000), region(9, 2, area=20_000, is_thing=False)]
    drawn = draw_panoptic(plain(), ids, regions, legend=False)
    assert (drawn[100, 199:201] == 255).any()
    assert np.allclose(drawn[100, 150], (np.array(colour_of(1)) + 128) / 2, atol=1)
    assert np.allclose(drawn[100, 250], 0.4 * np.array(colour_of(2)) + 0.6 * 128, atol=1)


def test_pixels_of_no_segment_are_grey_and_hatched_and_in_the_legend():
    ids = np.zeros(SIZE_HW, dtype=np.int32)
    ids[:, 150:], ids[:20, :20] = 7, 99  # the list lacks 99
    colourful = plain()
    colourful[..., 0] = 250
    drawn = draw_panoptic(colourful, ids, [region(7, 1, area=30_000)], legend=False)
    void = drawn[:, :145]
    assert (void == void[..., :1]).all(), "without colour"
    assert len(np.unique(void)) == 2
    share = (void[..., 0] == void.max()).mean()
    assert 0.02 < share < 0.3, "lines"
    assert draw_panoptic(colourful, ids, []).shape[0] > 200, "a legend that says: nothing"


def test_on_an_enlarged_picture_masks_and_maps_are_enlarged_too():
    large = plain(size_hw=(80, 120))
    mask = block(5, 15, 10, 20, size_hw=(20, 30))
    drawn = draw_masks(large, [region(1, 2, area=100)], lambda row: mask, legend=False)
    assert (drawn[30:50, 50:70] != 128).all()
    assert (drawn[:16] == 128).all()
    ids = mask.astype(np.int32)
    drawn = draw_panoptic(large, ids, [region(1, 2, area=100)], legend=False)
    coloured = (drawn != drawn[..., :1]).any(axis=2)
    assert coloured[24:56, 44:76].all()
    assert not coloured[:16].any()
    assert smoothed(mask, (80, 120)).sum() == pytest.approx(1600, rel=0.05)


def test_things_have_a_shade_each_and_stuff_one_colour():
    regions = [region(1, 3), region(2, 3), region(3, 3), region(4, 5, is_thing=False), region(5, 5, is_thing=False)]
    colours = region_colours(regions)
    assert colours[0] == colour_of(3)
    assert len(set(colours[:3])) == 3
    assert colours[3] == colours[4] == colour_of(5)
    assert len({shade(colour_of(0), number) for number in range(7)}) == 7


def test_classes_share_a_colour_only_when_there_is_no_other():
    assert class_colours([0]) == {0: PALETTE[0]}
    many = class_colours([0, 11, 22, *range(1, 11), *range(30, 39)])
    assert len(set(many.values())) == len(many) == 22


def test_the_legend_names_things_then_stuff_by_size():
    regions = [
        region(1, 0, area=5),
        region(2, 1, area=30),
        region(3, 9, area=500, is_thing=False),
        region(4, 0, area=40),
        region(5, 8, area=90, is_thing=False),
    ]
    entries = legend_of(regions, region_colours(regions))
    assert [entry.text for entry in entries] == ["class 0 \u00d72", "class 1", "class 9", "class 8"]
    assert [len(entry.colours) for entry in entries] == [2, 1, 1, 1]


def test_the_legend_is_below_the_picture_and_breaks_into_lines():
    picture = plain(20)
    assert add_legend(picture, []) is picture
    one = add_legend(picture, [LegendEntry("cat", (PALETTE[0],))])
    assert np.array_equal(one[:200], picture)
    assert tuple(one[-1, -1]) == PAPER
    assert (one[200:] == np.array(PALETTE[0])).all(axis=2).sum() > 50
    names = [LegendEntry(f"a class of a long name {n}", (PALETTE[n],)) for n in range(8)]
    many = add_legend(picture, names)
    assert many.shape[0] > one.shape[0] + 60
    assert all((many[200:] == np.array(PALETTE[n])).all(axis=2).any() for n in range(8))
    wide = add_legend(picture, [LegendEntry("x" * 400, (PALETTE[0],))])
    assert wide.shape == one.shape


def test_names_never_lie_over_each_other(monkeypatch):
    boards = []
    made = Tags.__init__

    def watched(self, canvas):
        made(self, canvas)
        boards.append(self)

    monkeypatch.setattr(Tags, "__init__", watched)
    masks = [block(60 + n, 110 + n, 100 + n, 150 + n) for n in range(12)]
    regions = [region(n, n % 3, caption=f"class {n} 0.9{n}", area=2500 - n) for n in range(12)]
    draw_masks(plain(), regions, masks.__getitem__)
    (board,) = boards
    assert 4 <= len(board.taken) <= 12
    for a, b in itertools.combinations(board.taken, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    for left, top, right, bottom in board.taken:
        assert left >= 0
        assert top >= 0
        assert right <= 300
        assert bottom <= 200


def test_a_name_stands_on_its_own_mask_where_there_is_room():
    ring = block(20, 180, 40, 260)
    ring[60:140, 100:260] = False
    picture = draw_masks(plain(), [region(1, 1, caption="ring", area=1)], lambda row: ring, legend=False)
    bare = draw_masks(plain(), [region(1, 1, area=1)], lambda row: ring, legend=False)
    rows, columns = (picture != bare).any(axis=2).nonzero()
    assert ring[rows, columns].all()


def test_pictures_of_one_pixel():
    one = np.ones((1, 1), dtype=bool)
    assert draw_masks(plain(size_hw=(1, 1)), [region(1, 0, caption="cat", area=1)], lambda row: one).shape[1] == 1
    assert (
        draw_panoptic(plain(size_hw=(1, 1)), one.astype(np.int32), [region(1, 0, caption="cat", area=1)]).shape[1] == 1
    )
    Image.fromarray(draw_panoptic(plain(size_hw=(4, 4)), np.ones((1, 1), np.int32), [region(1, 0, area=1)]))


def test_among_very_many_regions_names_do_not_hide_the_small_ones():
    boxes = [block(top, top + 8, left, left + 8) for top in range(0, 200, 40) for left in range(0, 300, 50)]
    small = [region(n + 1, 0, caption="nucleus 0.99", area=64) for n in range(len(boxes))]

    def named(count):
        """How much of the drawing changes by the names."""
        masks = [boxes[n] for n in range(count)]
        silent = [Region(each.id, each.label, each.name, "", each.area) for each in small[:count]]
        drawn, bare = (
            draw_masks(plain(), regions, masks.__getitem__, legend=False) for regions in (small[:count], silent)
        )
        return int((drawn != bare).any(-1).sum())

    assert named(3) > 0
    assert len(boxes) > CROWD
    assert named(len(boxes)) == 0
