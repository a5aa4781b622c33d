"""What each kind of augmentation makes of a data set, and how long it takes on one core.

    python benchmarks/augmentation.py --data shared/data/bccd --fit 240 320 --sheet docs/pictures/augmentation.png

Pictures are decoded before the clock starts. Time is that of the processor, not of the clock on the wall.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from sleuth.data.cache import CachedSource
from sleuth.data.open import open_data
from sleuth.data.samples import Sample
from sleuth.data.source import PictureSource
from sleuth.data.stream import TrainingStream
from sleuth.data.transforms import Augmentation
from sleuth.render.sheet import Cell, contact_sheet

COLOURS: dict[str, Any] = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.3, "hue": 0.05}
KINDS: dict[str, dict[str, Any]] = {
    "fit alone": {},
    "flip_vertical, turn": {"flip_vertical": True, "turn": True},
    "safe_crop": {"safe_crop": 1.0},
    "scale_jitter": {"scale_jitter": (1.3, 1.8)},
    "zoom_out": {"zoom_out": 1.0},
    "colours": COLOURS,
    "copy_paste": {"copy_paste": 1.0},
    "mixup": {"mixup": 1.0},
    "mosaic": {"mosaic": 1.0},
    "mosaic, turn": {"mosaic": 1.0, "flip_vertical": True, "turn": True},
    "mosaic, colours": {"mosaic": 1.0} | COLOURS,
    "mosaic, copy_paste, colours": {"mosaic": 1.0, "copy_paste": 1.0} | COLOURS,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--fit", type=int, nargs=2, default=(240, 320), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--sheet", type=Path, help="write a picture of them")
    parser.add_argument("--pictures", type=int, default=200, help="how many to time")
    words = parser.parse_args()
    torch.set_num_threads(1)
    data = open_data(words.data, None, words.split)
    cells = []
    for place, (name, keys) in enumerate(KINDS.items()):
        augmentation = Augmentation.fitted(tuple(words.fit), **keys)
        source = CachedSource(PictureSource(data), budget=2**32, longest=augmentation.longest_needed())
        for index in range(len(source)):
            source.load(index)
        stream = TrainingStream(source, augmentation, batch_size=8)
        start, served = time.process_time(), 0
        while served < words.pictures:
            for _, targets in stream.epoch(served):
                served += len(targets)
        print(f"{name:28} {(time.process_time() - start) / served * 1e3:6.2f} ms a picture")
        cells.append(_cell(name, _example(augmentation, source, place)))
    if words.sheet is not None:
        legend = list(enumerate(data.names))
        page = contact_sheet(cells, columns=4, side=240, heading=f"{data.root.name}, augmented", legend=legend)
        # 256 colours are enough to see what is meant, at a third of the size.
        colours = Image.fromarray(page).quantize(256)
        colours.save(words.sheet, optimize=True)


def _example(augmentation: Augmentation, source: CachedSource, place: int) -> Sample:
    def draw() -> Sample:
        return source.load(int(torch.randint(0, len(source), ())))

    torch.manual_seed(place)
    return augmentation.compose(source.load(place * 7 % len(source)), draw, 0)


def _cell(name: str, sample: Sample) -> Cell:
    picture = sample.image.permute(1, 2, 0).contiguous().numpy()
    boxes = sample.boxes_xyxy_px.numpy().astype(np.float64)
    return Cell(picture, f"{name}: {len(boxes)}", boxes, sample.labels.numpy())


if __name__ == "__main__":
    main()
