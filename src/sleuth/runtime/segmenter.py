"""A model of pixel classes as a function: pictures in, maps of classes out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from sleuth.render.masks import Region, draw_panoptic
from sleuth.render.palette import PALETTE
from sleuth.runtime.devices import choose_device
from sleuth.runtime.sources import Frame, Source, expand_sources, frames_of
from sleuth.tasks.semantic import UNLABELLED, label_map
from sleuth.tasks.semantic_views import ONE_LOOK, Views, class_scores
from sleuth.weights.segmenter import LoadedSegmenter, open_segmenter


@dataclass(frozen=True, eq=False)
class Segmented:
    """What the pixels of a picture show.

    Args:
        source: the picture's name.
        image: RGB, 0 to 255.
        labels: the class of each pixel of the picture at its own size.
        names: name of each class, by label.
        path: the picture's file; None for frames and pictures in memory.
        video: the video that it is a frame of.
    """

    source: str
    image: UInt8[np.ndarray, "height width 3"]
    labels: UInt8[np.ndarray, "height width"]
    names: tuple[str, ...]
    path: Path | None = None
    video: Path | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.labels.shape[0], self.labels.shape[1]

    @property
    def shares(self) -> dict[str, float]:
        """The share of the picture that each class has, the largest first; classes without a pixel are left out."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.names))
        order = np.argsort(-counts, kind="stable")
        return {self.names[label]: float(counts[label] / self.labels.size) for label in order if counts[label]}

    def plot(self, *, enlarge: int = 1, legend: bool = True) -> Image.Image:
        """The picture with each class in its colour.

        Args:
            enlarge: how many times larger it is drawn.
            legend: write the classes and their colours below the picture.
        """
        picture = self.image
        if enlarge > 1:
            size = (picture.shape[1] * enlarge, picture.shape[0] * enlarge)
            picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
        return Image.fromarray(draw_labels(picture, self.labels, self.names, legend=legend))

    def mask(self) -> Image.Image:
        """The classes as a PNG of numbers, with a palette, so that it shows as a picture, too."""
        page = Image.new("P", (self.labels.shape[1], self.labels.shape[0]))
        page.frombytes(np.ascontiguousarray(self.labels).tobytes())
        page.putpalette([channel for label in range(256) for channel in PALETTE[label % len(PALETTE)]])
        return page

    def to_json(self) -> dict[str, Any]:
        """The share of each class, as plain values."""
        height, width = self.size_hw
        numbers = {name: label for label, name in enumerate(self.names)}
        classes = [
            {"label": name, "class_id": numbers[name], "pixels": round(share * self.labels.size), "share": share}
            for name, share in self.shares.items()
        ]
        return {"image": self.source, "width": width, "height": height, "classes": classes}


class SemanticPredictor:
    """Gives every pixel of pictures a class.

    Args:
        loaded: the model and what belongs to it.
        device: where it runs; the model is moved there.
    """

    def __init__(self, loaded: LoadedSegmenter, *, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")
        self.loaded = loaded
        self.model = loaded.model.to(self.device).eval()

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.loaded.names

    def segment(self, sources: Source | Iterable[Source], views: Views = ONE_LOOK) -> list[Segmented]:
        """The class of every pixel of each picture.

        Args:
            sources: a path of a picture, folder, glob or video, a picture in memory, or any number of those.
            views: how each picture is looked at: as a whole or in windows, at several sizes, mirrored.

        Raises:
            UserError: a picture cannot be read, or is smaller than a patch.
        """
        return list(self.stream(frames_of(expand_sources(sources)), views))

    def stream(self, frames: Iterable[Frame], views: Views = ONE_LOOK) -> Iterator[Segmented]:
        """The same, picture after picture."""
        for frame in frames:
            height, width = frame.image.shape[1:]
            scores = class_scores(self.model, frame.image, self.loaded.preprocess, views)
            labels = label_map(scores, (height, width)).cpu().numpy()
            picture = frame.image.permute(1, 2, 0).contiguous().numpy()
            yield Segmented(frame.name, picture, labels, self.names, frame.path, frame.video)


def draw_labels(
    picture: UInt8[np.ndarray, "height width 3"],
    labels: UInt8[np.ndarray, "_ _"],
    names: tuple[str, ...],
    *,
    legend: bool = True,
) -> UInt8[np.ndarray, "_ width 3"]:
    """A copy of a picture with each class in translucent colour; pixels without a class are grey and hatched.

    Args:
        picture: RGB, 0 to 255.
        labels: the class of each pixel, at the picture's size or smaller; 255 for none.
        names: of the classes.
        legend: write the classes and their colours below the picture.
    """
    counts = np.bincount(labels.ravel(), minlength=256)[:UNLABELLED]
    regions = [
        Region(label + 1, label, names[label], names[label] if legend else "", int(counts[label]), is_thing=False)
        for label in np.flatnonzero(counts).tolist()
    ]
    ids = np.where(labels == UNLABELLED, 0, labels.astype(np.int32) + 1).astype(np.int32)
    return draw_panoptic(picture, ids, regions, legend=legend)


def load_segmenter(name_or_path: str, device: str = "auto") -> SemanticPredictor:
    """A model of pixel classes by its file or run folder.

    Raises:
        UserError: there is no such model or device.
    """
    where = choose_device(device)
    return SemanticPredictor(open_segmenter(name_or_path), device=where)
