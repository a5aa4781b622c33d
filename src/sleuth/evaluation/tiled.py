"""What a model finds in every picture of a source, seen tile by tile."""

from collections.abc import Callable

import numpy as np
from torch import nn

from sleuth.data.samples import SampleSource
from sleuth.errors import UserError
from sleuth.evaluation.columns import Predictions
from sleuth.evaluation.pictures import Picture
from sleuth.evaluation.truth import to_xywh
from sleuth.geometry.tiles import Tiling
from sleuth.tasks.preprocess import Preprocess
from sleuth.tasks.tiled import detect_on_tiles


def find_on_tiles(
    model: nn.Module,
    source: SampleSource,
    preprocess: Preprocess,
    tiling: Tiling,
    *,
    batch_size: int,
    most: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[Picture, Predictions]]:
    """Each picture of a source, without its pixels, and the best answers of its tiles, with the model's labels.

    Args:
        model: in evaluation mode.
        source: the pictures.
        preprocess: how a tile becomes the model's input.
        tiling: how pictures are cut.
        batch_size: tiles at a time.
        most: answers of each tile that are looked at, and of each picture that remain.
        progress: called with the number of pictures done and of all.

    Raises:
        UserError: the batch size is below 1, or a picture cannot be read.
    """
    if batch_size < 1:
        raise UserError(f"the batch size is {batch_size}", mend="choose 1 or more")
    answers = []
    for index in range(len(source)):
        sample = source.load(index)
        size_hw = (sample.image.shape[1], sample.image.shape[2])
        found = detect_on_tiles(model, sample.image, preprocess, tiling, batch_size=batch_size, most=most)
        predictions = Predictions(
            pictures=np.full(len(found.scores[:most]), index),
            labels=found.labels[:most].numpy(),
            boxes_xywh_px=to_xywh(found.boxes_xyxy_px[:most].double().numpy()),
            scores=found.scores[:most].double().numpy(),
        )
        answers.append((Picture.of(index, sample, input_hw=preprocess.size_for(size_hw)), predictions))
        if progress is not None:
            progress(index + 1, len(source))
    return answers
