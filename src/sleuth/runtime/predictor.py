"""A model ready for use: pictures in, detections out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.geometry.rle import PackedMasks
from sleuth.geometry.tiles import Tiling
from sleuth.models.detector import Detector
from sleuth.nn.folding import FoldedConvolutions
from sleuth.runtime.detections import Detections
from sleuth.runtime.devices import choose_device
from sleuth.runtime.segments import find_masks, find_panoptic, keep_masks
from sleuth.runtime.sources import Frame, Source, expand_sources, frames_of
from sleuth.tasks.detection import RawDetections, decode_detections, preprocess_images
from sleuth.tasks.segmentation import PanopticRule
from sleuth.tasks.tiled import detect_on_tiles, segment_on_tiles
from sleuth.types.batches import ImageBatch
from sleuth.types.predictions import SetPrediction
from sleuth.weights.checkpoint import LoadedModel, ModelCard
from sleuth.weights.resolve import open_model

# How many batches of pictures may wait for others of their shape.
_WAITING_BATCHES = 4

_Waiting = list[tuple[Frame, Detections | None]]


@dataclass(frozen=True)
class _Wish:
    """What to say about each picture."""

    threshold: float
    masks: bool
    panoptic: bool
    rule: PanopticRule
    keep_pixels: bool
    tiling: Tiling | None


def load_predictor(name_or_path: str | Path, device: str = "auto") -> "Predictor":
    """A model ready to find objects.

    Args:
        name_or_path: as for `sleuth.load`.
        device: auto, cpu, cuda, cuda:1 or mps.

    Raises:
        UserError: there is no such model or device, the model cannot be had, or its files are broken.
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
        self.model: Detector = loaded.model.to(self.device).eval()
        self._folded = FoldedConvolutions(self.model)
        self.card: ModelCard = loaded.card
        self.preprocess = loaded.preprocess
        self.panoptic_rule = loaded.panoptic_rule

    def __repr__(self) -> str:
        return f"<Predictor: {self.card.architecture}, {len(self.names)} classes, on {self.device}>"

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.card.names

    @property
    def is_thing(self) -> tuple[bool, ...]:
        """For each label, whether it is a countable thing; stuff, such as sky, is one segment a picture."""
        return self.card.is_thing

    @property
    def has_masks(self) -> bool:
        """Whether the model has a mask head."""
        return self.model.mask_head is not None

    @property
    def has_stuff(self) -> bool:
        """Whether some of the model's classes are stuff, so that it can part whole pictures."""
        return not all(self.is_thing)

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Category id of each label in the data set that the model was trained on."""
        return self.card.category_ids

    def predict(
        self,
        sources: Source | Iterable[Source],
        threshold: float = 0.5,
        *,
        batch_size: int = 1,
        masks: bool | None = None,
        panoptic: bool | None = None,
        panoptic_threshold: float | None = None,
        tile: int | tuple[int, int] | None = None,
        tile_overlap: float = 0.2,
    ) -> list[Detections]:
        """Find the objects in each picture.

        Args:
            sources: a path of a picture, folder, glob or video, a PIL image, a NumPy array [height, width, 3], a
                tensor [3, height, width], or any number of those.
            threshold: the least score to report, 0 to 1.
            batch_size: pictures at a time; only pictures of one shape share a batch, so none is ever padded. At 1 a
                picture's answer is the same to the bit whatever else is asked; above, to rounding.
            masks: the pixels of each object too; None where the model has a mask head.
            panoptic: part each picture into things and stuff too; None where the model has a mask head and knows
                stuff.
            panoptic_threshold: the score above which an answer takes part in that, 0 to 1; None takes the model's own.
            tile: look at large pictures tile by tile too, for small objects: side of a tile in pixels, or height and
                width. Tiles give boxes and masks of objects, no panoptic map.
            tile_overlap: share of a tile that its neighbour sees too, below 0.9: objects up to so large lie whole in a
                tile.

        Returns:
            One `Detections` for each picture or frame, in the order of the sources.

        Raises:
            UserError: a source is missing or cannot be read, a number is out of range, masks are asked of a model
                without a mask head, or a panoptic map of tiles.
        """
        return list(
            self.stream(
                frames_of(expand_sources(sources)),
                threshold,
                batch_size=batch_size,
                masks=masks,
                panoptic=panoptic,
                panoptic_threshold=panoptic_threshold,
                keep_pixels=False,
                tiling=None if tile is None else Tiling((tile, tile) if isinstance(tile, int) else tile, tile_overlap),
            )
        )

    def stream(
        self,
        frames: Iterable[Frame],
        threshold: float = 0.5,
        *,
        batch_size: int = 1,
        masks: bool | None = None,
        panoptic: bool | None = None,
        panoptic_threshold: float | None = None,
        keep_pixels: bool = True,
        tiling: Tiling | None = None,
    ) -> Iterator[Detections]:
        """As `predict`, for frames as they come, holding no more of them than a few batches.

        Args:
            frames: the pictures, in any number.
            threshold: the least score to report.
            batch_size: pictures at a time.
            masks: as in `predict`.
            panoptic: as in `predict`.
            panoptic_threshold: as in `predict`.
            keep_pixels: keep the picture in its `Detections` rather than read its file again when it is drawn.
            tiling: look at large pictures tile by tile too; ``batch_size`` is then that of tiles.

        Raises:
            UserError: as for `predict`.
        """
        rule = self.panoptic_rule
        for name, value in (("threshold", threshold), ("panoptic_threshold", panoptic_threshold or 0.0)):
            if not 0 <= value <= 1:
                raise UserError(f"{value:g} is not between 0 and 1", where=name)
        if batch_size < 1:
            raise UserError(f"the batch size {batch_size} is not at least 1", where="batch_size")
        if (masks or panoptic) and not self.has_masks:
            raise UserError(
                f"the model has no mask head: it finds boxes, not {'masks' if masks else 'panoptic maps'}",
                where="masks" if masks else "panoptic",
                mend="use a model for segmentation",
            )
        if tiling is not None:
            if panoptic:
                what, mend = "tiles give boxes and masks, not panoptic maps", "leave out tiles, or the panoptic map"
                raise UserError(what, where="tile", mend=mend)
            panoptic = False
        wish = _Wish(
            threshold=threshold,
            masks=self.has_masks if masks is None else masks,
            panoptic=self.has_masks and self.has_stuff if panoptic is None else panoptic,
            rule=rule if panoptic_threshold is None else replace(rule, threshold=panoptic_threshold),
            keep_pixels=keep_pixels,
            tiling=tiling,
        )
        if tiling is not None:
            yield from (self._answer_on_tiles(frame, wish, tiling, batch_size) for frame in frames)
            return
        waiting: _Waiting = []
        for frame in frames:
            waiting.append((frame, None))
            alike = self._alike(waiting, frame)
            if len(alike) == batch_size:
                self._answer(waiting, alike, wish)
            if len(waiting) >= _WAITING_BATCHES * batch_size and waiting[0][1] is None:
                self._answer(waiting, self._alike(waiting, waiting[0][0]), wish)
            yield from _done(waiting)
        while waiting:
            self._answer(waiting, self._alike(waiting, waiting[0][0])[:batch_size], wish)
            yield from _done(waiting)

    def _alike(self, waiting: _Waiting, frame: Frame) -> list[int]:
        """Which of the waiting pictures become an input of the same shape as this one."""
        shape = self._input_hw(frame)
        return [row for row, (other, found) in enumerate(waiting) if found is None and self._input_hw(other) == shape]

    def _input_hw(self, frame: Frame) -> tuple[int, int]:
        return self.preprocess.size_for(_size_of(frame))

    @torch.inference_mode()
    def _answer(self, waiting: _Waiting, rows: Sequence[int], wish: _Wish) -> None:
        frames = [waiting[row][0] for row in rows]
        images = preprocess_images([frame.image for frame in frames], self.preprocess).to(self.device)
        with self._folded:
            prediction = self.model(self._as_model(images))
        sizes_hw = [_size_of(frame) for frame in frames]
        every = decode_detections(prediction, sizes_hw, threshold=wish.threshold)
        for picture, (row, frame, found) in enumerate(zip(rows, frames, every, strict=True)):
            # Masks of one picture are kept only as long as it is described.
            waiting[row] = (frame, self._describe(frame, found, keep_masks(prediction), picture, wish))

    def _answer_on_tiles(self, frame: Frame, wish: _Wish, tiling: Tiling, batch_size: int) -> Detections:
        ask = (self.model, frame.image, self.preprocess, tiling)
        masks: PackedMasks | None = None
        with self._folded:
            if wish.masks:
                found, masks = segment_on_tiles(
                    *ask, _pack_masks, threshold=wish.threshold, batch_size=batch_size, is_thing=self.is_thing
                )
            else:
                found = detect_on_tiles(*ask, threshold=wish.threshold, batch_size=batch_size, is_thing=self.is_thing)
        return replace(self._detections(frame, found, wish), packed_masks=masks)

    def _as_model(self, images: ImageBatch) -> ImageBatch:
        dtype = next((parameter.dtype for parameter in self.model.parameters()), torch.float32)
        return replace(images, pixels=images.pixels.to(dtype))

    def _describe(
        self, frame: Frame, found: RawDetections, prediction: SetPrediction, picture: int, wish: _Wish
    ) -> Detections:
        """One picture's answer; what is not finite is left out."""
        size_hw = _size_of(frame)
        rows = (found.scores.isfinite() & found.boxes_xyxy_px.isfinite().all(-1)).nonzero()[:, 0]
        packed = None
        if wish.masks:
            packed, finite = find_masks(prediction, picture, found.queries[rows], size_hw=size_hw)
            rows = rows[finite.to(rows.device)]
        ids, segments = None, None
        if wish.panoptic:
            ids, segments = find_panoptic(prediction, picture, size_hw=size_hw, card=self.card, rule=wish.rule)
        kept = RawDetections(found.boxes_xyxy_px[rows], found.scores[rows], found.labels[rows], found.queries[rows])
        return replace(
            self._detections(frame, kept, wish),
            packed_masks=packed,
            packed_panoptic=ids,
            segments=segments,
            queries=kept.queries.cpu(),
        )

    def _detections(self, frame: Frame, found: RawDetections, wish: _Wish) -> Detections:
        """Boxes of a picture with the names of their classes."""
        labels = found.labels.cpu()
        keep_pixels = wish.keep_pixels or frame.path is None
        return Detections(
            boxes_xyxy_px=found.boxes_xyxy_px.cpu(),
            scores=found.scores.cpu(),
            labels=labels,
            names=tuple(self.names[label] for label in labels.tolist()),
            category_ids=tuple(self.category_ids[label] for label in labels.tolist()),
            size_hw=_size_of(frame),
            source=frame.name,
            path=frame.path,
            video=frame.video,
            pixels=np.ascontiguousarray(frame.image.movedim(0, -1).numpy()) if keep_pixels else None,
        )


def _pack_masks(
    prediction: SetPrediction, picture: int, queries: Tensor, size_hw: tuple[int, int]
) -> tuple[PackedMasks, Tensor]:
    """The finite masks of some queries of one view, and their rows."""
    return find_masks(keep_masks(prediction), picture, queries, size_hw=size_hw)


def _size_of(frame: Frame) -> tuple[int, int]:
    return (frame.image.shape[1], frame.image.shape[2])


def _done(waiting: _Waiting) -> Iterator[Detections]:
    """Take out what is answered, as far as everything before it is."""
    while waiting and waiting[0][1] is not None:
        found = waiting.pop(0)[1]
        assert found is not None
        yield found
