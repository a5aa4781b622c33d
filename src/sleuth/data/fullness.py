"""How many objects training pictures hold after augmentation, from annotations alone.

A mosaic has the objects of up to four pictures and copy-paste adds some, while crops and scales take some away. No
formula tells how many remain: the augmentation itself is drawn a few hundred times, on pictures without pixels.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from sleuth.data.records import PictureRecord
from sleuth.data.samples import SampleSource
from sleuth.data.source import PictureSource
from sleuth.data.tiled import TiledSource
from sleuth.data.transforms import Augmentation

DRAWN = 300
"""Training pictures that are drawn."""

USUAL = 0.99
"""Share of the training pictures that the usual number of objects suffices for."""


@dataclass(frozen=True, eq=False)
class Fullness:
    """How many objects training pictures hold.

    Args:
        counts: objects of each picture that was drawn, at least one.
    """

    counts: Int64[np.ndarray, " drawn"]

    @property
    def most(self) -> int:
        """Objects of the fullest picture that was drawn."""
        return int(self.counts.max())

    @property
    def usual(self) -> int:
        """So many objects or fewer are in 99 of 100 pictures.

        >>> Fullness(np.arange(1, 101)).usual
        99
        """
        return int(np.quantile(self.counts, USUAL, method="inverted_cdf"))

    def share_above(self, limit: int) -> float:
        """Share of the pictures that hold more objects than this."""
        return float((self.counts > limit).mean())


def training_fullness(
    source: SampleSource, augmentation: Augmentation, *, pictures: int = DRAWN, seed: int = 0
) -> Fullness:
    """Draw training pictures and count their objects.

    Pictures in files are not read. Their masks are not looked at, so that an object of which only the box is left
    counts.

    Args:
        source: what is trained on.
        augmentation: what is done to it.
        pictures: how many are drawn.
        seed: of the draws; PyTorch's own generator is left as it was.
    """
    annotated = _annotations_of(source)
    plain = replace(augmentation, color_jitter=0.0, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)

    def draw() -> int:
        return int(torch.randint(0, len(annotated), ()))

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        counts = [
            len(plain.compose(annotated.load(draw()), lambda: annotated.load(draw()), number).labels)
            for number in range(pictures)
        ]
    return Fullness(np.array(counts, dtype=np.int64))


def _annotations_of(source: SampleSource) -> SampleSource:
    """The source without pixels where its pictures are in files; others are served as they are."""
    if isinstance(source, TiledSource):
        return source.with_source(_bare(source.source))
    return _bare(source) if isinstance(source, PictureSource) else source


def _bare(source: PictureSource) -> PictureSource:
    records = tuple(replace(record, masks=None) for record in source.data.records)
    return PictureSource(replace(source.data, records=records), read=_no_pixels)


def _no_pixels(record: PictureRecord) -> UInt8[Tensor, "3 height width"]:
    """A picture of the annotated size on PyTorch's meta device: it can be cut and resized, and holds nothing."""
    return torch.empty(3, *record.size_hw, dtype=torch.uint8, device="meta")
