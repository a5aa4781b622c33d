"""What matters about somebody's pictures when a training is chosen for them."""

import statistics
from dataclasses import dataclass

import numpy as np

from sleuth.data.records import DetectionData
from sleuth.data.source import PictureSource
from sleuth.data.tiled import TiledSource
from sleuth.geometry.tiles import Tiling

_SMALL = 10
"""The percentile of the objects' sizes that stands for the small ones."""


@dataclass(frozen=True)
class DataFacts:
    """A data set in a few numbers.

    Args:
        pictures: how many there are to train on, tiles counted as pictures.
        size_hw: height and width in pixels of the median picture; that of the tiles, where there are such.
        small_share: side of a small object, as a share of the median picture's: the root of its area by the root of the
            picture's. A tenth of all objects are smaller.
        most_objects: objects of the fullest picture.
        mean_objects: objects in a picture.
        class_counts: name and number of objects of each class.
        turned_share: share of the pictures that are upright where the median one is wide, or the other way round.
        tiled: pictures are seen in tiles, at their own pixels.
    """

    pictures: int
    size_hw: tuple[int, int]
    small_share: float
    most_objects: int
    mean_objects: float
    class_counts: tuple[tuple[str, int], ...]
    turned_share: float = 0.0
    tiled: bool = False


def facts_of(data: DetectionData, tiling: Tiling | None = None) -> DataFacts:
    """The facts of one split with at least a picture, crowds left out.

    Args:
        data: its annotations.
        tiling: how large pictures are cut, if they are.
    """
    records = [record.select(~record.crowd) for record in data.records]
    boxes = np.concatenate([record.boxes_xyxy_px for record in records])
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    own = np.concatenate([np.full(len(record), _side(record.size_hw)) for record in records])
    wide = [record.size_hw[1] > record.size_hw[0] for record in records if record.size_hw[0] != record.size_hw[1]]
    low = round(statistics.median(min(record.size_hw) for record in records))
    high = round(statistics.median(max(record.size_hw) for record in records))
    lies = 2 * sum(wide) >= len(wide)
    size_hw = (low, high) if lies else (high, low)
    labels = np.concatenate([record.labels for record in records])
    counts = np.bincount(labels.astype(np.int64), minlength=len(data.names))
    if tiling is not None:
        size_hw, own = tiling.size_hw, np.full_like(own, _side(tiling.size_hw))
    return DataFacts(
        pictures=len(records) if tiling is None else len(TiledSource(PictureSource(data), tiling)),
        size_hw=size_hw,
        small_share=min(1.0, float(np.percentile(sides / own, _SMALL))) if len(sides) else 1.0,
        most_objects=max(len(record) for record in records),
        mean_objects=len(sides) / len(records),
        class_counts=tuple((name, int(count)) for name, count in zip(data.names, counts, strict=True)),
        turned_share=sum(each != lies for each in wide) / len(records),
        tiled=tiling is not None,
    )


def _side(size_hw: tuple[int, int]) -> float:
    return float(size_hw[0] * size_hw[1]) ** 0.5
