"""Panoptic quality: how well pictures are parted into things and stuff."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer

from sleuth.errors import UserError

VOID = 0
"""The id of pixels that belong to no segment."""

LEAST_IOU = 0.5
"""A segment is found by the one that overlaps it by more than this; there can be only one."""


@dataclass(frozen=True, eq=False)
class PanopticMap:
    """One picture parted into segments: of the ground truth or as predicted.

    Args:
        ids: the segment of each pixel; `VOID` where there is none.
        segment_ids: id of each segment.
        labels: class of each segment, 0 to classes - 1.
        crowd: True for a region of many objects: neither asked for nor held against a prediction inside it.
        name: the picture or file, for messages.
    """

    ids: Integer[np.ndarray, "height width"]
    segment_ids: Int64[np.ndarray, " segments"]
    labels: Int64[np.ndarray, " segments"]
    crowd: Bool[np.ndarray, " segments"]
    name: str = ""

    def rows(self) -> Int64[np.ndarray, "height width"]:
        """For each pixel 0 for void, else one more than the row of its segment.

        Raises:
            UserError: ids occur twice, or in the map and not in the list, or in the list and not in the map.
        """
        listed = np.concatenate([np.array([VOID]), self.segment_ids])
        order = np.argsort(listed, kind="stable")
        sorted_ids = listed[order]
        if (sorted_ids[1:] == sorted_ids[:-1]).any():
            twice = int(sorted_ids[1:][sorted_ids[1:] == sorted_ids[:-1]][0])
            what = "is void's own" if twice == VOID else "is listed twice"
            raise UserError(f"the segment id {twice} {what}", where=self.name or None, mend="number segments from 1 on")
        place = np.minimum(np.searchsorted(sorted_ids, self.ids), len(listed) - 1)
        strange = sorted_ids[place] != self.ids
        if strange.any():
            raise UserError(
                f"the segment id {int(self.ids[strange][0])} is in the picture, but not in the JSON",
                where=self.name or None,
                mend="list every segment of the picture in its segments_info",
            )
        rows = order[place]
        absent = np.bincount(rows.ravel(), minlength=len(listed))[1:] == 0
        if absent.any():
            raise UserError(
                f"the segment id {int(self.segment_ids[absent][0])} is in the JSON, but not in the picture",
                where=self.name or None,
                mend="take segments without a pixel out of its segments_info",
            )
        return rows


@dataclass(frozen=True, eq=False)
class PanopticCounts:
    """What was found, missed and invented, summed over pictures; counts add up with ``+``.

    Args:
        iou: sum of the overlaps of matched segments, by class.
        found: matched segments, by class.
        invented: predicted segments without a match, by class.
        missed: segments of the ground truth without a match, by class.
    """

    iou: Float64[np.ndarray, " classes"]
    found: Int64[np.ndarray, " classes"]
    invented: Int64[np.ndarray, " classes"]
    missed: Int64[np.ndarray, " classes"]

    @classmethod
    def none(cls, num_classes: int) -> "PanopticCounts":
        """The counts of no picture."""
        zeros = np.zeros(num_classes, dtype=np.int64)
        return cls(np.zeros(num_classes), zeros, zeros, zeros)

    def __add__(self, other: "PanopticCounts") -> "PanopticCounts":
        return PanopticCounts(
            self.iou + other.iou,
            self.found + other.found,
            self.invented + other.invented,
            self.missed + other.missed,
        )


def count_segments(truth: PanopticMap, found: PanopticMap, num_classes: int) -> PanopticCounts:
    """Match the segments of one picture and count.

    A predicted segment finds one of its class if they overlap by more than half; pixels that are void in the ground
    truth are left out of the union. Crowds are not matched, and not missed. A segment without a match is no invention
    if more than half of it lies on void and on the crowd of its class (the last one listed, if there are several).

    Args:
        truth: the ground truth.
        found: the prediction, at the same size.
        num_classes: both maps' labels are below it.

    Raises:
        UserError: the maps are of different sizes, or a map does not fit its list.

    Source: Kirillov et al. 2019, section 4; panopticapi's evaluation, whose counts these are. Areas are counted on the
    map, never taken from a file.
    """
    if truth.ids.shape != found.ids.shape:
        (high, wide), (found_high, found_wide) = truth.ids.shape, found.ids.shape
        raise UserError(
            f"the prediction is {found_wide}x{found_high} (width x height), the ground truth {wide}x{high}",
            where=found.name or truth.name or None,
            mend="predict at the size of the original picture",
        )
    columns = len(found.labels) + 1
    shared = np.bincount((truth.rows() * columns + found.rows()).ravel(), minlength=(len(truth.labels) + 1) * columns)
    shared = shared.reshape(-1, columns)
    both, on_void = shared[1:, 1:], shared[0, 1:]
    sizes, found_sizes = shared[1:].sum(1), shared[:, 1:].sum(0)
    same = truth.labels[:, None] == found.labels
    overlap = both / np.maximum(sizes[:, None] + found_sizes - both - on_void, 1)
    match = same & ~truth.crowd[:, None] & (overlap > LEAST_IOU)

    on_crowd = np.zeros_like(on_void)
    for row in np.flatnonzero(truth.crowd):
        on_crowd = np.where(same[row], both[row], on_crowd)
    excused = (on_void + on_crowd) / found_sizes > LEAST_IOU

    def per_class(labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels, minlength=num_classes)

    rows, _ = np.nonzero(match)
    return PanopticCounts(
        iou=np.bincount(truth.labels[rows], weights=overlap[match], minlength=num_classes).astype(np.float64),
        found=per_class(truth.labels[rows]),
        invented=per_class(found.labels[~match.any(0) & ~excused]),
        missed=per_class(truth.labels[~match.any(1) & ~truth.crowd]),
    )


@dataclass(frozen=True)
class Quality:
    """Panoptic quality of a group of classes, each number a mean over its measured classes; None if there is none.

    Args:
        pq: panoptic quality, 0 to 1.
        sq: segmentation quality: the mean overlap of found segments.
        rq: recognition quality: the F1 score of finding them.
        classes: how many classes were measured: those with a segment in the ground truth, or one invented.
    """

    pq: float | None
    sq: float | None
    rq: float | None
    classes: int


@dataclass(frozen=True)
class ClassQuality:
    """Panoptic quality of one class; None where there was no segment of it at all.

    Args:
        name: of the class.
        category_id: the data set's own id of the class.
        is_thing: whether it is countable, rather than stuff.
        segments: in the ground truth, crowds left out.
        found: how many of them were found.
        invented: predicted segments that no segment of the ground truth accounts for.
        pq: panoptic quality: the product of the other two.
        sq: mean overlap of found segments.
        rq: F1 score of finding them.
    """

    name: str
    category_id: int
    is_thing: bool
    segments: int
    found: int
    invented: int
    pq: float | None
    sq: float | None
    rq: float | None


@dataclass(frozen=True)
class PanopticScores:
    """Panoptic quality over a data set.

    Args:
        all: over all classes.
        things: over countable classes.
        stuff: over the others.
        per_class: in the order of the labels.
        pictures: how many were measured.
    """

    all: Quality
    things: Quality
    stuff: Quality
    per_class: tuple[ClassQuality, ...]
    pictures: int

    @property
    def numbers(self) -> Mapping[str, float | None]:
        """The nine numbers by name: PQ, SQ and RQ for all, then ``PQ things``, and so on."""
        groups = {"": self.all, " things": self.things, " stuff": self.stuff}
        return {
            f"{name}{group}": value
            for group, quality in groups.items()
            for name, value in (("PQ", quality.pq), ("SQ", quality.sq), ("RQ", quality.rq))
        }

    def to_json(self) -> dict[str, Any]:
        """All numbers as plain values."""
        return asdict(self)


def panoptic_quality(
    pictures: Iterable[tuple[PanopticMap, PanopticMap]],
    *,
    names: Sequence[str],
    category_ids: Sequence[int],
    is_thing: Sequence[bool],
) -> PanopticScores:
    """Panoptic quality of pairs of ground truth and prediction, which are asked for one by one.

    Args:
        pictures: of each picture its ground truth and its prediction.
        names: of the classes, by label.
        category_ids: the data set's own id of each label.
        is_thing: for each label.

    Raises:
        UserError: a pair does not fit together; see `count_segments`.
    """
    counts, number = PanopticCounts.none(len(names)), 0
    for truth, found in pictures:
        counts += count_segments(truth, found, len(names))
        number += 1
    return quality_of(counts, names=names, category_ids=category_ids, is_thing=is_thing, pictures=number)


def quality_of(
    counts: PanopticCounts,
    *,
    names: Sequence[str],
    category_ids: Sequence[int],
    is_thing: Sequence[bool],
    pictures: int,
) -> PanopticScores:
    """Panoptic quality from counts: PQ = sum of overlaps / (found + invented / 2 + missed / 2).

    Source: Kirillov et al. 2019, equations 1 and 2; classes are averaged with equal weight.
    """
    per_class = []
    for label, name in enumerate(names):
        found, invented, missed = (int(part[label]) for part in (counts.found, counts.invented, counts.missed))
        measured = found + invented + missed > 0
        weight, overlaps = found + invented / 2 + missed / 2, float(counts.iou[label])
        per_class.append(
            ClassQuality(
                name=name,
                category_id=int(category_ids[label]),
                is_thing=bool(is_thing[label]),
                segments=found + missed,
                found=found,
                invented=invented,
                pq=overlaps / weight if measured else None,
                sq=(overlaps / found if found else 0.0) if measured else None,
                rq=found / weight if measured else None,
            )
        )
    return PanopticScores(
        all=_mean(per_class),
        things=_mean([entry for entry in per_class if entry.is_thing]),
        stuff=_mean([entry for entry in per_class if not entry.is_thing]),
        per_class=tuple(per_class),
        pictures=pictures,
    )


def _mean(classes: Sequence[ClassQuality]) -> Quality:
    measured = [(entry.pq, entry.sq, entry.rq) for entry in classes if entry.pq is not None]
    if not measured:
        return Quality(None, None, None, 0)
    pq, sq, rq = np.mean(np.array(measured, dtype=np.float64), axis=0).tolist()
    return Quality(pq, sq, rq, len(measured))
