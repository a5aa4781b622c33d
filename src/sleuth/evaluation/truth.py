"""Ground truth in columns, from a data set in files or from samples of any source."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sleuth.data.records import DetectionData
from sleuth.data.samples import Sample, SampleSource
from sleuth.evaluation.columns import GroundTruth, mask_column
from sleuth.geometry.rle import PackedMasks


def truth_of_data(data: DetectionData, masks: Sequence[PackedMasks] | None = None) -> GroundTruth:
    """The objects of a data set in files, crowds and areas of masks included; no picture is opened.

    Args:
        data: the data set.
        masks: of each picture's objects, crowds included, where they are wanted.
    """
    records = data.records
    corners = _stack([record.boxes_xyxy_px for record in records])
    return GroundTruth(
        image_ids=tuple(record.id for record in records),
        category_ids=data.category_ids,
        names=data.names,
        pictures=np.repeat(np.arange(len(records)), [len(record) for record in records]),
        labels=np.concatenate([np.zeros(0, dtype=np.int64), *(record.labels for record in records)]),
        boxes_xywh_px=to_xywh(corners),
        areas=np.concatenate([np.zeros(0), *(record.areas for record in records)]),
        crowd=np.concatenate([np.zeros(0, dtype=bool), *(record.crowd for record in records)]),
        **_mask_columns(masks),
    )


def truth_of_samples(
    source: SampleSource, samples: Iterable[Sample], masks: Sequence[PackedMasks] | None = None
) -> GroundTruth:
    """The objects of samples as they were served; boxes are in pixels of each sample's image.

    Args:
        source: whose classes the labels are.
        samples: in the order of the source; their pictures are not kept.
        masks: of each sample's objects, where they are known; areas are then theirs.
    """
    image_ids: list[int] = []
    labels: list[np.ndarray] = []
    corners: list[np.ndarray] = []
    for sample in samples:
        image_ids.append(sample.image_id)
        labels.append(sample.labels.numpy())
        corners.append(sample.boxes_xyxy_px.double().numpy())
    boxes = to_xywh(_stack(corners))
    return GroundTruth(
        image_ids=tuple(image_ids),
        category_ids=tuple(source.category_ids),
        names=tuple(source.names),
        pictures=np.repeat(np.arange(len(image_ids)), [len(part) for part in labels]),
        labels=np.concatenate([np.zeros(0, dtype=np.int64), *labels]),
        boxes_xywh_px=boxes,
        areas=boxes[:, 2] * boxes[:, 3] if masks is None else _areas(masks),
        crowd=np.zeros(len(boxes), dtype=bool),
        **_mask_columns(masks),
    )


def _areas(masks: Sequence[PackedMasks]) -> np.ndarray:
    return np.array([area for packed in masks for area in packed.areas], dtype=np.float64)


def _mask_columns(masks: Sequence[PackedMasks] | None) -> dict[str, Any]:
    """The masks of all pictures as columns of the ground truth; none where there are none."""
    if masks is None:
        return {}
    return {
        "masks": mask_column(counts for packed in masks for counts in packed.counts),
        "sizes_hw": tuple(packed.size_hw for packed in masks),
    }


def to_xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Corners to left, top, width, height."""
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


def _stack(boxes: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros((0, 4)), *boxes])
