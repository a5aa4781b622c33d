"""Drawing instance masks and panoptic maps: translucent colour, a line around each, names, a legend."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, UInt8
from PIL import Image, ImageFilter
from scipy import ndimage

from sleuth.render.legend import LegendEntry, add_legend
from sleuth.render.palette import Colour, class_colours, shade
from sleuth.render.tags import Rectangle, Tags, around, line_width

_THING_OPACITY = 0.5
_STUFF_OPACITY = 0.4
_GREYED = 0.7
"""How far the picture's own colours give way below a mask, so that the mask's colour is seen as it is."""
_HATCH: Colour = (235, 235, 235)
_NOTHING = "nothing"
_WHITE: Colour = (255, 255, 255)
_BLACK: Colour = (0, 0, 0)
CROWD = 24
"""Above so many regions only those get a name that stay visible under it."""
_SPOT_SIDE = 160
"""A mask is brought to about this size to find the place for its name."""


@dataclass(frozen=True)
class Region:
    """What a mask or segment is, for a drawing.

    Args:
        id: its number in the panoptic map; of no meaning for instance masks.
        label: contiguous class id.
        name: name of the class, for the legend.
        caption: what is written on it; nothing where empty.
        area: pixels; larger ones are drawn first.
        is_thing: things get a shade each, stuff of a class has one colour.
    """

    id: int
    label: int
    name: str
    caption: str
    area: int
    is_thing: bool = True


@dataclass(frozen=True)
class Spot:
    """Where a region's name may stand.

    Args:
        box: left, top, right, bottom around the region in pixels.
        middle: x and y of the pixel that is farthest from the region's edge.
    """

    box: Rectangle
    middle: tuple[float, float]

    @property
    def area(self) -> float:
        """Square pixels of the box."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)

    def places(self, size: tuple[float, float]) -> list[tuple[float, float]]:
        """Left and top of a tag of this size: in the middle of the region, near it, at the region's box."""
        (x, y), (wide, tall) = self.middle, size
        left, top = x - wide / 2, y - tall / 2
        near = [(left, top + step * tall) for step in (0, -1, 1, -2, 2)]
        return [*near, (x - wide, top), (x, top), *around(self.box, size)]


def draw_masks(
    picture: UInt8[np.ndarray, "height width 3"],
    regions: Sequence[Region],
    mask_of: Callable[[int], Bool[np.ndarray, "mask_height mask_width"]],
    *,
    legend: bool = True,
) -> UInt8[np.ndarray, "_ width 3"]:
    """A copy of the picture with each mask in translucent colour and outlined, and its name on it.

    Args:
        picture: RGB, 0 to 255.
        regions: what the masks are, the best first: the best are sure of their names where there is little room.
        mask_of: gives the mask of a region, by its place in the list, of the picture's shape at its size or smaller;
            only one is in memory at a time.
        legend: write the classes and their colours below the picture.
    """
    height, width = picture.shape[:2]
    colours = region_colours(regions)
    line = line_width(height, width)
    drawn, spots = picture.copy(), dict[int, Spot]()
    for row in sorted(range(len(regions)), key=lambda row: -regions[row].area):
        mask = smoothed(mask_of(row), (height, width))
        if (box := _box_of(mask)) is not None:
            _paint(drawn, mask, box, colours[row], line)
            spots[row] = _spot(mask, box)
    return _finished(drawn, regions, colours, spots, legend)


def draw_panoptic(
    picture: UInt8[np.ndarray, "height width 3"],
    segment_ids: Int32[np.ndarray, "map_height map_width"],
    regions: Sequence[Region],
    *,
    legend: bool = True,
) -> UInt8[np.ndarray, "_ width 3"]:
    """A copy of the picture with each segment in translucent colour, lines between them, names, and a legend.

    Pixels of no segment are grey and hatched.

    Args:
        picture: RGB, 0 to 255.
        segment_ids: which region each pixel belongs to, of the picture's shape at its size or smaller.
        regions: the segments, the best first.
        legend: write the classes and their colours below the picture.
    """
    height, width = picture.shape[:2]
    colours = region_colours(regions)
    rows = _rows_of(segment_ids, regions, (height, width))
    drawn = picture.copy()
    paint = np.array([*colours, _BLACK], dtype=np.float32)
    opacity = np.array([_THING_OPACITY if region.is_thing else _STUFF_OPACITY for region in regions] + [0.0])
    for top in range(0, height, 256):  # floats of a whole large picture would be large
        part = slice(top, top + 256)
        share = opacity[rows[part]][..., None].astype(np.float32)
        drawn[part] = _tinted(drawn[part], paint[rows[part]], share)
    _hatch(drawn, rows < 0, line_width(height, width))
    _draw_borders(drawn, rows, max(1, line_width(height, width) - 1))
    spots = dict[int, Spot]()
    for row, box in enumerate(ndimage.find_objects(rows + 1, max_label=len(regions))):
        if box is not None:
            spots[row] = _spot(rows == row, (box[1].start, box[0].start, box[1].stop, box[0].stop))
    void = LegendEntry(_NOTHING, (_HATCH,)) if bool((rows < 0).any()) else None
    return _finished(drawn, regions, colours, spots, legend, void)


def region_colours(regions: Sequence[Region]) -> tuple[Colour, ...]:
    """The colour of each region: its class's, for things in a shade of its own."""
    of_class = class_colours(region.label for region in sorted(regions, key=lambda region: region.label))
    seen: dict[int, int] = {}
    colours = []
    for region in regions:
        number = seen.get(region.label, 0)
        seen[region.label] = number + 1
        colours.append(shade(of_class[region.label], number) if region.is_thing else of_class[region.label])
    return tuple(colours)


def legend_of(regions: Sequence[Region], colours: Sequence[Colour]) -> list[LegendEntry]:
    """A class a line: things first, then stuff, each in the order of the room that they take."""
    groups: dict[tuple[bool, int], list[int]] = {}
    for row, region in enumerate(regions):
        groups.setdefault((not region.is_thing, region.label), []).append(row)
    order = sorted(groups, key=lambda key: (key[0], -sum(regions[row].area for row in groups[key])))
    return [
        LegendEntry(
            name=regions[groups[key][0]].name,
            colours=tuple(dict.fromkeys(colours[row] for row in groups[key])),
            count=len(groups[key]) if regions[groups[key][0]].is_thing else 1,
        )
        for key in order
    ]


def smoothed(mask: Bool[np.ndarray, "_ _"], size_hw: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """The mask at a size, with smooth edges where it is enlarged."""
    return mask if mask.shape == size_hw else _shares(mask, size_hw) >= 128


def _rows_of(segment_ids: np.ndarray, regions: Sequence[Region], size_hw: tuple[int, int]) -> np.ndarray:
    """Which region each pixel of the drawing belongs to, -1 for none."""
    if segment_ids.shape == size_hw:
        table = np.full(max([0, *(region.id for region in regions), int(segment_ids.max())]) + 1, -1, dtype=np.int32)
        for row, region in enumerate(regions):
            table[region.id] = row
        return table[segment_ids]
    # Tiny pictures are enlarged: the segment with most of a pixel's neighbourhood gets it.
    best, rows = np.zeros(size_hw, dtype=np.uint8), np.full(size_hw, -1, dtype=np.int32)
    for row, region_id in [(-1, 0), *((row, region.id) for row, region in enumerate(regions))]:
        share = _shares(segment_ids == region_id, size_hw)
        rows[share > best] = row
        best = np.maximum(best, share)
    return rows


def _shares(mask: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """How much of each pixel's neighbourhood is in the mask, 0 to 255, at another size."""
    picture = Image.fromarray(mask.astype(np.uint8) * 255).resize(size_hw[::-1], Image.Resampling.BILINEAR)
    blurred = picture.filter(ImageFilter.GaussianBlur(0.4 * size_hw[0] / mask.shape[0]))
    return np.asarray(blurred)


def _box_of(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom around a mask; None where it is empty."""
    down, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1) if len(down) else None


def _paint(drawn: np.ndarray, mask: np.ndarray, box: tuple[int, int, int, int], colour: Colour, line: int) -> None:
    """Colour a mask, draw its edge in full colour and a dark rim outside."""
    height, width = mask.shape
    rim = max(1, line // 2)
    left, top, right, bottom = box
    place = np.s_[max(0, top - rim) : min(height, bottom + rim), max(0, left - rim) : min(width, right + rim)]
    part, inside = drawn[place], mask[place].astype(np.uint8)
    # Where the picture ends there is no edge: the filters repeat the outermost pixels.
    core = ndimage.minimum_filter(inside, 2 * line + 1, mode="nearest").astype(bool)
    reach = ndimage.maximum_filter(inside, 2 * rim + 1, mode="nearest").astype(bool)
    inside = inside.astype(bool)
    part[inside] = _tinted(part[inside], np.array(colour, dtype=np.float32), np.float32(_THING_OPACITY))
    part[inside & ~core] = colour
    part[reach & ~inside] = (part[reach & ~inside] * 0.25).astype(np.uint8)


def _tinted(pixels: np.ndarray, colour: np.ndarray, opacity: np.ndarray | np.float32) -> np.ndarray:
    """Pixels, partly greyed, below translucent colour; where there is no opacity they stay as they are."""
    given = pixels.astype(np.float32)
    grey = given @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    given += (grey[..., None] - given) * (_GREYED * (opacity > 0))
    mixed: np.ndarray = (given + (colour - given) * opacity + 0.5).astype(np.uint8)
    return mixed


def _hatch(drawn: np.ndarray, where: np.ndarray, line: int) -> None:
    """Take the colour from some pixels and draw thin slanting lines over them."""
    if not where.any():
        return
    down, across = np.nonzero(where)
    grey = drawn[down, across] @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    on_line = (down + across) % (6 * line) < max(1, line // 2)
    drawn[down, across] = np.where(on_line, 0.45 * grey + 0.55 * _HATCH[0], 0.8 * grey)[:, None].astype(np.uint8)


def _draw_borders(drawn: np.ndarray, rows: np.ndarray, line: int) -> None:
    """A white line where two segments meet."""
    low = ndimage.minimum_filter(rows, line + 1, mode="nearest")
    high = ndimage.maximum_filter(rows, line + 1, mode="nearest")
    drawn[low != high] = _WHITE


def _spot(mask: np.ndarray, box: tuple[int, int, int, int]) -> Spot:
    left, top, right, bottom = box
    step = max(1, max(right - left, bottom - top) // _SPOT_SIDE)
    inside = np.pad(mask[top:bottom:step, left:right:step], 1)
    depth = ndimage.distance_transform_edt(inside)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    middle = (float(left + (int(x) - 1) * step), float(top + (int(y) - 1) * step))
    return Spot((float(left), float(top), float(right), float(bottom)), middle)


def _finished(
    drawn: np.ndarray,
    regions: Sequence[Region],
    colours: Sequence[Colour],
    spots: dict[int, Spot],
    legend: bool,
    void: LegendEntry | None = None,
) -> UInt8[np.ndarray, "_ width 3"]:
    """Names on the regions, as far as there is room, and the legend below."""
    canvas = Image.fromarray(drawn)
    tags = Tags(canvas)
    for row in _in_turn(regions, spots):
        caption = regions[row].caption
        size = tags.size_of(caption)
        # Among very many objects names would hide them: the legend tells.
        if len(spots) <= CROWD or size[0] * size[1] <= spots[row].area / 2:
            tags.put(caption, colours[row], spots[row].places(size), always=False)
    page = np.asarray(canvas).copy()
    if not legend:
        return page
    seen = sorted(spots)
    entries = legend_of([regions[row] for row in seen], [colours[row] for row in seen])
    return add_legend(page, entries if void is None else [*entries, void])


def _in_turn(regions: Sequence[Region], spots: dict[int, Spot]) -> Iterable[int]:
    """Rows with something to write: things before stuff, since stuff has room elsewhere."""
    return sorted((row for row in spots if regions[row].caption), key=lambda row: not regions[row].is_thing)
