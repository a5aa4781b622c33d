"""Tiles: what must hold for any picture, tile and overlap, and for any objects on them."""

import hypothesis.strategies as st
import torch
from hypothesis import assume, given

from sleuth.data.samples import Sample
from sleuth.data.tiled import cut_out
from sleuth.geometry.boxes import pairwise_iou
from sleuth.geometry.tiles import Tiling, merge_views

SIDE = st.integers(1, 400)
TILE = st.integers(32, 200)
OVERLAP = st.floats(0, 0.89)
PLACES = st.lists(
    st.tuples(st.floats(0, 280), st.floats(0, 380), st.floats(4, 20), st.floats(4, 20)), min_size=1, max_size=12
)


@given(SIDE, SIDE, TILE, TILE, OVERLAP)
def test_every_pixel_is_in_a_tile_and_tiles_are_alike(height, width, tile_h, tile_w, overlap):
    tiling = Tiling((tile_h, tile_w), overlap)
    tiles = tiling.tiles((height, width))
    covered = torch.zeros(height, width, dtype=torch.bool)
    for tile in tiles:
        covered[tile.top : tile.bottom, tile.left : tile.right] = True
        assert tile.size_hw == (min(tile_h, height), min(tile_w, width))
    assert bool(covered.all())
    assert len(set(tiles)) == len(tiles)


@given(st.data(), SIDE, SIDE, TILE, TILE, OVERLAP)
def test_an_object_no_larger_than_the_overlap_is_whole_in_a_tile(data, height, width, tile_h, tile_w, overlap):
    tiling = Tiling((tile_h, tile_w), overlap)
    most_h, most_w = min(tiling.overlap_hw[0], height), min(tiling.overlap_hw[1], width)
    assume(most_h > 0 and most_w > 0)
    box_h, box_w = data.draw(st.floats(0.1, most_h)), data.draw(st.floats(0.1, most_w))
    top, left = data.draw(st.floats(0, height - box_h)), data.draw(st.floats(0, width - box_w))
    assert any(
        tile.left <= left and tile.top <= top and left + box_w <= tile.right and top + box_h <= tile.bottom
        for tile in tiling.tiles((height, width))
    )


@given(PLACES, st.sampled_from([(96, 96), (128, 160), (64, 200)]), st.floats(0.05, 1.0))
def test_every_small_object_is_learned_whole(places, size_hw, least_visible):
    """What no tile cuts comes with its whole box, at its place; no box leaves its tile."""
    boxes = torch.tensor([[left, top, left + width, top + height] for top, left, height, width in places])
    sample = Sample(
        image=torch.zeros(3, 300, 400, dtype=torch.uint8),
        boxes_xyxy_px=boxes,
        labels=torch.arange(len(boxes)),
        name="",
        image_id=0,
        size_hw=(300, 400),
    )
    whole = set()
    for tile in Tiling(size_hw, 0.35).tiles((300, 400)):
        cut = cut_out(sample, tile, least_visible=least_visible)
        assert bool((cut.boxes_xyxy_px >= 0).all())
        assert bool((cut.boxes_xyxy_px <= torch.tensor([tile.size_hw[1], tile.size_hw[0]] * 2)).all())
        back = cut.boxes_xyxy_px + tile.origin
        whole |= {
            label for label, box in zip(cut.labels.tolist(), back, strict=True) if torch.allclose(box, boxes[label])
        }
    assert whole == set(range(len(boxes)))


def seen(boxes: torch.Tensor, tiling: Tiling, picture_hw: tuple[int, int], *, sift: bool):
    """What a perfect detector says about every view: the visible part of each object."""
    columns = []
    for view, tile in enumerate(tiling.tiles(picture_hw)):
        visible, rows = tile.clip(boxes), tile.shares(boxes) > 0.05
        if sift:
            rows &= ~tile.left_to_neighbours(visible, picture_hw, tiling.overlap_hw)
        visible, rows = visible[rows], rows.nonzero()[:, 0]
        columns.append((visible, 1 - 0.01 * rows, torch.full_like(rows, view), tile.cuts(visible, picture_hw)))
    return [torch.cat(parts) for parts in zip(*columns, strict=True)]


@given(PLACES, st.sampled_from([(96, 96), (128, 160), (300, 100)]), st.booleans())
def test_a_perfect_detector_finds_each_object_once(places, size_hw, sift):
    """Objects smaller than the overlap less the edges, apart from each other: each comes out whole and once."""
    boxes = torch.tensor([[left, top, left + width, top + height] for top, left, height, width in places])
    assume(bool((pairwise_iou(boxes, boxes) - torch.eye(len(boxes)) <= 1e-6).all()))
    picture_hw = (300, 400)
    tiling = Tiling(size_hw, 0.35)
    visible, scores, views, cut = seen(boxes, tiling, picture_hw, sift=sift)
    kept = merge_views(visible, scores, torch.zeros_like(views), views, cut)
    assert torch.allclose(visible[kept], boxes)


ANSWERS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1), st.booleans(), st.integers(0, 60), st.integers(0, 60)), max_size=14
)


def columns_of(answers):
    corners = [[x, y, x + 30, y + 30] for _, _, _, x, y in answers]
    boxes = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)
    scores = torch.linspace(0.9, 0.1, len(answers))
    views, labels, cut = (torch.tensor([each[at] for each in answers], dtype=torch.int64) for at in (0, 1, 2))
    return boxes, scores, labels, views, cut.bool()


@given(ANSWERS)
def test_what_is_dropped_is_like_something_that_another_view_kept(answers):
    boxes, scores, labels, views, cut = columns_of(answers)
    kept = merge_views(boxes, scores, labels, views, cut)
    assert torch.equal(kept, kept.sort().values), "scores fall with the rows"
    likeness = pairwise_iou(boxes, boxes)
    # The boxes are of one size, so a share of the one follows from the IoU.
    contained = 2 * likeness / (1 + likeness)
    for row in set(range(len(answers))) - set(kept.tolist()):
        other = kept[views[kept] != views[row]]
        same = (labels[other] == labels[row]) & (likeness[row, other] >= 0.5)
        whole = cut[row] & ~cut[other] & (contained[row, other] >= 0.69)
        assert bool((same | whole).any())


@given(ANSWERS, st.randoms(use_true_random=False))
def test_the_order_of_answers_does_not_matter(answers, random):
    columns = columns_of(answers)
    order = list(range(len(answers)))
    random.shuffle(order)
    rows = torch.tensor(order, dtype=torch.int64)
    shuffled = merge_views(*(column[rows] for column in columns))
    assert set(rows[shuffled].tolist()) == set(merge_views(*columns).tolist())


@given(ANSWERS)
def test_one_view_alone_is_left_as_it_is(answers):
    boxes, scores, labels, _, cut = columns_of(answers)
    kept = merge_views(boxes, scores, labels, torch.zeros(len(boxes), dtype=torch.int64), cut)
    assert kept.tolist() == list(range(len(boxes)))
