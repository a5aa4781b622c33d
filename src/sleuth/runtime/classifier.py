"""A classifier as a function: pictures in, the likeliest classes out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from sleuth.errors import UserError
from sleuth.nn.packed import packed_linears
from sleuth.runtime.devices import choose_device
from sleuth.runtime.sources import Frame, Source, expand_sources, frames_of
from sleuth.tasks.classification import Guess, decode_classes
from sleuth.tasks.preprocess import preprocess_images
from sleuth.weights.classifiers import open_classifier
from sleuth.weights.origins.vit_folder import LoadedVit


@dataclass(frozen=True)
class Classified:
    """What a picture shows.

    Args:
        source: the picture's name.
        size_hw: its height and width in pixels.
        guesses: the likeliest classes, the best first.
    """

    source: str
    size_hw: tuple[int, int]
    guesses: tuple[Guess, ...]

    @property
    def name(self) -> str:
        """The likeliest class."""
        return self.guesses[0].name

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        classes = [{"label": each.name, "class_id": each.label, "score": each.score} for each in self.guesses]
        return {"image": self.source, "width": self.size_hw[1], "height": self.size_hw[0], "classes": classes}


class Classifier:
    """Names what pictures show.

    Args:
        loaded: the model and what belongs to it.
        device: where it runs; the model is moved there.

    Raises:
        UserError: the model has features, but no classes.
    """

    def __init__(self, loaded: LoadedVit, *, device: torch.device | None = None) -> None:
        if not loaded.names:
            what = "this model has features, but no classes"
            raise UserError(what, mend="train a head on it: `sleuth train --data DIR --model ... --freeze backbone`")
        self.device = device or torch.device("cpu")
        self.loaded = loaded
        self.model = loaded.model.to(self.device).eval()
        # Whoever asks once gains nothing by copies; whoever asks again has the weights packed.
        self._packed = packed_linears(self.model)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.loaded.names

    def classify(self, sources: Source | Iterable[Source], top: int = 5, *, batch_size: int = 1) -> list[Classified]:
        """The likeliest classes of each picture.

        Args:
            sources: a path of a picture, folder, glob or video, a picture in memory, or any number of those.
            top: how many classes.
            batch_size: pictures at a time.

        Raises:
            UserError: a picture cannot be read, or is smaller than a patch.
        """
        return list(self.stream(frames_of(expand_sources(sources)), top, batch_size=batch_size))

    def stream(self, frames: Iterable[Frame], top: int = 5, *, batch_size: int = 1) -> Iterator[Classified]:
        """The same, picture after picture."""
        frames = iter(frames)
        while batch := list(islice(frames, batch_size)):
            with torch.inference_mode(), self._packed:
                images = preprocess_images([frame.image for frame in batch], self.loaded.preprocess)
                found = decode_classes(self.model(images.to(self.device)), self.names, top)
            for frame, guesses in zip(batch, found, strict=True):
                height, width = frame.image.shape[1:]
                yield Classified(frame.name, (height, width), tuple(guesses))


def load_classifier(name_or_path: str, device: str = "auto") -> Classifier:
    """A classifier by its name, file or folder.

    Raises:
        UserError: there is no such model or device.
    """
    where = choose_device(device)
    return Classifier(open_classifier(name_or_path), device=where)
