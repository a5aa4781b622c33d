"""Masks of the objects of a picture in a file: decoded when asked for, small until then."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from faster_coco_eval.core import mask as coco
from jaxtyping import Bool, Float64, Int32, Int64
from torch import Tensor

from sleuth.data.pictures import picture_size, read_colours
from sleuth.errors import UserError
from sleuth.geometry.rle import PackedMasks, rgb_to_ids

MaskCode = bytes | tuple[Float64[np.ndarray, " _"], ...]
"""COCO's compressed run lengths, or the outlines of the parts: x and y in turn, in pixels."""


@dataclass(frozen=True)
class MaskFault:
    """Something wrong with the masks of a picture.

    Args:
        kind: key of `FAULT_KINDS`.
        what: what is wrong, in a few words.
        row: the object it is about; None for the whole picture.
    """

    kind: str
    what: str
    row: int | None = None


@runtime_checkable
class ObjectMasks(Protocol):
    """The masks of a picture's objects, in their order."""

    def __len__(self) -> int:
        """Number of objects."""
        ...

    def select(self, keep: Bool[np.ndarray, " objects"]) -> "ObjectMasks":
        """The masks of some of the objects."""
        ...

    def packed(self) -> PackedMasks:
        """All masks as run lengths.

        Raises:
            UserError: a file that holds them cannot be read, or does not fit the annotations.
        """
        ...

    def decode(self) -> Bool[Tensor, "objects height width"]:
        """All masks, one byte a pixel.

        Raises:
            UserError: as in `packed`.
        """
        ...

    def faults(self, deep: bool) -> Iterator[MaskFault]:
        """What is wrong with them: with ``deep`` every mask is looked at, else the headers of files only."""
        ...


@dataclass(frozen=True, eq=False)
class CodedMasks:
    """Masks as annotations write them: polygons or run lengths.

    Args:
        codes: the code of each mask; run lengths must fill the picture.
        size_hw: height and width of the picture in pixels.
    """

    codes: tuple[MaskCode, ...]
    size_hw: tuple[int, int]

    def __len__(self) -> int:
        return len(self.codes)

    def select(self, keep: Bool[np.ndarray, " objects"]) -> "CodedMasks":
        """The masks of some of the objects."""
        return replace(self, codes=tuple(code for code, kept in zip(self.codes, keep, strict=True) if kept))

    def packed(self) -> PackedMasks:
        """All masks as run lengths. A pixel is inside a polygon by COCO's own rule, that of its `frPyObjects`."""
        return PackedMasks(
            tuple(code if isinstance(code, bytes) else _filled(code, self.size_hw) for code in self.codes),
            self.size_hw,
        )

    def decode(self) -> Bool[Tensor, "objects height width"]:
        """All masks, one byte a pixel."""
        return self.packed().unpack()

    def faults(self, deep: bool) -> Iterator[MaskFault]:
        """Masks without a pixel."""
        if deep:
            for row, area in enumerate(self.packed().areas):
                if area == 0:
                    yield MaskFault("empty-mask", "its mask holds no pixel", row)


def _filled(polygons: Sequence[np.ndarray], size_hw: tuple[int, int]) -> bytes:
    parts = coco.frPyObjects([polygon.tolist() for polygon in polygons], *size_hw)
    return bytes(coco.merge(parts)["counts"])


@dataclass(frozen=True, eq=False)
class PanopticMasks:
    """Masks in a panoptic PNG, where a pixel's colour is the id of its segment.

    Args:
        path: the PNG file.
        segment_ids: the segment of each object.
        listed: ids of all segments that the JSON lists for this picture.
        size_hw: height and width of the picture in pixels.
    """

    path: Path
    segment_ids: Int64[np.ndarray, " objects"]
    listed: frozenset[int]
    size_hw: tuple[int, int]

    def __len__(self) -> int:
        return len(self.segment_ids)

    def select(self, keep: Bool[np.ndarray, " objects"]) -> "PanopticMasks":
        """The masks of some of the objects."""
        return replace(self, segment_ids=self.segment_ids[keep])

    def packed(self) -> PackedMasks:
        """All masks as run lengths."""
        return PackedMasks.pack(self.decode())

    def decode(self) -> Bool[Tensor, "objects height width"]:
        """All masks, one byte a pixel.

        Raises:
            UserError: the file is missing, broken, not of the picture's size, or holds ids that the JSON lacks.
        """
        ids = read_segment_ids(self.path)
        fault = self._wrong_size((ids.shape[0], ids.shape[1])) or self._strange(ids)
        if fault is not None:
            raise UserError(fault.what, where=self.path, mend="correct the PNG, or its segments_info in the JSON")
        masks = ids == self.segment_ids.astype(np.int32)[:, None, None]
        return torch.from_numpy(masks.reshape(len(self), *self.size_hw))

    def faults(self, deep: bool) -> Iterator[MaskFault]:
        """A file that is missing or does not fit; ids in one of PNG and JSON only."""
        if not self.path.exists():
            yield MaskFault("missing-masks", "there is no such file")
            return
        try:
            ids = read_segment_ids(self.path) if deep else None
            size_hw = picture_size(self.path) if ids is None else (ids.shape[0], ids.shape[1])
        except UserError as error:
            yield MaskFault("unreadable-mask", error.what)
            return
        fault = self._wrong_size(size_hw) or (None if ids is None else self._strange(ids))
        if fault is not None:
            yield fault
        if ids is not None:
            seen = np.unique(ids)
            for row in np.flatnonzero(~np.isin(self.segment_ids, seen)):
                what = f"the segment {self.segment_ids[row]} is in the JSON, but not in the PNG"
                yield MaskFault("empty-mask", what, int(row))

    def _wrong_size(self, size_hw: tuple[int, int]) -> MaskFault | None:
        if size_hw == self.size_hw:
            return None
        return MaskFault("mask-size", masks_do_not_fit(size_hw, self.size_hw))

    def _strange(self, ids: Int32[np.ndarray, "height width"]) -> MaskFault | None:
        """The first id that the JSON lacks; 0 is no segment."""
        known = ids == 0
        for id in self.listed:
            known |= ids == id
        if known.all():
            return None
        return MaskFault("unlisted-segment", f"the segment {ids[~known][0]} is in the PNG, but not in the JSON")


def masks_do_not_fit(mask_hw: tuple[int, int], size_hw: tuple[int, int]) -> str:
    """What is wrong where masks are not of the picture's size, in words."""
    larger = mask_hw[0] > size_hw[0] or mask_hw[1] > size_hw[1]
    relation = "larger" if larger else "smaller"
    return (
        f"the masks are {relation} than the picture: {mask_hw[1]}x{mask_hw[0]} (width x height), "
        f"the picture {size_hw[1]}x{size_hw[0]}"
    )


def read_segment_ids(path: Path) -> Int32[np.ndarray, "height width"]:
    """The segment of each pixel in a COCO panoptic PNG: red + 256 green + 65536 blue; 0 is none.

    Raises:
        UserError: the file is missing, broken, or has no colours.
    """
    return rgb_to_ids(read_colours(path))
