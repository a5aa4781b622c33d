"""A detection data set in memory: where each picture lies and what is in it, whatever format it came from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64

from sleuth.data.faults import Fault
from sleuth.data.masks import ObjectMasks
from sleuth.data.report import DataReport
from sleuth.errors import UserError


@dataclass(frozen=True, eq=False)
class PictureRecord:
    """One picture file and its objects.

    Args:
        id: the picture's id in the data set.
        path: the picture file.
        name: the file's name as the data set gives it.
        size_hw: height and width in pixels, as the annotation says.
        labels: contiguous class ids.
        boxes_xyxy_px: boxes in pixels inside the picture, each with an area.
        crowd: True where the box stands for many objects: left out of training, ignored in scoring.
        annotation_ids: id of each annotation.
        areas: area in square pixels: of the mask where the data set knows it, else of the box.
        masks: the masks of the annotations, decoded when asked for; None where only boxes were asked for.
    """

    id: int
    path: Path
    name: str
    size_hw: tuple[int, int]
    labels: Int64[np.ndarray, " objects"]
    boxes_xyxy_px: Float64[np.ndarray, "objects 4"]
    crowd: Bool[np.ndarray, " objects"]
    annotation_ids: Int64[np.ndarray, " objects"]
    areas: Float64[np.ndarray, " objects"]
    masks: ObjectMasks | None = None

    def __len__(self) -> int:
        """Number of annotations, crowds included."""
        return len(self.labels)

    def select(self, keep: Bool[np.ndarray, " objects"]) -> "PictureRecord":
        """The same picture with some of its annotations only."""
        return replace(
            self,
            labels=self.labels[keep],
            boxes_xyxy_px=self.boxes_xyxy_px[keep],
            crowd=self.crowd[keep],
            annotation_ids=self.annotation_ids[keep],
            areas=self.areas[keep],
            masks=None if self.masks is None else self.masks.select(keep),
        )


@dataclass(frozen=True, eq=False)
class DetectionData:
    """One split of a data set.

    Args:
        records: the pictures in the data set's order.
        names: name of each class, by label.
        category_ids: the id of each label in the data set's own format.
        root: the folder or file that the data came from.
        format: coco, voc or yolo.
        split: name of the split.
        is_thing: for each label, whether it is a countable thing; stuff, such as sky, is not.
        faults: what the reader found wrong and worked around.
        annotations: what was asked for: boxes, instances or panoptic.
    """

    records: tuple[PictureRecord, ...]
    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    root: Path
    format: str
    split: str = ""
    faults: tuple[Fault, ...] = ()
    is_thing: tuple[bool, ...] = ()
    annotations: str = "boxes"

    def __post_init__(self) -> None:
        if not self.is_thing:
            object.__setattr__(self, "is_thing", (True,) * len(self.names))

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.records)

    def without_faulty(self, report: DataReport) -> "DetectionData":
        """The same data without the pictures that an error of the report touches."""
        bad = report.faulty_image_ids
        return replace(
            self,
            records=tuple(record for record in self.records if record.id not in bad),
            faults=tuple(fault for fault in self.faults if fault.severity != "error" and fault.image_id not in bad),
        )

    def with_names(
        self,
        names: Sequence[str],
        category_ids: Sequence[int] | None = None,
        is_thing: Sequence[bool] | None = None,
    ) -> "DetectionData":
        """The same data with the labels of another class list, such as a trained model's.

        Args:
            names: class names, by label; every class that occurs here must be among them.
            category_ids: the ids to give out for them; one above the label where none are given.
            is_thing: whether each is a thing; where none are given as this data has it, and true for its unknown ones.

        Raises:
            UserError: objects of this data have a class that the list lacks.
        """
        names = tuple(names)
        if names == self.names and category_ids is None and is_thing is None:
            return self
        if is_thing is None:
            own = dict(zip(self.names, self.is_thing, strict=True))
            is_thing = [own.get(name, True) for name in names]
        place = {name: label for label, name in enumerate(names)}
        table = np.array([place.get(name, -1) for name in self.names], dtype=np.int64)
        used = {int(label) for record in self.records for label in record.labels}
        lacking = [self.names[label] for label in sorted(used) if table[label] < 0]
        if lacking:
            raise UserError(
                f"the model does not know the class{'es' if len(lacking) > 1 else ''} {_listed(lacking)}",
                where=self.root,
                mend=f"its classes are {_listed(names)}: rename the data's classes, or train a model on this data",
            )
        return replace(
            self,
            records=tuple(replace(record, labels=table[record.labels]) for record in self.records),
            names=names,
            category_ids=tuple(category_ids) if category_ids is not None else tuple(range(1, len(names) + 1)),
            is_thing=tuple(is_thing),
        )


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
