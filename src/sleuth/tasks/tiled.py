"""A model on overlapping tiles of a large picture and on the whole of it, merged into one answer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from sleuth.geometry.rle import PackedMasks
from sleuth.geometry.tiles import Tile, Tiling, merge_views
from sleuth.tasks.detection import RawDetections, decode_detections
from sleuth.tasks.preprocess import Preprocess, preprocess_images
from sleuth.types.batches import ImageBatch
from sleuth.types.predictions import SetPrediction

MaskPacker = Callable[
    [SetPrediction, int, Int[Tensor, " masks"], tuple[int, int]], tuple[PackedMasks, Int[Tensor, " finite"]]
]
"""From a prediction, the row of a view, some of its queries and the view's size: their masks, and which are finite."""


@dataclass(frozen=True)
class _View:
    """What was found on one view of a picture.

    Args:
        tile: which part of the picture it is.
        found: boxes in pixels of the view.
        masks: of its size, in the order of the boxes; None where none were asked for.
    """

    tile: Tile
    found: RawDetections
    masks: PackedMasks | None = None

    def keep(self, rows: Tensor) -> "_View":
        """Some of its answers; their masks are not there yet."""
        return _View(self.tile, _take(self.found, rows))


def detect_on_tiles(
    model: nn.Module,
    image: UInt8[Tensor, "3 height width"],
    preprocess: Preprocess,
    tiling: Tiling,
    *,
    threshold: float = 0.0,
    batch_size: int = 1,
    most: int | None = None,
    is_thing: Sequence[bool] = (),
) -> RawDetections:
    """What a model finds in a picture seen tile by tile, for small objects, and as a whole, for large ones.

    Each tile is brought to the model's input size, as a picture of its own would be. Answers of different views that
    are the same object are merged by `merge_views`; those that are not finite are left out. A picture that is no larger
    than a tile is seen as a whole only.

    Args:
        model: in evaluation mode; where its parameters are, it runs, and in their precision.
        image: the picture, RGB.
        preprocess: how pictures become the model's input.
        tiling: how it is cut.
        threshold: the least score to keep.
        batch_size: tiles at a time.
        most: answers of each view that are looked at, the best first; None looks at all.
        is_thing: for each label, whether it is a thing: stuff, such as sky, goes on over the edges of tiles, and is
            taken from the whole picture. Empty where all are things.

    Returns: boxes in pixels of the picture, best first, on the CPU; queries are those of the view that found each.
    """
    views = list(_look(model, image, preprocess, tiling, threshold, batch_size, most, is_thing, None))
    return _merged(views, (image.shape[1], image.shape[2]))[0]


def segment_on_tiles(
    model: nn.Module,
    image: UInt8[Tensor, "3 height width"],
    preprocess: Preprocess,
    tiling: Tiling,
    pack: MaskPacker,
    *,
    threshold: float = 0.0,
    batch_size: int = 1,
    is_thing: Sequence[bool] = (),
) -> tuple[RawDetections, PackedMasks]:
    """As `detect_on_tiles`, with masks: each object has the mask of the view that its box is of.

    A mask is read while its view is at hand, for every answer of the view above the threshold that is not left to a
    neighbour. Objects are merged by their boxes. Of an object that no view has seen whole the surest part remains, box
    and mask.

    Args:
        model: as for `detect_on_tiles`, with a mask head.
        image: the picture, RGB.
        preprocess: how pictures become the model's input.
        tiling: how it is cut.
        pack: reads masks.
        threshold: the least score to keep.
        batch_size: tiles at a time.
        is_thing: for each label, whether it is a thing.
    """
    views = list(_look(model, image, preprocess, tiling, threshold, batch_size, None, is_thing, pack))
    picture_hw = (image.shape[1], image.shape[2])
    found, rows = _merged(views, picture_hw)
    places = [(view, row) for view in views for row in range(len(view.found.scores))]
    chosen = (places[row] for row in rows.tolist())
    return found, PackedMasks.join([_in_picture(view, row, picture_hw) for view, row in chosen], picture_hw)


@torch.inference_mode()
def _look(
    model: nn.Module,
    image: Tensor,
    preprocess: Preprocess,
    tiling: Tiling,
    threshold: float,
    batch_size: int,
    most: int | None,
    is_thing: Sequence[bool],
    pack: MaskPacker | None,
) -> Iterator[_View]:
    """The answers of each view, without those that are left to its neighbours."""
    picture_hw = (image.shape[1], image.shape[2])
    tiles, whole = tiling.tiles(picture_hw), Tile(0, 0, picture_hw[1], picture_hw[0])
    things = torch.tensor([*is_thing], dtype=torch.bool)
    views = [whole, *(tiles if len(tiles) > 1 else [])]
    for batch in ([whole], *(views[row : row + batch_size] for row in range(1, len(views), batch_size))):
        images = preprocess_images([tile.crop(image) for tile in batch], preprocess)
        prediction = model(_as_model(images, model))
        every = decode_detections(prediction, [tile.size_hw for tile in batch], threshold=threshold)
        for number, (tile, found) in enumerate(zip(batch, every, strict=True)):
            view = _View(tile, _take(found, _finite(found)[:most]))
            if len(things) and tile is not whole:
                view = view.keep(things[view.found.labels].nonzero()[:, 0])
            in_picture = view.found.boxes_xyxy_px + tile.origin
            left = tile.left_to_neighbours(in_picture, picture_hw, tiling.overlap_hw)
            view = view.keep((~left).nonzero()[:, 0])
            if pack is not None:
                masks, rows = pack(prediction, number, view.found.queries, tile.size_hw)
                view = _View(tile, _take(view.found, rows), masks)
            yield view


def _as_model(images: ImageBatch, model: nn.Module) -> ImageBatch:
    """Where the model is, in its precision."""
    parameter = next(model.parameters(), torch.zeros(()))
    return ImageBatch(images.pixels.to(parameter.device, parameter.dtype), images.valid.to(parameter.device))


def _finite(found: RawDetections) -> Tensor:
    """Rows whose score and box are numbers."""
    return (found.scores.isfinite() & found.boxes_xyxy_px.isfinite().all(-1)).nonzero()[:, 0]


def _take(found: RawDetections, rows: Tensor) -> RawDetections:
    return RawDetections(
        boxes_xyxy_px=found.boxes_xyxy_px[rows].cpu(),
        scores=found.scores[rows].cpu(),
        labels=found.labels[rows].cpu(),
        queries=found.queries[rows].cpu(),
    )


def _merged(views: Sequence[_View], picture_hw: tuple[int, int]) -> tuple[RawDetections, Int[Tensor, " kept"]]:
    """The answers of all views as those of one picture, and which of all views' answers, in their order, they are."""
    boxes = [view.found.boxes_xyxy_px + view.tile.origin for view in views]
    cut = [view.tile.cuts(each, picture_hw) for view, each in zip(views, boxes, strict=True)]
    of_view = [torch.full((len(view.found.scores),), number) for number, view in enumerate(views)]
    every = RawDetections(
        boxes_xyxy_px=torch.cat(boxes),
        scores=torch.cat([view.found.scores for view in views]),
        labels=torch.cat([view.found.labels for view in views]),
        queries=torch.cat([view.found.queries for view in views]),
    )
    rows = merge_views(every.boxes_xyxy_px, every.scores, every.labels, torch.cat(of_view), torch.cat(cut))
    return _take(every, rows), rows


def _in_picture(view: _View, row: int, picture_hw: tuple[int, int]) -> PackedMasks:
    """One mask of a view set into the picture."""
    assert view.masks is not None
    if view.tile.size_hw == picture_hw:
        return view.masks.keep([row])
    mask = torch.zeros(1, *picture_hw, dtype=torch.bool)
    view.tile.crop(mask)[0] = torch.from_numpy(view.masks[row])
    return PackedMasks.pack(mask)
