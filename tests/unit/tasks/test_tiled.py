"""A model on tiles: every view is asked, in the picture's own pixels, and objects come out once."""

import torch
from torch import nn

from sleuth.geometry.rle import PackedMasks
from sleuth.geometry.tiles import Tiling
from sleuth.tasks.preprocess import Preprocess
from sleuth.tasks.segmentation import read_masks
from sleuth.tasks.tiled import detect_on_tiles, segment_on_tiles
from sleuth.types.batches import ImageBatch
from sleuth.types.memory import Memory
from sleuth.types.predictions import SetPrediction

NO_CHANGE = Preprocess(resize="none", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class Reds(nn.Module):
    """Finds the rectangles of which every pixel has its object's own red; those that fill 4 pixels or more."""

    def __init__(self, least: int = 2) -> None:
        super().__init__()
        self.least, self.shapes = least, []
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: ImageBatch) -> SetPrediction:
        self.shapes.append(tuple(images.pixels.shape))
        logits = torch.full((1, len(images.pixels), 12, 2), -9.0)
        logits[..., 1] = 9.0
        boxes = torch.full((1, len(images.pixels), 12, 4), 0.5)
        reds = (images.pixels[:, 0] * 255).round().long()
        for row, red in enumerate(reds):
            for number in red.unique().tolist():
                y, x = (red == number).nonzero().unbind(1)
                if not 0 < number <= 12 or min(x.max() - x.min(), y.max() - y.min()) + 1 < self.least:
                    continue
                low, high = torch.stack([x.min(), y.min()]), torch.stack([x.max(), y.max()]) + 1
                size = torch.tensor([red.shape[1], red.shape[0]])
                boxes[0, row, number - 1] = torch.cat([(low + high) / 2 / size, (high - low) / size])
                logits[0, row, number - 1] = torch.tensor([3.0 - number / 10, 0.0])
        tokens, input_hw = torch.zeros(len(reds), 1, 4), (reds.shape[1], reds.shape[2])
        memory = Memory(tokens, tokens, None, ((1, 1),), input_hw)
        return SetPrediction(logits, boxes, memory, masks=lambda row, query: _logits_of(reds, row, query))


def _logits_of(reds: torch.Tensor, row: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    return torch.where(reds[row] == query[:, None, None] + 1, 5.0, -5.0)


def picture(*boxes, size_hw=(120, 200)) -> torch.Tensor:
    image = torch.zeros(3, *size_hw, dtype=torch.uint8)
    for number, (left, top, right, bottom) in enumerate(boxes, start=1):
        image[0, top:bottom, left:right] = number
    return image


BOXES = ((2, 3, 12, 13), (60, 40, 72, 52), (95, 50, 107, 61), (130, 5, 138, 19), (150, 60, 180, 118), (70, 70, 145, 95))


def test_objects_come_out_once_in_pixels_of_the_picture():
    """Some are cut by tiles; the last is larger than a tile, and only the whole picture shows it."""
    found = detect_on_tiles(Reds(), picture(*BOXES), NO_CHANGE, Tiling((64, 64), 0.4), threshold=0.5, batch_size=4)
    assert found.boxes_xyxy_px.round().int().tolist() == [list(box) for box in BOXES]
    assert found.queries.tolist() == list(range(len(BOXES)))


def test_tiles_share_batches_and_the_whole_picture_is_seen_as_well():
    model = Reds()
    detect_on_tiles(model, picture(*BOXES), NO_CHANGE, Tiling((64, 64), 0.2), batch_size=5)
    assert model.shapes == [(1, 3, 120, 200), (5, 3, 64, 64), (5, 3, 64, 64), (2, 3, 64, 64)]


def test_a_picture_no_larger_than_a_tile_is_seen_once():
    model = Reds()
    found = detect_on_tiles(model, picture(*BOXES), NO_CHANGE, Tiling((120, 200)), threshold=0.5)
    assert model.shapes == [(1, 3, 120, 200)]
    assert len(found.scores) == len(BOXES)


def test_what_is_too_small_for_the_model_is_found_in_tiles():
    """Seen as a whole the picture shrinks to a quarter, and what is small is lost."""
    small = Preprocess(resize="exact", size_hw=(60, 50), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), resample="nearest")
    image, model = picture((20, 20, 32, 32), (150, 90, 162, 102), size_hw=(240, 200)), Reds(least=6)
    whole = detect_on_tiles(model, image, small, Tiling((240, 200)), threshold=0.5)
    tiled = detect_on_tiles(model, image, small, Tiling((60, 50), 0.4), threshold=0.5)
    assert len(whole.scores) == 0
    assert tiled.boxes_xyxy_px.round().int().tolist() == [[20, 20, 32, 32], [150, 90, 162, 102]]


def test_answers_that_are_no_numbers_are_left_out():
    model = Reds()
    forward = model.forward

    def broken(images: ImageBatch) -> SetPrediction:
        prediction = forward(images)
        prediction.boxes_cxcywh[0, :, 1] = torch.nan
        return prediction

    model.forward = broken
    found = detect_on_tiles(model, picture(*BOXES), NO_CHANGE, Tiling((64, 64), 0.4), threshold=0.5)
    assert found.queries.tolist() == [0, 2, 3, 4, 5]


def test_only_the_best_answers_of_a_view_are_looked_at():
    found = detect_on_tiles(Reds(), picture(*BOXES), NO_CHANGE, Tiling((120, 200)), most=2)
    assert found.queries.tolist() == [0, 1]


def packed(prediction: SetPrediction, picture: int, queries: torch.Tensor, size_hw: tuple[int, int]):
    hw = prediction.memory.input_hw
    masks = read_masks(prediction, picture, queries, picture_hw=hw, size_hw=size_hw)
    return PackedMasks.pack(masks), torch.arange(len(queries))


def test_masks_of_tiles_are_those_of_the_picture():
    """Of objects that tiles cut, and of one that only the whole picture shows."""
    image = picture(*BOXES)
    image[0, 44:48, 60:72] = 0  # an object in two parts
    found, masks = segment_on_tiles(
        Reds(), image, NO_CHANGE, Tiling((64, 64), 0.4), packed, threshold=0.5, batch_size=4
    )
    assert found.boxes_xyxy_px.round().int().tolist() == [list(box) for box in BOXES]
    assert masks.size_hw == (120, 200)
    for number, mask in enumerate(masks.unpack(), start=1):
        assert torch.equal(mask, image[0] == number)


def test_an_answer_whose_mask_is_no_mask_is_left_out():
    def without_the_second(prediction, picture, queries, size_hw):
        masks, rows = packed(prediction, picture, queries, size_hw)
        rows = rows[queries != 1]
        return masks.keep(rows.tolist()), rows

    tiling = Tiling((64, 64), 0.4)
    found, masks = segment_on_tiles(Reds(), picture(*BOXES), NO_CHANGE, tiling, without_the_second, threshold=0.5)
    assert found.queries.tolist() == [0, 2, 3, 4, 5]
    assert len(masks) == 5


def test_nothing_found_has_no_masks():
    found, masks = segment_on_tiles(Reds(), picture(), NO_CHANGE, Tiling((64, 64)), packed, threshold=0.5)
    assert (len(found.scores), len(masks), masks.size_hw) == (0, 0, (120, 200))


def test_stuff_is_taken_from_the_whole_picture():
    """Seen as a whole the picture shrinks to a quarter; tiles show all, but of stuff only parts."""
    small = Preprocess(resize="exact", size_hw=(60, 50), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), resample="nearest")
    image = picture((20, 20, 32, 32), (50, 90, 190, 202), size_hw=(240, 200))
    ask = (Reds(least=6), image, small, Tiling((60, 50), 0.4))
    assert len(detect_on_tiles(*ask, threshold=0.5, is_thing=(True,)).scores) == 2
    stuff = detect_on_tiles(*ask, threshold=0.5, is_thing=(False,))
    whole = detect_on_tiles(*ask[:3], Tiling((240, 200)), threshold=0.5)
    assert stuff.queries.tolist() == [1]
    assert torch.equal(stuff.boxes_xyxy_px, whole.boxes_xyxy_px)
