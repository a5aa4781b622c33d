"""Objects and predictions of a whole data set, in columns: one row a box, NumPy arrays throughout.

Boxes keep COCO's own form, ``boxes_xywh_px`` (left, top, width, height), so that a number read from a file reaches
the evaluation unchanged; a detour through corners would round it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Least and greatest area in square pixels of COCO's three sizes of objects."""


def _no_floats() -> np.ndarray:
    return np.zeros(0, dtype=np.float64)


def _no_ints() -> np.ndarray:
    return np.zeros(0, dtype=np.int64)


def _no_boxes() -> np.ndarray:
    return np.zeros((0, 4), dtype=np.float64)


def _no_flags() -> np.ndarray:
    return np.zeros(0, dtype=bool)


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The objects that are there.

    Args:
        image_ids: id of each picture. A picture without objects counts as well.
        category_ids: the data set's own id of each class, in the order of the labels.
        names: name of each class, in the order of the labels.
        pictures: row of each object's picture in ``image_ids``.
        labels: class of each object, 0 to classes - 1.
        boxes_xywh_px: left, top, width, height in pixels of the original picture.
        areas: area in square pixels that decides between small, medium and large: of the mask where there is one.
        crowd: True for a region of many objects: neither asked for nor held against a prediction inside it.
        masks: COCO's compressed run lengths of each object, bytes; None where only boxes are known.
        sizes_hw: height and width of each picture in pixels; empty where there are no masks.
    """

    image_ids: tuple[int, ...]
    category_ids: tuple[int, ...]
    names: tuple[str, ...]
    pictures: Int64[np.ndarray, " objects"] = field(default_factory=_no_ints)
    labels: Int64[np.ndarray, " objects"] = field(default_factory=_no_ints)
    boxes_xywh_px: Float64[np.ndarray, "objects 4"] = field(default_factory=_no_boxes)
    areas: Float64[np.ndarray, " objects"] = field(default_factory=_no_floats)
    crowd: Bool[np.ndarray, " objects"] = field(default_factory=_no_flags)
    masks: Shaped[np.ndarray, " objects"] | None = None
    sizes_hw: tuple[tuple[int, int], ...] = ()

    @property
    def num_objects(self) -> int:
        """Number of objects, crowds left out."""
        return int((~self.crowd).sum())

    def objects_per_class(self) -> Int64[np.ndarray, " classes"]:
        """Number of objects of each class, crowds left out."""
        return np.bincount(self.labels[~self.crowd], minlength=len(self.names))

    def objects_per_size(self) -> dict[str, int]:
        """Number of small, medium and large objects by area, crowds left out.

        As in COCO, an object of exactly 32 x 32 or 96 x 96 pixels belongs to both sizes.
        """
        areas = self.areas[~self.crowd]
        return {size: int(((areas >= least) & (areas <= most)).sum()) for size, (least, most) in SIZES.items()}


@dataclass(frozen=True, eq=False)
class Predictions:
    """The objects that were found, in any order; rows and labels are those of the ground truth.

    Args:
        pictures: row of each prediction's picture in ``GroundTruth.image_ids``.
        labels: class of each prediction, 0 to classes - 1.
        boxes_xywh_px: left, top, width, height in pixels of the original picture.
        scores: the higher the surer; finite.
        masks: COCO's compressed run lengths of each prediction, bytes, at the size of its picture; or None.
    """

    pictures: Int64[np.ndarray, " predictions"] = field(default_factory=_no_ints)
    labels: Int64[np.ndarray, " predictions"] = field(default_factory=_no_ints)
    boxes_xywh_px: Float64[np.ndarray, "predictions 4"] = field(default_factory=_no_boxes)
    scores: Float64[np.ndarray, " predictions"] = field(default_factory=_no_floats)
    masks: Shaped[np.ndarray, " predictions"] | None = None

    def __len__(self) -> int:
        """Number of predictions."""
        return len(self.scores)

    def take(self, rows: np.ndarray) -> "Predictions":
        """The predictions of these row numbers, or of this mask."""
        return replace(
            self,
            pictures=self.pictures[rows],
            labels=self.labels[rows],
            boxes_xywh_px=self.boxes_xywh_px[rows],
            scores=self.scores[rows],
            masks=None if self.masks is None else self.masks[rows],
        )

    def finite(self) -> "Predictions":
        """The predictions whose box and score are numbers: a diverged model has others."""
        return self.take(np.isfinite(self.scores) & np.isfinite(self.boxes_xywh_px).all(axis=1))


def rows_per_picture(pictures: Int64[np.ndarray, " rows"], num_pictures: int) -> list[np.ndarray]:
    """The row numbers of each picture, in their order, for all pictures at once."""
    order = np.argsort(pictures, kind="stable")
    ends = np.cumsum(np.bincount(pictures, minlength=num_pictures))
    return np.split(order, ends[:-1]) if num_pictures else []


def mask_column(masks: Iterable[bytes]) -> Shaped[np.ndarray, " rows"]:
    """Run lengths as a column, which NumPy would otherwise take for text of one length."""
    counts = list(masks)
    column = np.empty(len(counts), dtype=object)
    column[:] = counts
    return column


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Predictions one after the other; they have masks if each part has."""
    if not parts:
        return Predictions()
    return Predictions(
        pictures=np.concatenate([part.pictures for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        boxes_xywh_px=np.concatenate([part.boxes_xywh_px for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        masks=np.concatenate([part.masks for part in parts]) if all(part.masks is not None for part in parts) else None,
    )
