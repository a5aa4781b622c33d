"""What a predictor found in one picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from sleuth.data.pictures import read_picture
from sleuth.geometry.boxes import xyxy_to_xywh
from sleuth.render.boxes import caption, draw_boxes

_SHOWN = 5


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

    def __post_init__(self) -> None:
        columns = (self.boxes_xyxy_px, self.scores, self.labels, self.names, self.category_ids)
        if len({len(column) for column in columns}) > 1:
            raise ValueError("boxes, scores, labels, names and category ids are not of one length")

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

    def plot(self, *, enlarge: int = 1) -> Image.Image:
        """The picture with its boxes drawn in.

        Args:
            enlarge: draw on a picture so many times as wide and high: letters are hard to read on tiny ones.

        Raises:
            UserError: the picture's file is gone or broken by now.
        """
        picture = Image.fromarray(self.image)
        if enlarge > 1:
            picture = picture.resize((picture.width * enlarge, picture.height * enlarge), Image.Resampling.BICUBIC)
        boxes = self.boxes_xyxy_px.double().numpy() * enlarge
        return Image.fromarray(draw_boxes(np.asarray(picture), boxes, self.labels.numpy(), self.captions))

    def to_coco(self, image_id: int | None = None) -> list[dict[str, Any]]:
        """COCO results: one entry an object, ``bbox`` as left, top, width, height in pixels.

        Args:
            image_id: the picture's id in its data set; None writes the source instead.
        """
        picture = {"image_id": self.source if image_id is None else image_id}
        return [picture | entry for _, entry in self._entries()]

    def to_json(self) -> dict[str, Any]:
        """The picture and its objects as plain values, as ``sleuth predict --json`` prints them.

        Scores are rounded to a millionth, boxes to a thousandth of a pixel.
        """
        height, width = self.size_hw
        return {
            "image": self.source,
            "width": width,
            "height": height,
            "detections": [
                {
                    "label": name,
                    "category_id": entry["category_id"],
                    "score": round(entry["score"], 6),
                    "bbox": [round(value, 3) for value in entry["bbox"]],
                }
                for name, entry in self._entries()
            ],
        }

    def _entries(self) -> list[tuple[str, dict[str, Any]]]:
        """Name and numbers of each object, best first."""
        boxes = xyxy_to_xywh(self.boxes_xyxy_px).tolist()
        rows = zip(self.names, self.category_ids, self.scores.tolist(), boxes, strict=True)
        entries = [
            (name, {"category_id": category, "score": score, "bbox": box}) for name, category, score, box in rows
        ]
        return sorted(entries, key=lambda entry: -entry[1]["score"])
