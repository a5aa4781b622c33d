"""Pictures of what a model finds, for run folders and the demo."""

from pathlib import Path

import torch
from PIL import Image
from torch import nn

from sleuth.data.samples import Sample
from sleuth.files import atomic_write
from sleuth.render.boxes import caption
from sleuth.render.sheet import Cell, contact_sheet
from sleuth.runtime.detections import Detections
from sleuth.tasks.detection import Preprocess, RawDetections, decode_detections, preprocess_images


@torch.no_grad()
def find(model: nn.Module, samples: list[Sample], preprocess: Preprocess, *, threshold: float) -> list[RawDetections]:
    """What a model in evaluation mode finds in samples, one at a time."""
    device = next(model.parameters()).device
    found = []
    for sample in samples:
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
        f"{sample.name}: {len(found.scores)} found, {len(sample.labels)} there",
        found.boxes_xyxy_px.cpu().double().numpy(),
        found.labels.cpu().numpy(),
        captions,
    )


def write_picture(path: Path, cells: list[Cell], *, heading: str = "", side: int = 256, columns: int = 3) -> None:
    """Write cells as one page."""
    page = contact_sheet(cells, columns=columns, side=side, heading=heading)
    with atomic_write(path) as temporary:
        Image.fromarray(page).save(temporary)
