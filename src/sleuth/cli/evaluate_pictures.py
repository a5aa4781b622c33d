"""A page of pictures for a report: beside each other what is there and what was found."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from sleuth.data.samples import Sample, SampleSource
from sleuth.evaluation.pictures import panoptic_map
from sleuth.files import atomic_write
from sleuth.geometry.rle import PackedMasks
from sleuth.geometry.tiles import Tiling
from sleuth.render.boxes import draw_boxes
from sleuth.render.masks import Region, draw_masks, draw_panoptic
from sleuth.render.sheet import Cell, contact_sheet
from sleuth.runtime.predictor import Predictor

PICTURES = 6
_SIDE = 340
_READABLE_SIDE = 400


def write_pictures(
    path: Path,
    predictor: Predictor,
    source: SampleSource,
    *,
    threshold: float,
    masks: bool,
    panoptic: bool,
    tiling: Tiling | None = None,
) -> Path:
    """Draw a few pictures, spread over the source, in pairs: the ground truth at the left, the answer at the right.

    Args:
        path: the PNG to write.
        predictor: the model.
        source: the pictures that were measured.
        threshold: least score of an object to draw.
        masks: draw masks rather than boxes.
        panoptic: draw panoptic maps rather than masks.
        tiling: see large pictures in tiles too.

    Raises:
        UserError: a picture cannot be read, or the file cannot be written.
    """
    cells = []
    for index in np.linspace(0, len(source) - 1, min(PICTURES, len(source))).round().astype(int).tolist():
        sample = source.load(index)
        pixels = np.ascontiguousarray(sample.image.movedim(0, -1).numpy())
        (found,) = predictor.predict(
            [pixels],
            threshold,
            masks=masks,
            panoptic=panoptic,
            tile=None if tiling is None else tiling.size_hw,
            tile_overlap=0.2 if tiling is None else tiling.overlap,
        )
        enlarge = max(1, _READABLE_SIDE // max(found.size_hw))
        there = draw_sample(sample, source, enlarge=enlarge, panoptic=panoptic)
        cells += [_cell(there, f"{sample.name}: as it is"), _cell(np.asarray(found.plot(enlarge=enlarge)), "as found")]
    heading = "Things and stuff" if panoptic else f"Found with a score of {threshold:g} and up"
    page = contact_sheet(cells, columns=4, side=_SIDE, heading=heading)
    with atomic_write(path) as temporary:
        Image.fromarray(page).save(temporary)
    return path


def draw_sample(
    sample: Sample, source: SampleSource, *, enlarge: int = 1, panoptic: bool = False
) -> UInt8[np.ndarray, "_ _ 3"]:
    """A sample's picture with its objects: as a panoptic map, as masks, or as boxes if it has no masks."""
    height, width = sample.image.shape[1] * enlarge, sample.image.shape[2] * enlarge
    picture = Image.fromarray(np.ascontiguousarray(sample.image.movedim(0, -1).numpy()))
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC) if enlarge > 1 else picture)
    labels = sample.labels.numpy()
    names = [source.names[label] for label in labels.tolist()]
    if sample.masks is None:
        return draw_boxes(pixels, sample.boxes_xyxy_px.double().numpy() * enlarge, labels, names)
    packed = PackedMasks.pack(sample.masks)
    regions = [
        Region(row + 1, label, name, name, area, bool(source.is_thing[label]))
        for row, (label, name, area) in enumerate(zip(labels.tolist(), names, packed.areas, strict=True))
    ]
    if not panoptic:
        return draw_masks(pixels, regions, packed.__getitem__)
    truth = panoptic_map(sample.masks, labels, np.zeros(len(labels), dtype=bool))
    seen = set(truth.segment_ids.tolist())
    return draw_panoptic(pixels, truth.ids.astype(np.int32), [each for each in regions if each.id in seen])


def _cell(picture: np.ndarray, title: str) -> Cell:
    return Cell(picture, title, np.zeros((0, 4)), np.zeros(0, dtype=np.int64))
