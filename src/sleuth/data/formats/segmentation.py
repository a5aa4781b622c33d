"""COCO's ``segmentation`` in its three forms: polygons, run lengths in text, and run lengths as a list."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco
from jaxtyping import Int64

from sleuth.data.masks import MaskCode, MaskFault, masks_do_not_fit

# A polygon that reaches farther than this many times the picture's longer side is a fault, not an outline.
_FAR = 10


def parse_segmentation(value: object, size_hw: tuple[int, int]) -> tuple[MaskCode | None, list[MaskFault]]:
    """The code of one mask, None where there is none to be had; and what is wrong with it.

    Args:
        value: the entry as JSON gives it.
        size_hw: height and width of the picture in pixels.
    """
    if value is None or value == [] or value == {}:
        return None, [MaskFault("no-mask", "it has no segmentation")]
    if isinstance(value, Mapping):
        return _run_lengths(value, size_hw)
    if isinstance(value, list):
        return _polygons(value, size_hw)
    return None, [MaskFault("unreadable-mask", "its segmentation is neither a list nor an object")]


def box_around(value: object) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom around a ``segmentation``, for annotations that lack their box."""
    try:
        if isinstance(value, Mapping):
            height, width = value["size"]
            code, _ = _run_lengths(value, (height, width))
            if code is None:
                return None
            x, y, w, h = coco.toBbox({"size": [height, width], "counts": code}).tolist()
            return x, y, x + w, y + h
        parts = _parts(value) if isinstance(value, list) else []
        xs = [float(number) for part in parts for number in part[0::2]]
        ys = [float(number) for part in parts for number in part[1::2]]
    except (TypeError, ValueError, OverflowError, KeyError):
        return None
    return (min(xs), min(ys), max(xs), max(ys)) if xs and ys else None


def _parts(value: list[Any]) -> list[Any]:
    """The polygons; some tools write a single one without the outer list."""
    flat = all(isinstance(number, int | float) for number in value)
    return [value] if flat else value


def _polygons(value: list[Any], size_hw: tuple[int, int]) -> tuple[MaskCode | None, list[MaskFault]]:
    kept: list[np.ndarray] = []
    faults: list[MaskFault] = []
    height, width = size_hw
    for number, part in enumerate(_parts(value), start=1):
        try:
            points = np.array([float(coordinate) for coordinate in part], dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            points = np.array([math.nan])
        xs, ys = points[0::2], points[1::2]
        if len(points) % 2 or not np.isfinite(points).all():
            faults.append(MaskFault("unreadable-mask", f"polygon {number} is no list of x and y in turn"))
        elif len(points) < 6:
            faults.append(MaskFault("few-points", f"polygon {number} has {len(points) // 2} points"))
        elif xs.max() <= 0 or ys.max() <= 0 or xs.min() >= width or ys.min() >= height:
            what = f"polygon {number} lies outside the picture of {width}x{height}"
            faults.append(MaskFault("polygon-outside", what))
        elif np.abs(points).max() > _FAR * max(size_hw):
            what = f"polygon {number} reaches to {points[np.abs(points).argmax()]:g}, the picture is {width}x{height}"
            faults.append(MaskFault("polygon-outside", what))
        else:
            kept.append(points)
    return (tuple(kept) if kept else None), faults


def _run_lengths(value: Mapping[str, Any], size_hw: tuple[int, int]) -> tuple[MaskCode | None, list[MaskFault]]:
    size, counts = value.get("size"), value.get("counts")
    if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)):
        return None, [MaskFault("unreadable-mask", "its run lengths have no size of height and width")]
    mask_hw = (size[0], size[1])
    if mask_hw != size_hw:
        return None, [MaskFault("mask-size", masks_do_not_fit(mask_hw, size_hw))]
    if isinstance(counts, str):
        lengths = text_to_lengths(counts)
    elif isinstance(counts, list) and all(type(length) is int and 0 <= length <= 2**40 for length in counts):
        lengths = np.array(counts, dtype=np.int64)
    else:
        lengths = None
    if lengths is None or (lengths < 0).any():
        return None, [MaskFault("unreadable-mask", "its run lengths cannot be read")]
    if lengths.sum() != size[0] * size[1]:
        what = f"its run lengths cover {lengths.sum()} pixels of {size[0] * size[1]}"
        return None, [MaskFault("unreadable-mask", what)]
    if isinstance(counts, str):
        return counts.encode("ascii"), []
    return bytes(coco.frPyObjects({"size": size, "counts": counts}, *mask_hw)["counts"]), []


def text_to_lengths(text: str) -> Int64[np.ndarray, " runs"] | None:
    """The run lengths in COCO's compressed text, or None where it is none.

    A number is written in digits of five bits, the least first, each a character from "0" on; a sixth bit says that
    more follow, the fifth bit of the last is the sign. From the fourth number on it is the difference to the one
    before the last.

    >>> text_to_lengths("022O").tolist()
    [0, 2, 2, 1]
    """
    if not text.isascii():
        return None
    digits = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    if len(digits) == 0 or (digits < 0).any() or (digits > 63).any() or digits[-1] & 32:
        return None
    last = np.flatnonzero(digits & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    if (last - first).max() > 7:
        return None
    place = np.arange(len(digits)) - np.repeat(first, last - first + 1)
    numbers = np.add.reduceat((digits & 31) << (5 * place), first)
    numbers -= np.where(digits[last] & 16, np.int64(1) << (5 * (place[last] + 1)), 0)
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers
