"""Everything that is known about a scene, as values."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

from sleuth.data.scenes.lanes import Curve

KEY_POINTS = ("centre", "top", "bottom", "left", "right")
"""Names of the key points: the centre and the four tips in the object's own, unturned frame."""

VOID = 0
"""Segment of pixels that belong to nothing annotated."""

FIRST_OBJECT_SEGMENT = 100
"""Segment of the object of track t is this plus t; regions count from 1."""


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One annotated object.

    Args:
        label: class, 0 to classes - 1.
        name: name of the class.
        colour_name: name of its colour.
        box_xyxy_px: left, top, right, bottom of the visible part in pixels.
        full_mask: the whole object inside the picture, as if nothing lay over it.
        visible_mask: what can be seen of it.
        visible_share: visible pixels over all pixels of the object, also those outside the picture.
        key_points_xy_px: centre, top, bottom, left and right tip, turned with the object; may lie outside.
        key_points_visible: False where the point is outside the picture or under another object.
        phrase: what a person would call it; no two objects of a scene share a phrase.
        track_id: the same in every frame of a clip, from 1.
        segment_id: its number in the panoptic map.
        degrees: how far it is turned clockwise.
    """

    label: int
    name: str
    colour_name: str
    box_xyxy_px: tuple[int, int, int, int]
    full_mask: Bool[np.ndarray, "height width"]
    visible_mask: Bool[np.ndarray, "height width"]
    visible_share: float
    key_points_xy_px: Float32[np.ndarray, "5 2"]
    key_points_visible: Bool[np.ndarray, " 5"]
    phrase: str
    track_id: int
    segment_id: int
    degrees: int


@dataclass(frozen=True, eq=False)
class Region:
    """One background region, a piece of stuff.

    Args:
        label: stuff class.
        name: name of the stuff class.
        mask: the whole region, also behind objects.
        segment_id: its number in the panoptic map.
    """

    label: int
    name: str
    mask: Bool[np.ndarray, "height width"]
    segment_id: int


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and everything that is known about it.

    Args:
        image: RGB picture.
        objects: the annotated objects, from back to front.
        regions: the background regions.
        segments: panoptic map: the segment id seen at each pixel, 0 for void.
        curves: lane markings from left to right; none unless the config asks for lanes.
        frame: number in its clip, 0 for a still picture.
    """

    image: UInt8[np.ndarray, "height width 3"]
    objects: tuple[SceneObject, ...]
    regions: tuple[Region, ...]
    segments: Int32[np.ndarray, "height width"]
    curves: tuple[Curve, ...] = ()
    frame: int = 0
