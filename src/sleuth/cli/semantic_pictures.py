"""Pictures with the classes of their pixels: the truth beside what a model takes them for."""

from pathlib import Path

import numpy as np
from torch import nn

from sleuth.data.semantic.samples import SemanticSource
from sleuth.render.sheet import Cell
from sleuth.runtime.segmenter import draw_labels
from sleuth.tasks.preprocess import Preprocess
from sleuth.tasks.semantic import label_map
from sleuth.tasks.semantic_views import ONE_LOOK, Views, class_scores


def pairs(
    model: nn.Module, source: SemanticSource, preprocess: Preprocess, *, count: int, views: Views = ONE_LOOK
) -> list[Cell]:
    """Cells of a page: some pictures, spread over the source, each with its truth and with what was found.

    Args:
        model: in evaluation mode.
        source: the pictures.
        preprocess: how pictures become the model's input.
        count: how many pictures.
        views: how each is looked at.
    """
    cells, names = [], tuple(source.names)
    count = min(count, len(source))
    for place in range(count):
        sample = source.load(place * len(source) // count)
        height, width = sample.labels.shape
        picture = sample.image.permute(1, 2, 0).contiguous().numpy()
        found = label_map(class_scores(model, sample.image, preprocess, views), (height, width)).cpu().numpy()
        for labels, title in ((sample.labels.numpy(), Path(sample.name).name), (found, "as found")):
            drawn = draw_labels(picture, labels, names, legend=False)
            cells.append(Cell(drawn, title, np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64)))
    return cells
