"""Packed masks and maps come back as they were, in the form that COCO's tools read."""

import json

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sleuth.geometry.rle import PackedMap, PackedMasks, ids_to_rgb, mask_from_coco, rgb_to_ids


@given(arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)))
def test_masks_come_back(masks: np.ndarray):
    packed = PackedMasks.pack(torch.from_numpy(masks))
    assert packed.size_hw == masks.shape[1:]
    assert torch.equal(packed.unpack(), torch.from_numpy(masks))
    assert packed.areas == tuple(masks.sum(axis=(1, 2)).tolist())
    assert all(np.array_equal(packed[row], mask) for row, mask in enumerate(masks))


@given(arrays(np.int32, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=st.integers(0, 1 << 23)))
def test_maps_come_back_packed_and_as_colours(ids: np.ndarray):
    assert torch.equal(PackedMap.pack(torch.from_numpy(ids)).unpack(), torch.from_numpy(ids))
    assert np.array_equal(rgb_to_ids(ids_to_rgb(ids)), ids)


def test_coco_reads_them_after_json():
    mask = torch.zeros(1, 40, 30, dtype=torch.bool)
    mask[0, 5:20, 7:9] = True
    entry = json.loads(json.dumps(PackedMasks.pack(mask).coco(0)))
    assert entry["size"] == [40, 30]
    raw = {"size": entry["size"], "counts": entry["counts"].encode()}
    assert np.array_equal(coco.decode(raw), mask[0].numpy())
    assert coco.toBbox(raw).tolist() == [7, 5, 2, 15]
    assert np.array_equal(mask_from_coco(entry), mask[0].numpy())
    assert np.array_equal(mask_from_coco(raw), mask[0].numpy())


def test_a_mask_not_laid_out_in_rows_is_packed_as_it_looks():
    mask = torch.rand(1, 6, 8).movedim(1, 2) > 0.5
    assert torch.equal(PackedMasks.pack(mask).unpack(), mask)


def test_some_of_them_and_several_together():
    masks = torch.rand(5, 6, 7) > 0.5
    packed = PackedMasks.pack(masks)
    assert torch.equal(packed.keep([3, 1]).unpack(), masks[[3, 1]])
    parts = [PackedMasks.pack(masks[:2]), PackedMasks.pack(masks[2:])]
    assert PackedMasks.join(parts, (6, 7)) == packed
    none = PackedMasks.join([], (6, 7))
    assert len(none) == 0
    assert none.unpack().shape == (0, 6, 7)
    with pytest.raises(ValueError, match="not all masks"):
        PackedMasks.join(parts, (7, 6))


def test_objects_of_a_large_picture_take_kilobytes():
    masks = torch.zeros(3, 1080, 1920, dtype=torch.bool)
    y, x = torch.meshgrid(torch.arange(1080), torch.arange(1920), indexing="ij")
    for row, (top, left, radius) in enumerate([(500, 900, 400), (200, 300, 100), (900, 1700, 50)]):
        masks[row] = (y - top) ** 2 + (x - left) ** 2 < radius**2
    packed = PackedMasks.pack(masks)
    assert sum(map(len, packed.counts)) < 8000
    assert torch.equal(packed.unpack(), masks)
    ids = (masks * torch.arange(1, 4)[:, None, None]).amax(0).to(torch.int32)
    assert len(PackedMap.pack(ids).data) < 40_000


def test_ids_that_no_png_holds_are_refused():
    with pytest.raises(ValueError, match="holds 0 to 16777215"):
        ids_to_rgb(np.array([[1 << 24]], dtype=np.int32))
    with pytest.raises(ValueError, match="start at 0"):
        PackedMap.pack(torch.tensor([[-1]], dtype=torch.int32))
