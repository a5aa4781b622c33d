"""Large pictures served tile by tile, so that a model learns small objects at the size at which it will see them."""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from sleuth.data.records import PictureRecord
from sleuth.data.samples import Sample
from sleuth.data.shuffled import mix
from sleuth.data.source import PictureSource
from sleuth.geometry.tiles import Tile, Tiling

LEAST_VISIBLE = 0.3
"""Share of an object's box that a tile must show for the object to be asked for there."""

EMPTY_SHARE = 0.1
"""Most of the tiles that hold nothing, as a share of all tiles."""

_IDS_OF_A_PICTURE = 2**20


class TiledSource:
    """The tiles of a source's large pictures, and each picture as a whole, as prediction on tiles sees them.

    A tile holds the objects that it shows enough of, with boxes and masks cut at its edges; of stuff, such as sky, any
    part is enough. A tile that shows less than enough of some and enough of none is not served: it would call what can
    be seen nothing. Of tiles without anything a few are kept, the same ones in every run. A picture no larger than a
    tile is served as it is.

    Which tiles there are follows from the annotations alone. A sample's id is the picture's times 2**20, plus the
    number of the tile from 1, or 0 for the whole picture; it does not depend on which other pictures there are.

    Args:
        source: pictures in files.
        tiling: how they are cut.
        least_visible: share of an object's box that a tile must show.
        empty_share: most of the tiles that hold nothing, as a share of all.
    """

    def __init__(
        self,
        source: PictureSource,
        tiling: Tiling,
        *,
        least_visible: float = LEAST_VISIBLE,
        empty_share: float = EMPTY_SHARE,
    ) -> None:
        if not 0 < least_visible <= 1 or not 0 <= empty_share < 1:
            raise ValueError(f"least_visible {least_visible} and empty_share {empty_share} are shares")
        self.source, self.tiling, self.least_visible = source, tiling, least_visible
        self._places: list[tuple[int, int, Tile | None]] = []
        empty: list[tuple[int, int, Tile | None]] = []
        for picture, record in enumerate(source.data.records):
            self._places.append((picture, 0, None))
            tiles = tiling.tiles(record.size_hw)
            for number, tile in enumerate(tiles if len(tiles) > 1 else (), start=1):
                most = self._most_visible(record, tile)
                if most >= least_visible:
                    self._places.append((picture, number, tile))
                elif most == 0:
                    empty.append((picture, number, tile))
        full = len(self._places) - len(source)
        empty.sort(key=lambda place: mix(source.data.records[place[0]].id, place[1]))
        kept = empty[: math.floor(full * empty_share / (1 - empty_share))]
        self.num_tiles, self.num_empty = full + len(kept), len(kept)
        self._places = sorted(self._places + kept, key=lambda place: place[:2])

    def with_source(self, source: PictureSource) -> "TiledSource":
        """The same tiles of a source with the same records, such as one that reads pictures differently."""
        tiles = copy(self)
        tiles.source = source
        return tiles

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.source.names

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The category id that each label has in the data set's own format."""
        return self.source.category_ids

    @property
    def is_thing(self) -> tuple[bool, ...]:
        """For each label, whether it is a countable thing."""
        return self.source.is_thing

    def __len__(self) -> int:
        """Number of pictures and tiles."""
        return len(self._places)

    def load(self, index: int) -> Sample:
        """The picture or tile at ``index`` with its objects.

        Raises:
            UserError: the picture or its masks cannot be read, or are of another size than the annotation says.
        """
        picture, number, tile = self._places[index]
        sample = self.source.load(picture)
        sample = replace(sample, image_id=sample.image_id * _IDS_OF_A_PICTURE + number)
        if tile is None:
            return sample
        return cut_out(sample, tile, least_visible=self.least_visible, is_thing=self.is_thing)

    def _most_visible(self, record: PictureRecord, tile: Tile) -> float:
        """The greatest share of an object that the tile shows; a crowd counts as too little."""
        boxes = torch.from_numpy(record.boxes_xyxy_px)
        shares = tile.shares(boxes)
        shares[(shares > 0) & _is_stuff(torch.from_numpy(record.labels), self.is_thing)] = 1.0
        crowd = torch.from_numpy(record.crowd)
        shares[crowd] = shares[crowd].clamp(max=self.least_visible / 2)
        return float(shares.max()) if len(shares) else 0.0


def cut_out(
    sample: Sample, tile: Tile, *, least_visible: float = LEAST_VISIBLE, is_thing: Sequence[bool] = ()
) -> Sample:
    """A tile as a picture of its own, with the objects that it shows enough of.

    Args:
        sample: the picture.
        tile: inside the picture.
        least_visible: share of an object's box that the tile must show.
        is_thing: for each label, whether it is a thing; of stuff any part is enough.
    """
    left, top, right, bottom = tile.box_xyxy
    shares = tile.shares(sample.boxes_xyxy_px)
    keep = (shares >= least_visible) | ((shares > 0) & _is_stuff(sample.labels, is_thing))
    masks = sample.masks
    if masks is not None:
        masks = tile.crop(masks)
        keep &= masks.flatten(1).any(1) if len(masks) else torch.zeros(0, dtype=torch.bool)
        masks = masks[keep].contiguous()
    return replace(
        sample,
        image=tile.crop(sample.image).contiguous(),
        boxes_xyxy_px=tile.clip(sample.boxes_xyxy_px[keep]) - tile.origin,
        labels=sample.labels[keep],
        name=f"{sample.name} [{left}:{right}, {top}:{bottom}]",
        size_hw=tile.size_hw,
        masks=masks,
    )


def _is_stuff(labels: Int64[Tensor, " objects"], is_thing: Sequence[bool]) -> Bool[Tensor, " objects"]:
    things = torch.tensor([*is_thing], dtype=torch.bool)
    return ~things[labels] if len(things) else torch.zeros_like(labels, dtype=torch.bool)
