"""A contact sheet of a data set: what the annotations look like on the pictures."""

from pathlib import Path

import numpy as np
from PIL import Image

from sleuth.data.pictures import read_picture
from sleuth.data.records import DetectionData, PictureRecord
from sleuth.errors import UserError
from sleuth.files import atomic_write
from sleuth.geometry.rle import PackedMasks
from sleuth.render.palette import colour_of
from sleuth.render.sheet import Cell, contact_sheet

# With more objects than this in a picture, captions would hide it; the legend tells the colours.
MOST_CAPTIONS = 8
MOST_LEGEND = 40


def write_contact_sheet(data: DetectionData, path: Path | str, count: int = 16) -> Path:
    """Write a PNG of some annotated pictures, spread evenly over the data set, with masks where the data has them.

    Args:
        data: one split of a data set.
        path: the file to write.
        count: most pictures to show.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(path)
    shown = min(count, len(data))
    chosen = [place * len(data) // shown for place in range(shown)]
    cells = [_cell(data.records[place], data) for place in chosen]
    used = sorted({int(label) for place in chosen for label in data.records[place].labels})
    split = f", split {data.split}" if data.split else ""
    sheet = contact_sheet(
        cells,
        heading=f"{data.root.name}{split}: {len(cells)} of {len(data):,} pictures",
        legend=[(label, data.names[label]) for label in used[:MOST_LEGEND]],
    )
    with atomic_write(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")
    return path


def _cell(record: PictureRecord, data: DetectionData) -> Cell:
    names = data.names
    title = f"{record.name}: {len(record)}"
    try:
        picture = read_picture(record.path).permute(1, 2, 0).numpy()
        if record.masks is not None:
            picture = _tinted(picture, record.masks.packed(), record.labels)
            record = record.select(np.array(data.is_thing, dtype=bool)[record.labels])  # a mask says enough of stuff
    except UserError as error:
        nothing = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)
        return Cell(None, f"{record.name}: {error.what}", *nothing)
    words = [
        names[label] + (" (crowd)" if crowd else "") for label, crowd in zip(record.labels, record.crowd, strict=True)
    ]
    return Cell(
        picture=picture,
        title=title,
        boxes_xyxy_px=record.boxes_xyxy_px,
        labels=record.labels,
        captions=tuple(words) if len(words) <= MOST_CAPTIONS else (),
    )


def _tinted(picture: np.ndarray, masks: PackedMasks, labels: np.ndarray) -> np.ndarray:
    """A copy of the picture with each mask half in the colour of its class."""
    if masks.size_hw != picture.shape[:2]:
        raise UserError("the masks are of another size than the picture")
    tinted = picture.copy()
    for row, label in enumerate(labels):
        mask = masks[row]
        tinted[mask] = picture[mask] // 2 + np.array(colour_of(int(label)), dtype=np.uint8) // 2
    return tinted
