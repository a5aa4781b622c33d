"""Masks and segment maps packed small: COCO's run lengths for masks, deflate for maps."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from faster_coco_eval.core import mask as coco
from jaxtyping import Bool, Int32, UInt8
from torch import Tensor


@dataclass(frozen=True)
class PackedMasks:
    """Masks of one picture as COCO's compressed run lengths: a few kilobytes each, whatever the picture's size.

    Args:
        counts: the run lengths of each mask, column by column, as COCO writes them.
        size_hw: height and width of every mask in pixels.
    """

    counts: tuple[bytes, ...]
    size_hw: tuple[int, int]

    @classmethod
    def pack(cls, masks: Bool[Tensor, "masks height width"]) -> "PackedMasks":
        """Pack masks.

        >>> masks = torch.tensor([[[False, True], [False, True]]])
        >>> packed = PackedMasks.pack(masks)
        >>> packed.coco(0), packed.areas
        ({'size': [2, 2], 'counts': '22'}, (2,))
        >>> torch.equal(packed.unpack(), masks)
        True
        """
        size_hw = (masks.shape[1], masks.shape[2])
        counts = (coco.encode(np.asfortranarray(mask.cpu().numpy().view(np.uint8)))["counts"] for mask in masks)
        return cls(tuple(counts), size_hw)

    @classmethod
    def join(cls, parts: Iterable["PackedMasks"], size_hw: tuple[int, int]) -> "PackedMasks":
        """The masks of all parts, one after another.

        Raises:
            ValueError: a part's masks are not of this size.
        """
        parts = tuple(parts)
        if any(part.size_hw != size_hw for part in parts):
            raise ValueError(f"not all masks are {size_hw[0]} pixels high and {size_hw[1]} wide")
        return cls(tuple(counts for part in parts for counts in part.counts), size_hw)

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, row: int) -> Bool[np.ndarray, "height width"]:
        """One mask, unpacked."""
        return np.ascontiguousarray(coco.decode(self._raw(row))).view(np.bool_)

    @property
    def areas(self) -> tuple[int, ...]:
        """Pixels of each mask."""
        return tuple(int(coco.area(self._raw(row))) for row in range(len(self)))

    def unpack(self) -> Bool[Tensor, "masks height width"]:
        """All masks: a byte a pixel each."""
        masks = torch.zeros(len(self), *self.size_hw, dtype=torch.bool)
        for row in range(len(self)):
            masks[row] = torch.from_numpy(self[row])
        return masks

    def keep(self, rows: Sequence[int]) -> "PackedMasks":
        """Some of the masks, in this order."""
        return PackedMasks(tuple(self.counts[row] for row in rows), self.size_hw)

    def coco(self, row: int) -> dict[str, Any]:
        """One mask as COCO's ``segmentation``, ready for JSON."""
        return {"size": list(self.size_hw), "counts": self.counts[row].decode("ascii")}

    def _raw(self, row: int) -> dict[str, Any]:
        return {"size": list(self.size_hw), "counts": self.counts[row]}


def mask_from_coco(segmentation: Mapping[str, Any]) -> Bool[np.ndarray, "height width"]:
    """The mask of COCO's compressed ``segmentation``.

    >>> mask_from_coco({"size": [2, 2], "counts": "22"}).tolist()
    [[False, True], [False, True]]
    """
    counts = segmentation["counts"]
    raw = {"size": list(segmentation["size"]), "counts": counts.encode("ascii") if isinstance(counts, str) else counts}
    return np.ascontiguousarray(coco.decode(raw)).view(np.bool_)


@dataclass(frozen=True)
class PackedMap:
    """A map of segment ids, deflated.

    Args:
        data: the ids, row by row, in the smallest type that holds them.
        dtype: that type, as NumPy names it.
        size_hw: height and width in pixels.
    """

    data: bytes
    dtype: str
    size_hw: tuple[int, int]

    @classmethod
    def pack(cls, segment_ids: Int32[Tensor, "height width"]) -> "PackedMap":
        """Pack a map.

        Raises:
            ValueError: an id is negative.

        >>> ids = torch.tensor([[0, 300], [2, 2]], dtype=torch.int32)
        >>> torch.equal(PackedMap.pack(ids).unpack(), ids)
        True
        """
        ids = segment_ids.cpu().numpy()
        if ids.size and ids.min() < 0:
            raise ValueError(f"a segment has the id {ids.min()}: ids start at 0, which is nothing")
        dtype = np.min_scalar_type(int(ids.max())) if ids.size else np.dtype(np.uint8)
        data = zlib.compress(np.ascontiguousarray(ids.astype(dtype)).tobytes(), 1)
        return cls(data, dtype.name, (ids.shape[0], ids.shape[1]))

    def unpack(self) -> Int32[Tensor, "height width"]:
        """The ids, 0 for nothing."""
        ids = np.frombuffer(zlib.decompress(self.data), dtype=self.dtype).reshape(self.size_hw)
        return torch.from_numpy(ids.astype(np.int32))


def ids_to_rgb(segment_ids: Int32[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """A map of segment ids as COCO's panoptic PNG: id = red + 256 green + 65536 blue.

    Raises:
        ValueError: an id has no place in three bytes.

    >>> ids_to_rgb(np.array([[66051]], dtype=np.int32)).tolist()
    [[[3, 2, 1]]]
    """
    if segment_ids.size and (segment_ids.min() < 0 or segment_ids.max() >= 1 << 24):
        raise ValueError(f"ids from {segment_ids.min()} to {segment_ids.max()}; a PNG holds 0 to {(1 << 24) - 1}")
    return np.stack([segment_ids >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)


def rgb_to_ids(rgb: UInt8[np.ndarray, "height width 3"]) -> Int32[np.ndarray, "height width"]:
    """The segment ids of COCO's panoptic PNG.

    >>> rgb_to_ids(np.array([[[3, 2, 1]]], dtype=np.uint8)).tolist()
    [[66051]]
    """
    wide = rgb.astype(np.int32)
    return wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]
