"""Writing panoptic maps in COCO's form: a PNG for each picture, and one JSON file that says what its segments are."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from sleuth.files import atomic_write
from sleuth.runtime.detections import Detections
from sleuth.runtime.file_names import FileNames
from sleuth.weights.checkpoint import ModelCard

INDEX = "panoptic.json"
MAPS = "panoptic"


class PanopticWriter:
    """Takes detections with panoptic maps and writes ``panoptic.json`` and ``panoptic/*.png``; a context manager.

    That is what panopticapi reads: ids as red + 256 green + 65536 blue, annotations with ``image_id``, ``file_name``
    and ``segments_info``, and categories. Pictures are numbered from 1. The JSON file is written at the end, if all
    went well.

    Args:
        folder: where to write; files of an earlier run are written over.
        card: the model's, for its classes.
    """

    def __init__(self, folder: Path, card: ModelCard) -> None:
        self.folder = folder
        self._categories = [
            {"id": category, "name": name, "isthing": int(thing)}
            for category, name, thing in zip(card.category_ids, card.names, card.is_thing, strict=True)
        ]
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._names = FileNames()

    def __enter__(self) -> "PanopticWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._write_index()

    def add(self, found: Detections) -> Path:
        """Write one picture's map; the path of the PNG.

        Raises:
            UserError: the file cannot be written.
            ValueError: the picture has no panoptic map.
        """
        pixels, segments = found.to_panoptic()
        stem, number = _stem_of(found), len(self._images) + 1
        path = self.folder / MAPS / self._names.take(stem, ".png")
        with atomic_write(path) as temporary:
            Image.fromarray(pixels).save(temporary)
        height, width = found.size_hw
        self._images.append({"id": number, "file_name": found.source, "width": width, "height": height})
        self._annotations.append({"image_id": number, "file_name": path.name, "segments_info": segments})
        return path

    def _write_index(self) -> None:
        page = {"images": self._images, "annotations": self._annotations, "categories": self._categories}
        with atomic_write(self.folder / INDEX) as temporary:
            # Names of files that are not UTF-8 are written as escapes.
            temporary.write_text(json.dumps(page, allow_nan=False) + "\n", encoding="utf-8")


def _stem_of(found: Detections) -> str:
    """The picture's name without suffix; for a frame of a video its number too."""
    if found.video is not None:
        return f"{found.video.stem}-{int(found.source.rpartition('#')[2]):06d}"
    return (found.path or Path(found.source)).stem
