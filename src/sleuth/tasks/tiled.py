"""A model on overlapping tiles of a large picture and on the whole of it, merged into one answer."""

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from sleuth.geometry.tiles import Tile, Tiling, merge_views
from sleuth.tasks.detection import RawDetections, decode_detections
from sleuth.tasks.preprocess import Preprocess, preprocess_images
from sleuth.types import ImageBatch


@torch.inference_mode()
def detect_on_tiles(
    model: nn.Module,
    image: UInt8[Tensor, "3 height width"],
    preprocess: Preprocess,
    tiling: Tiling,
    *,
    threshold: float = 0.0,
    batch_size: int = 1,
    most: int | None = None,
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

    Returns: boxes in pixels of the picture, best first, on the CPU; queries are those of the view that found each.
    """
    picture_hw = (image.shape[1], image.shape[2])
    tiles, whole = tiling.tiles(picture_hw), Tile(0, 0, picture_hw[1], picture_hw[0])
    views = [whole, *(tiles if len(tiles) > 1 else [])]
    found: list[RawDetections] = []
    for batch in ([whole], *(views[row : row + batch_size] for row in range(1, len(views), batch_size))):
        images = preprocess_images([view.crop(image) for view in batch], preprocess)
        prediction = model(_as_model(images, model))
        found += decode_detections(prediction, [view.size_hw for view in batch], threshold=threshold)
    return _merged([_take(each, _finite(each)[:most]) for each in found], views, picture_hw, tiling)


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


def _merged(
    found: list[RawDetections], views: list[Tile], picture_hw: tuple[int, int], tiling: Tiling
) -> RawDetections:
    """The answers of all views as those of one picture."""
    for number, view in enumerate(views):
        in_picture = found[number].boxes_xyxy_px + view.origin
        rows = (~view.left_to_neighbours(in_picture, picture_hw, tiling.overlap_hw)).nonzero()[:, 0]
        found[number] = _take(found[number], rows)
    boxes = [each.boxes_xyxy_px + view.origin for each, view in zip(found, views, strict=True)]
    cut = [view.cuts(each, picture_hw) for each, view in zip(boxes, views, strict=True)]
    of_view = [torch.full((len(each.scores),), number) for number, each in enumerate(found)]
    every = RawDetections(
        boxes_xyxy_px=torch.cat(boxes),
        scores=torch.cat([each.scores for each in found]),
        labels=torch.cat([each.labels for each in found]),
        queries=torch.cat([each.queries for each in found]),
    )
    return _take(
        every, merge_views(every.boxes_xyxy_px, every.scores, every.labels, torch.cat(of_view), torch.cat(cut))
    )
