"""A model ready for use: pictures in, detections out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sleuth.errors import UserError
from sleuth.models.detr import Detr
from sleuth.runtime.detections import Detections
from sleuth.runtime.devices import choose_device
from sleuth.runtime.models import open_model
from sleuth.runtime.sources import Frame, Source, expand_sources, frames_of
from sleuth.tasks.detection import RawDetections, decode_detections, preprocess_images
from sleuth.types import ImageBatch
from sleuth.weights.checkpoint import LoadedModel, ModelCard

# How many batches of pictures may wait for others of their shape.
_WAITING_BATCHES = 4

_Waiting = list[tuple[Frame, Detections | None]]


def load(name_or_path: str | Path, device: str = "auto") -> "Predictor":
    """A model ready to find objects.

    Args:
        name_or_path: a name from the catalog that has weights (``detr-scenes``), a ``.safetensors`` file that
            `sleuth train` wrote, or its run folder.
        device: auto, cpu, cuda, cuda:1 or mps.

    Raises:
        UserError: there is no such model or device, or the file is broken.
    """
    return Predictor(open_model(name_or_path), device=choose_device(device))


class Predictor:
    """Finds objects with one model.

    Args:
        loaded: the model and its card.
        device: where it runs; the model is moved there.
    """

    def __init__(self, loaded: LoadedModel, *, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")
        self.model: Detr = loaded.model.to(self.device).eval()
        self.card: ModelCard = loaded.card
        self.preprocess = loaded.preprocess

    def __repr__(self) -> str:
        return f"<Predictor: {self.card.architecture}, {len(self.names)} classes, on {self.device}>"

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.card.names

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Category id of each label in the data set that the model was trained on."""
        return self.card.category_ids

    def predict(
        self, sources: Source | Iterable[Source], threshold: float = 0.5, *, batch_size: int = 1
    ) -> list[Detections]:
        """Find the objects in each picture.

        Args:
            sources: a path of a picture, folder, glob or video, a PIL image, a NumPy array [height, width, 3], a
                tensor [3, height, width], or any number of those.
            threshold: the least score to report, 0 to 1.
            batch_size: pictures at a time; only pictures of one shape share a batch, so none is ever padded. At 1 a
                picture's answer is the same to the bit whatever else is asked; above, to rounding.

        Returns:
            One `Detections` for each picture or frame, in the order of the sources.

        Raises:
            UserError: a source is missing or cannot be read, or a number is out of range.
        """
        frames = frames_of(expand_sources(sources))
        return list(self.stream(frames, threshold, batch_size=batch_size, keep_pixels=False))

    def stream(
        self, frames: Iterable[Frame], threshold: float = 0.5, *, batch_size: int = 1, keep_pixels: bool = True
    ) -> Iterator[Detections]:
        """As `predict`, for frames as they come, holding no more of them than a few batches.

        Args:
            frames: the pictures, in any number.
            threshold: the least score to report.
            batch_size: pictures at a time.
            keep_pixels: keep the picture in its `Detections` rather than read its file again when it is drawn.

        Raises:
            UserError: as for `predict`.
        """
        if not 0 <= threshold <= 1:
            raise UserError(f"the threshold {threshold:g} is not between 0 and 1", where="threshold")
        if batch_size < 1:
            raise UserError(f"the batch size {batch_size} is not at least 1", where="batch_size")
        waiting: _Waiting = []
        for frame in frames:
            waiting.append((frame, None))
            alike = self._alike(waiting, frame)
            if len(alike) == batch_size:
                self._answer(waiting, alike, threshold, keep_pixels)
            if len(waiting) >= _WAITING_BATCHES * batch_size and waiting[0][1] is None:
                self._answer(waiting, self._alike(waiting, waiting[0][0]), threshold, keep_pixels)
            yield from _done(waiting)
        while waiting:
            self._answer(waiting, self._alike(waiting, waiting[0][0])[:batch_size], threshold, keep_pixels)
            yield from _done(waiting)

    def _alike(self, waiting: _Waiting, frame: Frame) -> list[int]:
        """Which of the waiting pictures become an input of the same shape as this one."""
        shape = self._input_hw(frame)
        return [row for row, (other, found) in enumerate(waiting) if found is None and self._input_hw(other) == shape]

    def _input_hw(self, frame: Frame) -> tuple[int, int]:
        return self.preprocess.size_for((frame.image.shape[1], frame.image.shape[2]))

    def _answer(self, waiting: _Waiting, rows: Sequence[int], threshold: float, keep_pixels: bool) -> None:
        frames = [waiting[row][0] for row in rows]
        for row, frame, found in zip(rows, frames, self._find(frames, threshold), strict=True):
            waiting[row] = (frame, self._describe(frame, found, keep_pixels or frame.path is None))

    @torch.inference_mode()
    def _find(self, frames: Sequence[Frame], threshold: float) -> list[RawDetections]:
        images = preprocess_images([frame.image for frame in frames], self.preprocess).to(self.device)
        prediction = self.model(self._as_model(images))
        sizes_hw = [(frame.image.shape[1], frame.image.shape[2]) for frame in frames]
        return decode_detections(prediction, sizes_hw, threshold=threshold)

    def _as_model(self, images: ImageBatch) -> ImageBatch:
        dtype = next((parameter.dtype for parameter in self.model.parameters()), torch.float32)
        return replace(images, pixels=images.pixels.to(dtype))

    def _describe(self, frame: Frame, found: RawDetections, keep_pixels: bool) -> Detections:
        finite = found.scores.isfinite() & found.boxes_xyxy_px.isfinite().all(-1)
        labels = found.labels[finite].cpu()
        return Detections(
            boxes_xyxy_px=found.boxes_xyxy_px[finite].cpu(),
            scores=found.scores[finite].cpu(),
            labels=labels,
            names=tuple(self.names[label] for label in labels.tolist()),
            category_ids=tuple(self.category_ids[label] for label in labels.tolist()),
            size_hw=(frame.image.shape[1], frame.image.shape[2]),
            source=frame.name,
            path=frame.path,
            video=frame.video,
            pixels=np.ascontiguousarray(frame.image.movedim(0, -1).numpy()) if keep_pixels else None,
        )


def _done(waiting: _Waiting) -> Iterator[Detections]:
    """Take out what is answered, as far as everything before it is."""
    while waiting and waiting[0][1] is not None:
        found = waiting.pop(0)[1]
        assert found is not None
        yield found
