"""What a predictor found in one picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Int32, UInt8
from PIL import Image
from scipy import ndimage
from torch import Tensor

from sleuth.data.pictures import read_picture
from sleuth.geometry.boxes import xyxy_to_xywh
from sleuth.geometry.rle import PackedMap, PackedMasks, ids_to_rgb
from sleuth.render.boxes import caption, draw_boxes
from sleuth.render.masks import Region, draw_masks, draw_panoptic

_SHOWN = 5


@dataclass(frozen=True)
class Segment:
    """One segment of a picture that is parted into things and stuff.

    Args:
        id: its number in the panoptic map, from 1.
        label: contiguous class id of the model.
        name: name of the class.
        category_id: the class in the data set that the model was trained on.
        score: probability of the class, 0 to 1.
        is_thing: whether it is one object, rather than stuff, such as sky.
        area: pixels.
    """

    id: int
    label: int
    name: str
    category_id: int
    score: float
    is_thing: bool
    area: int


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """The objects of one picture, best first.

    Args:
        boxes_xyxy_px: corners in pixels of the original picture; a box may reach over its edge.
        scores: probability of the class, 0 to 1.
        labels: contiguous class ids of the model.
        names: name of each object's class.
        category_ids: each object's category id in the data set that the model was trained on.
        size_hw: height and width of the picture in pixels.
        source: the picture's path; ``path#frame`` for a frame of a video; a name for a picture from memory.
        path: the picture's own file, if it has one: it is read again when the picture is wanted.
        video: the video that the picture is a frame of.
        pixels: the picture itself, where it is at hand.
        packed_masks: the pixels of each object, a few kilobytes each; None where no masks were asked for. `masks`
            unpacks them.
        packed_panoptic: which segment each pixel belongs to, packed; None where that was not asked for. `panoptic`
            unpacks it.
        segments: the segments of the panoptic map, in the order of their ids.
        queries: which of the model's queries found each object; None where that is not known.
    """

    boxes_xyxy_px: Float[Tensor, "objects 4"]
    scores: Float[Tensor, " objects"]
    labels: Int[Tensor, " objects"]
    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    size_hw: tuple[int, int]
    source: str
    path: Path | None = None
    video: Path | None = None
    pixels: UInt8[np.ndarray, "height width 3"] | None = None
    packed_masks: PackedMasks | None = None
    packed_panoptic: PackedMap | None = None
    segments: tuple[Segment, ...] | None = None
    queries: Int[Tensor, " objects"] | None = None

    def __post_init__(self) -> None:
        columns = (self.boxes_xyxy_px, self.scores, self.labels, self.names, self.category_ids)
        lengths = {len(column) for column in columns}
        if self.packed_masks is not None:
            lengths.add(len(self.packed_masks))
        if self.queries is not None:
            lengths.add(len(self.queries))
        if len(lengths) > 1:
            raise ValueError("boxes, scores, labels, names, category ids, masks and queries are not of one length")
        packed = [part for part in (self.packed_masks, self.packed_panoptic) if part is not None]
        if any(part.size_hw != self.size_hw for part in packed):
            raise ValueError("masks and panoptic map are not of the picture's size")
        if (self.packed_panoptic is None) != (self.segments is None):
            raise ValueError("a panoptic map and its segments come together")

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        height, width = self.size_hw
        told = [*self.captions[:_SHOWN], *([f"{len(self) - _SHOWN} more"] if len(self) > _SHOWN else [])]
        return f"Detections({self.source!r}, {width}x{height}: {', '.join(told) or 'nothing'})"

    @property
    def captions(self) -> tuple[str, ...]:
        """Class and score of each object, as drawn beside its box."""
        return tuple(caption(name, score) for name, score in zip(self.names, self.scores.tolist(), strict=True))

    @property
    def masks(self) -> Bool[Tensor, "objects height width"] | None:
        """The pixels of each object in the original picture; None where no masks were asked for.

        Unpacked anew at each call, a byte a pixel: keep what you need, or take single ones off ``packed_masks``.
        """
        return None if self.packed_masks is None else self.packed_masks.unpack()

    @property
    def panoptic(self) -> Int32[Tensor, "height width"] | None:
        """Which segment each pixel of the original picture belongs to, 0 for none; None where it was not asked for."""
        return None if self.packed_panoptic is None else self.packed_panoptic.unpack()

    @property
    def image(self) -> UInt8[np.ndarray, "height width 3"]:
        """The original picture, RGB.

        Raises:
            UserError: its file is gone or broken by now.
            ValueError: it was never given.
        """
        if self.pixels is not None:
            return self.pixels
        if self.path is None:
            raise ValueError(f"the picture {self.source!r} is not at hand")
        return np.ascontiguousarray(read_picture(self.path).movedim(0, -1).numpy())

    def plot(self, *, enlarge: int = 1, legend: bool = True) -> Image.Image:
        """The picture with its panoptic map drawn in; if there is none its masks; or else its boxes.

        Args:
            enlarge: draw on a picture so many times as wide and high: letters are hard to read on tiny ones.
            legend: below masks and panoptic maps, say which colour is which class.

        Raises:
            UserError: the picture's file is gone or broken by now.
        """
        picture = Image.fromarray(self.image)
        if enlarge > 1:
            picture = picture.resize((picture.width * enlarge, picture.height * enlarge), Image.Resampling.BICUBIC)
        pixels = np.asarray(picture)
        if self.packed_panoptic is not None and self.segments:
            segment_ids = self.packed_panoptic.unpack().numpy()
            drawn = draw_panoptic(pixels, segment_ids, self._segment_regions(), legend=legend)
        elif self.packed_masks is not None:
            drawn = draw_masks(pixels, self._mask_regions(), self.packed_masks.__getitem__, legend=legend)
        else:
            boxes = self.boxes_xyxy_px.double().numpy() * enlarge
            drawn = draw_boxes(pixels, boxes, self.labels.numpy(), self.captions)
        return Image.fromarray(drawn)

    def _mask_regions(self) -> list[Region]:
        assert self.packed_masks is not None
        columns = zip(self.labels.tolist(), self.names, self.captions, self.packed_masks.areas, strict=True)
        return [
            Region(id=row, label=label, name=name, caption=text, area=area)
            for row, (label, name, text, area) in enumerate(columns)
        ]

    def _segment_regions(self) -> list[Region]:
        """The segments, the best first: where there is little room, it goes to their names."""
        return [
            Region(
                id=each.id,
                label=each.label,
                name=each.name,
                caption=caption(each.name, each.score) if each.is_thing else each.name,
                area=each.area,
                is_thing=each.is_thing,
            )
            for each in sorted(self.segments or (), key=lambda each: -each.score)
        ]

    def to_coco(self, image_id: int | None = None) -> list[dict[str, Any]]:
        """COCO results: one entry an object, ``bbox`` as left, top, width, height in pixels.

        Where there are masks, ``segmentation`` holds each as COCO's compressed run lengths.

        Args:
            image_id: the picture's id in its data set; None writes the source instead.
        """
        picture = {"image_id": self.source if image_id is None else image_id}
        return [picture | entry for _, entry in self._entries()]

    def to_json(self) -> dict[str, Any]:
        """The picture and its objects as plain values, as ``sleuth predict --json`` prints them.

        Scores are rounded to a millionth, boxes to a thousandth of a pixel; ``query`` is the number of the query that
        found the object. With masks, each object has its
        ``segmentation``, as in `to_coco`. With a panoptic map there is a list of its ``segments``; the map itself is
        what `to_panoptic` gives.
        """
        height, width = self.size_hw
        page: dict[str, Any] = {"image": self.source, "width": width, "height": height}
        page["detections"] = [
            {"label": self.names[row]}
            | entry
            | {"score": round(entry["score"], 6), "bbox": [round(value, 3) for value in entry["bbox"]]}
            | ({} if self.queries is None else {"query": int(self.queries[row])})
            for row, entry in self._entries()
        ]
        if self.segments is not None:
            page["segments"] = [
                {
                    "id": each.id,
                    "label": each.name,
                    "category_id": each.category_id,
                    "score": round(each.score, 6),
                    "is_thing": each.is_thing,
                    "area": each.area,
                }
                for each in self.segments
            ]
        return page

    def to_panoptic(self) -> tuple[UInt8[np.ndarray, "height width 3"], list[dict[str, Any]]]:
        """The panoptic map as COCO's format has it: the pixels of the PNG, and ``segments_info``.

        A segment's id is red + 256 green + 65536 blue; 0 is no segment.

        Raises:
            ValueError: there is no panoptic map.
        """
        if self.packed_panoptic is None or self.segments is None:
            raise ValueError(f"no panoptic map of {self.source!r} was asked for")
        ids = self.packed_panoptic.unpack().numpy()
        boxes = ndimage.find_objects(ids, max_label=max((each.id for each in self.segments), default=0))
        return ids_to_rgb(ids), [
            {
                "id": each.id,
                "category_id": each.category_id,
                "isthing": int(each.is_thing),
                "iscrowd": 0,
                "score": round(each.score, 6),
                "area": each.area,
                "bbox": _bbox_of(boxes[each.id - 1]),
            }
            for each in self.segments
        ]

    def _entries(self) -> list[tuple[int, dict[str, Any]]]:
        """Row and numbers of each object, best first."""
        boxes = xyxy_to_xywh(self.boxes_xyxy_px).tolist()
        rows = zip(self.category_ids, self.scores.tolist(), boxes, strict=True)
        entries: list[tuple[int, dict[str, Any]]] = [
            (row, {"category_id": category, "score": score, "bbox": box})
            for row, (category, score, box) in enumerate(rows)
        ]
        if self.packed_masks is not None:
            for row, entry in entries:
                entry["segmentation"] = self.packed_masks.coco(row)
        return sorted(entries, key=lambda entry: -entry[1]["score"])


def _bbox_of(place: tuple[slice, slice] | None) -> list[int]:
    """Left, top, width, height of a part of a map."""
    if place is None:
        return [0, 0, 0, 0]
    down, across = place
    return [across.start, down.start, across.stop - across.start, down.stop - down.start]
