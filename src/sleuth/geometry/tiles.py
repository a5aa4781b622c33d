"""Overlapping tiles of a large picture, and how what was found on them becomes one answer. Pure functions, no model.

An object that is no larger than the overlap lies whole in at least one tile, so what a tile's edge cuts is seen whole
by a neighbour; what is larger is seen whole in the picture as such, which is looked at as well.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sleuth.errors import UserError
from sleuth.geometry.boxes import box_area

LEAST_SIDE = 32
GREATEST_OVERLAP = 0.9

SAME_IOU = 0.5
"""Overlap from which two views have found the same object."""

CONTAINED = 0.7
"""Share of a cut box that must lie in another box for that to be the whole of it."""

RIVAL_SCORE = 0.5
"""A whole view displaces a cut one only with this share of its score: what nobody believes displaces nothing."""

_EDGE_SHARE = 0.02
_LEAST_EDGE_PX = 2.0
_NO_AREA = 1e-12


@dataclass(frozen=True)
class Tiling:
    """How pictures are cut into tiles.

    Args:
        size_hw: height and width of a tile in pixels of the picture; a smaller picture is not cut along that side.
        overlap: share of a tile that its neighbour sees too, at least.

    Raises:
        UserError: tiles too small to see anything in, or an overlap that leaves no way forward.
    """

    size_hw: tuple[int, int]
    overlap: float = 0.2

    def __post_init__(self) -> None:
        height, width = self.size_hw
        if min(self.size_hw) < LEAST_SIDE:
            said = f"{height}" if height == width else f"{height}x{width}"
            raise UserError(f"tiles of {said} pixels are too small", where="tile", mend=f"give {LEAST_SIDE} or more")
        if not 0 <= self.overlap < GREATEST_OVERLAP:
            raise UserError(
                f"an overlap of {self.overlap:g} is not at least 0 and below {GREATEST_OVERLAP:g}",
                where="tile overlap",
                mend="such as 0.2",
            )

    @property
    def overlap_hw(self) -> tuple[int, int]:
        """Height and width in pixels of what neighbours share, at least."""
        height, width = (math.ceil(side * self.overlap - 1e-9) for side in self.size_hw)
        return height, width

    def tiles(self, picture_hw: tuple[int, int]) -> "list[Tile]":
        """The tiles of a picture, row by row, all of one size; one alone where the picture is no larger.

        >>> [tile.box_xyxy for tile in Tiling((100, 100)).tiles((100, 180))]
        [(0, 0, 100, 100), (80, 0, 180, 100)]
        """
        sides = tuple(min(side, most) for side, most in zip(self.size_hw, picture_hw, strict=True))
        tops, lefts = (
            tile_starts(most, side, shared)
            for most, side, shared in zip(picture_hw, self.size_hw, self.overlap_hw, strict=True)
        )
        return [Tile(left, top, left + sides[1], top + sides[0]) for top in tops for left in lefts]


@dataclass(frozen=True)
class Tile:
    """A part of a picture, in whole pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """Its corners."""
        return self.left, self.top, self.right, self.bottom

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    @property
    def origin(self) -> Float[Tensor, "4"]:
        """What is added to corners in the tile to have them in the picture."""
        return torch.tensor([self.left, self.top, self.left, self.top], dtype=torch.float32)

    def crop(self, image: Tensor) -> Tensor:
        """Its pixels of a picture or of masks [..., height, width], without a copy."""
        return image[..., self.top : self.bottom, self.left : self.right]

    def shares(self, boxes_xyxy: Float[Tensor, "boxes 4"]) -> Float[Tensor, " boxes"]:
        """Which share of each box, in pixels of the picture, is seen in this tile; 0 of a box without area."""
        seen = box_area(self.clip(boxes_xyxy))
        area = box_area(boxes_xyxy)
        return torch.where(area > 0, seen / area.clamp(min=_NO_AREA), torch.zeros_like(area))

    def clip(self, boxes_xyxy: Float[Tensor, "boxes 4"]) -> Float[Tensor, "boxes 4"]:
        """What is seen of each box; one outside has no area."""
        low, high = boxes_xyxy.new_tensor(self.box_xyxy[:2]), boxes_xyxy.new_tensor(self.box_xyxy[2:])
        corners = boxes_xyxy.unflatten(1, (2, 2))
        return torch.minimum(torch.maximum(corners, low), high).flatten(1)

    def cuts(self, boxes_xyxy: Float[Tensor, "boxes 4"], picture_hw: tuple[int, int]) -> Bool[Tensor, " boxes"]:
        """Which boxes reach the tile's edge where the picture goes on: their objects may be cut there."""
        return self._cut_along(boxes_xyxy, picture_hw).any(1)

    def left_to_neighbours(
        self, boxes_xyxy: Float[Tensor, "boxes 4"], picture_hw: tuple[int, int], overlap_hw: tuple[int, int]
    ) -> Bool[Tensor, " boxes"]:
        """Which boxes are cut, and so narrow that the neighbour on that side sees more of the object, or all of it.

        Args:
            boxes_xyxy: in pixels of the picture.
            picture_hw: size of the picture.
            overlap_hw: what neighbours share at least.
        """
        cut = self._cut_along(boxes_xyxy, picture_hw)
        # Within the reach of both edges, a box may count as cut for the neighbour as well.
        reach = boxes_xyxy.new_tensor([overlap_hw[1], overlap_hw[0]]) - 2 * boxes_xyxy.new_tensor(self._edges)
        return (cut & (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] < reach)).any(1)

    @property
    def _edges(self) -> tuple[float, float]:
        """How near to an edge, across and down, a box counts as reaching it, in pixels."""
        height, width = self.size_hw
        return max(_LEAST_EDGE_PX, _EDGE_SHARE * width), max(_LEAST_EDGE_PX, _EDGE_SHARE * height)

    def _cut_along(self, boxes: Tensor, picture_hw: tuple[int, int]) -> Bool[Tensor, "boxes 2"]:
        """Which boxes reach an inner edge at the left or right, and which at the top or bottom."""
        corners = boxes.new_tensor(self.box_xyxy)
        edges = boxes.new_tensor(self._edges)
        inner_low = corners[:2] > 0
        inner_high = corners[2:] < boxes.new_tensor([picture_hw[1], picture_hw[0]])
        low = inner_low & (boxes[:, :2] <= corners[:2] + edges)
        high = inner_high & (boxes[:, 2:] >= corners[2:] - edges)
        return low | high


def tile_starts(length: int, side: int, overlap: int) -> Sequence[int]:
    """Where the tiles along one side of a picture begin: as few as will do, evenly spread, from edge to edge.

    >>> tile_starts(1000, 640, 128), tile_starts(600, 640, 128)
    ([0, 360], [0])
    """
    if length <= side:
        return [0]
    step = side - overlap
    steps = -(-(length - side) // step)
    return [number * (length - side) // steps for number in range(steps + 1)]


def merge_views(
    boxes_xyxy: Float[Tensor, "found 4"],
    scores: Float[Tensor, " found"],
    labels: Int[Tensor, " found"],
    views: Int[Tensor, " found"],
    cut: Bool[Tensor, " found"],
) -> Int[Tensor, " kept"]:
    """Which of the answers of several overlapping views of a picture remain: each object once.

    Answers of one view are never held against each other: a set prediction has one for each object, and two that
    overlap are two objects. Of different views, those of one class with an IoU of `SAME_IOU` are the same object, and
    the surest remains. A cut box gives way to a whole one that contains it, seen by another view, unless that is hardly
    believed: also to one of another class, as parts are easily mistaken. Where nobody has seen the whole, it remains.

    Args:
        boxes_xyxy: in pixels of the picture, of all views together; finite.
        scores: how sure each is; finite.
        labels: classes.
        views: which view each is of.
        cut: whether the view's edge may have cut the object, from `Tile.cuts`.

    Returns: rows, the surest first.
    """
    # Whole boxes first, the surest first: a cut one then finds the whole that it is a part of.
    order = torch.argsort(scores, descending=True, stable=True)
    order = order[torch.argsort(cut[order].to(torch.uint8), stable=True)]
    first = order[_first_of_each(boxes_xyxy[order], scores[order], labels[order], views[order], cut[order])]
    return first[torch.argsort(scores[first], descending=True, stable=True)]


def _first_of_each(boxes: Tensor, scores: Tensor, labels: Tensor, views: Tensor, cut: Tensor) -> Int[Tensor, " kept"]:
    """In the order in which they have a say: rows of those that are the first of their object."""
    number = 0
    rows = torch.zeros(len(boxes), dtype=torch.int64)
    seen_by = torch.zeros(len(boxes), int(views.max()) + 1 if len(views) else 0, dtype=torch.bool)
    for row, (view, is_cut) in enumerate(zip(views.tolist(), cut.tolist(), strict=True)):
        before = rows[:number]
        shared = _intersections(boxes[row], boxes[before])
        # An object has one answer of each view.
        free = ~seen_by[:number, view]
        union = box_area(boxes[row]) + box_area(boxes[before]) - shared
        likeness = shared / union.clamp(min=_NO_AREA)
        same = free & (labels[before] == labels[row]) & (likeness >= SAME_IOU)
        likeness = torch.where(same, likeness, torch.zeros_like(likeness))
        if is_cut:
            part = shared / box_area(boxes[row]).clamp(min=_NO_AREA)
            whole = free & ~cut[before] & (part >= CONTAINED) & (scores[before] >= RIVAL_SCORE * scores[row])
            likeness = torch.where(whole, part + 1, likeness)
        if number and float(likeness.max()) > 0:
            seen_by[int(likeness.argmax()), view] = True
        else:
            rows[number] = row
            seen_by[number, view] = True
            number += 1
    return rows[:number]


def _intersections(box: Tensor, others: Tensor) -> Float[Tensor, " others"]:
    """Area that a box shares with each of the others."""
    sides = torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2])
    return sides.clamp(min=0).prod(1)
