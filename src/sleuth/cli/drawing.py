"""What a model finds in pictures and in words, for run folders, the demo and predict."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from sleuth.data.samples import Sample
from sleuth.files import atomic_write
from sleuth.geometry.tiles import Tiling
from sleuth.render.boxes import caption
from sleuth.render.palette import PAPER
from sleuth.render.sheet import Cell, contact_sheet
from sleuth.runtime.detections import Detections
from sleuth.tasks.detection import Preprocess, RawDetections, decode_detections, preprocess_images
from sleuth.tasks.tiled import detect_on_tiles

_TOLD = 8


@torch.no_grad()
def find(
    model: nn.Module,
    samples: list[Sample],
    preprocess: Preprocess,
    *,
    threshold: float,
    tiling: Tiling | None = None,
) -> list[RawDetections]:
    """What a model in evaluation mode finds in samples, one at a time; in tiles of them too, if asked to."""
    device = next(model.parameters()).device
    found = []
    for sample in samples:
        if tiling is not None:
            found.append(detect_on_tiles(model, sample.image, preprocess, tiling, threshold=threshold))
            continue
        images = preprocess_images([sample.image], preprocess).to(device)
        found += decode_detections(model(images), [(sample.image.shape[1], sample.image.shape[2])], threshold=threshold)
    return found


def found_cell(sample: Sample, found: RawDetections | Detections, names: tuple[str, ...]) -> Cell:
    """A picture with what was found in it."""
    captions = tuple(
        caption(names[label], score) for label, score in zip(found.labels.tolist(), found.scores.tolist(), strict=True)
    )
    return Cell(
        sample.image.movedim(0, -1).numpy(),
        f"{len(found.scores)} found, {len(sample.labels)} there: {sample.name}",
        found.boxes_xyxy_px.cpu().double().numpy(),
        found.labels.cpu().numpy(),
        captions,
    )


def parted_cells(found: Sequence[Detections], *, enlarge: int) -> tuple[list[Cell], int]:
    """Pictures parted into things and stuff, each with its legend, and the side that shows them at their own size."""
    drawn = [np.asarray(each.plot(enlarge=enlarge)) for each in found]
    tall, side = max(page.shape[0] for page in drawn), max(max(page.shape[:2]) for page in drawn)
    none = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)
    cells = []
    for each, page in zip(found, drawn, strict=True):
        # Legends differ in height: with paper below all pages are of one size, and none is scaled.
        paper = np.full((tall - page.shape[0], *page.shape[1:]), PAPER, dtype=np.uint8)
        cells.append(Cell(np.concatenate([page, paper]), each.source, *none))
    return cells, side


def write_picture(path: Path, cells: list[Cell], *, heading: str = "", side: int = 256, columns: int = 3) -> None:
    """Write cells as one page."""
    page = contact_sheet(cells, columns=columns, side=side, heading=heading)
    with atomic_write(path) as temporary:
        Image.fromarray(page).save(temporary)


def told_segments(found: Detections) -> tuple[str, str]:
    """Of a parted picture the best few things, with scores, and the largest kinds of stuff, with their shares."""
    things = sorted((each for each in found.segments or () if each.is_thing), key=lambda each: -each.score)
    stuff = sorted((each for each in found.segments or () if not each.is_thing), key=lambda each: -each.area)
    height, width = found.size_hw
    shares = [f"{each.name} {each.area / (height * width):.0%}" for each in stuff]
    return few([caption(each.name, each.score) for each in things]), few(shares)


def few(captions: Sequence[str]) -> str:
    """The first few on one line, and how many more there are."""
    told = list(captions[:_TOLD])
    if len(captions) > _TOLD:
        told[-1] += f" and {len(captions) - _TOLD} more"
    return ", ".join(told)
