"""The pictures of a source as a model takes them, each with its ground truth: read ahead, and batched by shape."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int64

from sleuth.data.samples import Sample, SampleSource
from sleuth.data.source import PictureSource
from sleuth.errors import UserError
from sleuth.evaluation.panoptic import PanopticMap
from sleuth.geometry.rle import PackedMasks
from sleuth.tasks.preprocess import Preprocess, preprocess_images
from sleuth.types.batches import ImageBatch

_LOADERS = 2
# How many batches of pictures may wait for others of their shape.
_WAITING_BATCHES = 4
_NO_PICTURE = torch.zeros(3, 0, 0, dtype=torch.uint8)


@dataclass(frozen=True, eq=False)
class Picture:
    """What is kept of a picture once it is the model's input.

    Args:
        index: its place in the source.
        sample: without image and masks.
        size_hw: height and width of the sample's image in pixels.
        input_hw: the same of the model's input, without padding.
        masks: of its objects, crowds of a data set in files included; None where there are only boxes.
        panoptic: the ground truth as a map, if it was asked for.
    """

    index: int
    sample: Sample
    size_hw: tuple[int, int]
    input_hw: tuple[int, int]
    masks: PackedMasks | None = None
    panoptic: PanopticMap | None = None

    @classmethod
    def of(cls, index: int, sample: Sample, *, input_hw: tuple[int, int]) -> "Picture":
        """A picture of which boxes alone matter; its pixels are let go."""
        size_hw = (sample.image.shape[1], sample.image.shape[2])
        return cls(index, replace(sample, image=_NO_PICTURE, masks=None), size_hw, input_hw)


def batches(
    source: SampleSource, preprocess: Preprocess, size: int, *, panoptic: bool = False
) -> Generator[tuple[list[Picture], ImageBatch], None, None]:
    """Batches of pictures whose inputs have one shape, so that none is padded for another's sake.

    A padded picture's answer differs a little. With one shape throughout, batches come in the order of the source;
    else a picture waits for others of its shape. No more than a few batches wait.

    Args:
        source: the pictures.
        preprocess: how they become the model's input.
        size: pictures at a time.
        panoptic: make a panoptic map of each ground truth that has masks.

    Raises:
        UserError: the size is below 1, or a picture cannot be read.
    """
    if size < 1:
        raise UserError(f"the batch size is {size}", mend="choose 1 or more")
    waiting: list[tuple[Picture, ImageBatch]] = []
    for picture, image in _loaded(source, preprocess, size, panoptic):
        waiting.append((picture, image))
        if len(_alike(waiting, picture)) == size:
            yield _take(waiting, picture, size)
        elif len(waiting) >= _WAITING_BATCHES * size:
            yield _take(waiting, waiting[0][0], size)
    while waiting:
        yield _take(waiting, waiting[0][0], size)


def _loaded(
    source: SampleSource, preprocess: Preprocess, size: int, panoptic: bool
) -> Iterator[tuple[Picture, ImageBatch]]:
    """Pictures in the order of the source, read and resized ahead by a few threads."""

    def load(index: int) -> tuple[Picture, ImageBatch]:
        sample = source.load(index)
        size_hw = (sample.image.shape[1], sample.image.shape[2])
        labels, crowd, masks = _objects(source, index, sample)
        picture = replace(
            Picture.of(index, sample, input_hw=preprocess.size_for(size_hw)),
            masks=None if masks is None else PackedMasks.pack(masks),
            panoptic=panoptic_map(masks, labels, crowd, sample.name) if panoptic and masks is not None else None,
        )
        return picture, preprocess_images([sample.image], preprocess)

    ahead: deque[Future[tuple[Picture, ImageBatch]]] = deque()
    with ThreadPoolExecutor(_LOADERS) as pool:
        try:
            for index in range(len(source)):
                ahead.append(pool.submit(load, index))
                if len(ahead) > _LOADERS * size:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _objects(
    source: SampleSource, index: int, sample: Sample
) -> tuple[np.ndarray, np.ndarray, Bool[torch.Tensor, "objects height width"] | None]:
    """Labels, crowds and masks of a picture's objects.

    Samples are served without crowds, and without objects whose mask is empty; the record of a picture has them.
    """
    record = source.data.records[index] if isinstance(source, PictureSource) else None
    if record is not None and record.masks is not None and len(record) > len(sample.labels):
        return record.labels, record.crowd, record.masks.decode()
    return sample.labels.numpy(), np.zeros(len(sample.labels), dtype=bool), sample.masks


def panoptic_map(
    masks: Bool[torch.Tensor, "objects height width"],
    labels: Int64[np.ndarray, " objects"],
    crowd: Bool[np.ndarray, " objects"],
    name: str = "",
) -> PanopticMap:
    """A map of masks; where some overlap the last one keeps the pixel. An object without a pixel is left out.

    Args:
        masks: of the objects.
        labels: their classes.
        crowd: True for a region of many objects.
        name: the picture, for messages.
    """
    ids = np.zeros(masks.shape[1:], dtype=np.int64)
    for number, mask in enumerate(masks.numpy(), start=1):
        ids[mask] = number
    seen = np.unique(ids[ids > 0])
    return PanopticMap(ids=ids, segment_ids=seen, labels=labels[seen - 1], crowd=crowd[seen - 1], name=name)


def _alike(waiting: list[tuple[Picture, ImageBatch]], picture: Picture) -> list[int]:
    """Which of the waiting pictures have an input of this one's shape."""
    return [row for row, (other, _) in enumerate(waiting) if other.input_hw == picture.input_hw]


def _take(waiting: list[tuple[Picture, ImageBatch]], like: Picture, size: int) -> tuple[list[Picture], ImageBatch]:
    """Take the first few pictures of one shape out of those that wait."""
    rows = _alike(waiting, like)[:size]
    taken = [waiting[row] for row in rows]
    for row in reversed(rows):
        del waiting[row]
    pixels = torch.cat([image.pixels for _, image in taken])
    valid = torch.cat([image.valid for _, image in taken])
    return [picture for picture, _ in taken], ImageBatch(pixels=pixels, valid=valid)
