"""What a predictor found in one picture."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from sleuth.geometry.boxes import xyxy_to_xywh
from sleuth.render.boxes import caption, draw_boxes


@dataclass(frozen=True)
class Detections:
    """The objects of one picture, best first.

    Args:
        boxes_xyxy_px: corners in pixels of the original picture.
        scores: probability of the class, 0 to 1.
        labels: contiguous class ids of the model.
        names: name of each object's class.
        category_ids: each object's category id in the data set that the model was trained on.
        size_hw: height and width of the picture in pixels.
        source: where the picture came from: its path, or a name.
        picture: the picture itself, for `plot`.
    """

    boxes_xyxy_px: Float[Tensor, "objects 4"]
    scores: Float[Tensor, " objects"]
    labels: Int[Tensor, " objects"]
    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    size_hw: tuple[int, int]
    source: str
    picture: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        found = ", ".join(caption(name, score) for name, score in zip(self.names, self.scores.tolist(), strict=True))
        height, width = self.size_hw
        return f"Detections({self.source!r}, {width}x{height}: {found or 'nothing'})"

    def plot(self) -> Image.Image:
        """The picture with its boxes drawn in."""
        captions = [caption(name, score) for name, score in zip(self.names, self.scores.tolist(), strict=True)]
        boxes = self.boxes_xyxy_px.double().numpy()
        return Image.fromarray(draw_boxes(self.picture, boxes, self.labels.numpy(), captions))

    def to_coco(self, image_id: int | None = None) -> list[dict[str, Any]]:
        """COCO results: one entry an object, ``bbox`` as left, top, width, height in pixels.

        Args:
            image_id: the picture's id in its data set; None writes the source instead.
        """
        return [
            {"image_id": self.source if image_id is None else image_id, **entry}
            for entry in self._entries(with_label=False)
        ]

    def to_json(self) -> dict[str, Any]:
        """The picture and its objects as plain values, as ``sleuth predict --json`` prints them."""
        height, width = self.size_hw
        return {
            "image": self.source,
            "width": width,
            "height": height,
            "detections": self._entries(with_label=True),
        }

    def _entries(self, *, with_label: bool) -> list[dict[str, Any]]:
        boxes = xyxy_to_xywh(self.boxes_xyxy_px).tolist()
        rows = zip(self.names, self.category_ids, self.scores.tolist(), boxes, strict=True)
        return [
            ({"label": name} if with_label else {}) | {"category_id": category, "score": score, "bbox": box}
            for name, category, score, box in rows
        ]
