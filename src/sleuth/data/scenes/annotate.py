"""Reading masks, key points, phrases and regions off a composed scene."""

import numpy as np

from sleuth.data.scenes.backgrounds import STUFF
from sleuth.data.scenes.classes import NAMES
from sleuth.data.scenes.compose import Composition, Placement, largest_size, visible_box
from sleuth.data.scenes.config import SceneConfig
from sleuth.data.scenes.phrases import Described, phrases
from sleuth.data.scenes.scene import FIRST_OBJECT_SEGMENT, VOID, Region, Scene, SceneObject
from sleuth.data.scenes.stamps import clipped, field_to_stamp


def annotate(composition: Composition, config: SceneConfig, frame: int = 0) -> Scene:
    """Everything that is known about a composed scene.

    Objects of which less than ``config.min_visible`` can be seen are left out, their pixels void in the panoptic map;
    that happens in clips only, where objects move over each other.
    """
    object_at = composition.object_at
    counts = np.bincount(object_at.reshape(-1), minlength=len(composition.placements) + 1).tolist()
    shares = [count / placement.stamp.area for count, placement in zip(counts[1:], composition.placements, strict=True)]
    # A drawn object counts no pixel twice, so the share is exact; the composer used the same numbers.
    kept = [number for number, share in enumerate(shares) if share > 0 and share >= config.min_visible]
    boxes = [visible_box(composition, number) for number in kept]
    texts = phrases(
        [_described(composition.placements[number], box, config) for number, box in zip(kept, boxes, strict=True)]
    )
    objects = tuple(
        _annotate_object(composition, number, box, text, shares[number])
        for number, box, text in zip(kept, boxes, texts, strict=True)
    )
    segments = composition.background.region_of.astype(np.int32) + 1
    segments[object_at > 0] = VOID
    for thing in objects:
        segments[thing.visible_mask] = thing.segment_id
    return Scene(
        image=np.ascontiguousarray(composition.pixels[:, :, :3]),
        objects=objects,
        regions=_regions(composition),
        segments=segments,
        curves=composition.curves,
        frame=frame,
    )


def _described(placement: Placement, box: tuple[int, int, int, int], config: SceneConfig) -> Described:
    height, width = config.size_hw
    span = max(largest_size(config) - config.min_size, 1)
    return Described(
        name=NAMES[placement.label],
        colour_name=placement.colour_name,
        size=(placement.size - config.min_size) / span,
        x=(box[0] + box[2]) / 2 / width,
        y=(box[1] + box[3]) / 2 / height,
    )


def _annotate_object(
    composition: Composition, number: int, box: tuple[int, int, int, int], text: str, share: float
) -> SceneObject:
    placement = composition.placements[number]
    object_at = composition.object_at
    inside, part = clipped(placement.stamp.mask.shape, placement.left, placement.top, object_at.shape)
    full = np.zeros(object_at.shape, bool)
    full[inside] = placement.stamp.mask[part]
    points, seen = _key_points(composition, number)
    return SceneObject(
        label=placement.label,
        name=NAMES[placement.label],
        colour_name=placement.colour_name,
        box_xyxy_px=box,
        full_mask=full,
        visible_mask=object_at == number + 1,
        visible_share=share,
        key_points_xy_px=points,
        key_points_visible=seen,
        phrase=text,
        track_id=number + 1,
        segment_id=FIRST_OBJECT_SEGMENT + number + 1,
        degrees=placement.degrees,
    )


def _key_points(composition: Composition, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Key points of an object in the picture, and whether each can be seen."""
    placement = composition.placements[number]
    height, width = composition.object_at.shape
    tips = field_to_stamp(placement.glyph, placement.size, placement.degrees, placement.stamp, placement.glyph.tips())
    points = np.array([(x + placement.left, y + placement.top) for x, y in tips], np.float32)
    inner = points[0] + (points - points[0]) * np.float32(0.95)  # tips lie on the outline: look just inside it
    seen = np.zeros(len(points), bool)
    for at, (x, y) in enumerate(inner.tolist()):
        if 0 <= x < width and 0 <= y < height:
            seen[at] = composition.object_at[int(y), int(x)] <= number + 1
    return points, seen


def _regions(composition: Composition) -> tuple[Region, ...]:
    region_of = composition.background.region_of
    return tuple(
        Region(label=kind, name=STUFF[kind], mask=region_of == number, segment_id=number + 1)
        for number, kind in enumerate(composition.background.kinds)
    )
