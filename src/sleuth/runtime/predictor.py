"""From a name or a file to a detector that takes pictures."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from sleuth.errors import UserError
from sleuth.models.detr import Detr
from sleuth.runtime.detections import Detections
from sleuth.runtime.sources import Frame, Source, frames
from sleuth.tasks.detection import Preprocess, decode_detections, preprocess_images
from sleuth.weights.catalog import CATALOG, entry
from sleuth.weights.checkpoint import LoadedModel, ModelCard, load_model


class Predictor:
    """A model that takes pictures and gives detections.

    Args:
        loaded: the model and its card.
        device: where it computes.
    """

    def __init__(self, loaded: LoadedModel, *, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.model: Detr = loaded.model.to(self.device).eval()
        self.card: ModelCard = loaded.card
        self.preprocess: Preprocess = loaded.preprocess

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.card.names

    def predict(
        self, sources: Source | Iterable[Source], *, threshold: float = 0.5, batch_size: int = 4
    ) -> list[Detections]:
        """Find the objects of every picture.

        Args:
            sources: paths of pictures, folders, globs or videos; PIL pictures; uint8 arrays.
            threshold: least score to report, 0 to 1.
            batch_size: most pictures in one run of the model.

        Returns: detections of each picture, in order.

        Raises:
            UserError: a source that is not there or cannot be read.
        """
        return list(self.stream(sources, threshold=threshold, batch_size=batch_size))

    def stream(
        self, sources: Source | Iterable[Source], *, threshold: float = 0.5, batch_size: int = 4
    ) -> Iterator[Detections]:
        """As `predict`, but one after another: for videos and folders larger than memory."""
        if not 0 <= threshold <= 1:
            raise UserError(f"the threshold is {threshold}", where="threshold", mend="give a number from 0 to 1")
        if batch_size < 1:
            raise UserError(f"the batch size is {batch_size}", where="batch_size", mend="give at least 1")
        for batch in self._batches(frames(sources), batch_size):
            yield from self._run(batch, threshold)

    def _batches(self, every: Iterator[Frame], batch_size: int) -> Iterator[list[Frame]]:
        """Neighbours of one input shape: padding would change the answer near the seam."""
        batch: list[Frame] = []
        for frame in every:
            if batch and (len(batch) == batch_size or self._shape(frame) != self._shape(batch[0])):
                yield batch
                batch = []
            batch.append(frame)
        if batch:
            yield batch

    def _shape(self, frame: Frame) -> tuple[int, int]:
        return self.preprocess.size_for((frame.image.shape[1], frame.image.shape[2]))

    @torch.inference_mode()
    def _run(self, batch: list[Frame], threshold: float) -> Iterator[Detections]:
        images = preprocess_images([frame.image for frame in batch], self.preprocess).to(self.device)
        prediction = self.model(images)
        sizes = [(frame.image.shape[1], frame.image.shape[2]) for frame in batch]
        for frame, size_hw, found in zip(
            batch, sizes, decode_detections(prediction, sizes, threshold=threshold), strict=True
        ):
            labels = found.labels.cpu()
            yield Detections(
                boxes_xyxy_px=found.boxes_xyxy_px.cpu(),
                scores=found.scores.cpu(),
                labels=labels,
                names=tuple(self.card.names[label] for label in labels.tolist()),
                category_ids=tuple(self.card.category_ids[label] for label in labels.tolist()),
                size_hw=size_hw,
                source=frame.name,
                picture=frame.image.movedim(0, -1).numpy(),
            )


def load(name_or_path: str | Path, *, device: str = "cpu") -> Predictor:
    """A predictor from a bundled model's name or a ``.safetensors`` file that ``sleuth train`` wrote.

    Args:
        name_or_path: such as ``detr-scenes`` or ``runs/mine/best.safetensors``.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        UserError: no such model or file, a broken file, or a device that is not here.
    """
    return Predictor(load_weights(name_or_path), device=find_device(device))


def load_weights(name_or_path: str | Path) -> LoadedModel:
    """The model and card behind a name or a file.

    Raises:
        UserError: as for `load`.
    """
    text = str(name_or_path)
    if text in CATALOG:
        weights = entry(text).weights
        if weights is None:
            with_weights = ", ".join(name for name, known in CATALOG.items() if known.weights is not None)
            raise UserError(
                f"{text!r} is an architecture without weights",
                mend=f"train one: sleuth train --data DIR --model {text}; with weights: {with_weights}",
            )
        return load_model(weights)
    path = Path(name_or_path)
    if path.suffix in {".pth", ".pt", ".bin", ".ckpt"}:
        raise UserError(
            f"cannot read {path.suffix} weights", where=path, mend="use a .safetensors file that `sleuth train` wrote"
        )
    if path.suffix != ".safetensors" and not path.exists():
        entry(text)
    return load_model(path)


def find_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        UserError: no such device, or it is not here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device {name!r}", where="--device", mend="use cpu, cuda, cuda:1 or mps") from None
    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if device.type not in here:
        raise UserError(f"unsupported device {name!r}", where="--device", mend="use cpu, cuda, cuda:1 or mps")
    if not here[device.type]:
        raise UserError(f"the device {name!r} is not here", where="--device", mend="use cpu")
    return device
