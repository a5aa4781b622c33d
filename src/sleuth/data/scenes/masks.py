"""Visible masks of a composed scene: of its objects, and of its background as stuff."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from sleuth.data.scenes.compose import Composition, tight_box


@dataclass(frozen=True, eq=False)
class Stuff:
    """What can be seen of one kind of background, all its regions together.

    Args:
        kind: stuff label, a place in `STUFF`.
        region: number of the first of its regions.
        mask: its pixels on which no object lies, at least one.
        box_xyxy_px: left, top, right, bottom around these pixels.
    """

    kind: int
    region: int
    mask: Bool[np.ndarray, "height width"]
    box_xyxy_px: tuple[int, int, int, int]


def object_masks(composition: Composition) -> Bool[np.ndarray, "objects height width"]:
    """The visible pixels of each placed object, from back to front."""
    numbers = np.arange(1, len(composition.placements) + 1, dtype=np.uint8)
    masks: np.ndarray = composition.object_at == numbers[:, None, None]
    return masks


def visible_stuff(composition: Composition) -> Iterator[Stuff]:
    """The kinds of background that can be seen, in the order of their first regions."""
    background = composition.background
    bare = composition.object_at == 0
    for region, kind in enumerate(background.kinds):
        if kind in background.kinds[:region]:
            continue
        mask = background.region_of == region
        for number in range(region + 1, len(background.kinds)):
            if background.kinds[number] == kind:
                mask |= background.region_of == number
        mask &= bare
        if mask.any():
            yield Stuff(kind, region, mask, tight_box(mask))
