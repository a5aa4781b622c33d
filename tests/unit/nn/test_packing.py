"""Packing: every picture finds its place, and nobody sees a neighbour."""

import pytest
import torch

from sleuth.nn.packing import plan_packing


def test_short_ones_share_a_row() -> None:
    packing = plan_packing([4, 10, 3, 3, 7])
    assert packing.capacity == 10
    assert packing.num_rows == 3
    for row in range(packing.num_rows):
        taken = [n for at, n in zip(packing.rows, packing.lengths, strict=True) if at == row]
        assert sum(taken) <= 10


def test_what_is_packed_comes_out_again() -> None:
    sequences = [torch.randn(length, 3) for length in (4, 10, 3, 3, 7)]
    packing = plan_packing([len(each) for each in sequences], capacity=12)
    packed = packing.pack(sequences)
    assert packed.shape == (packing.num_rows, 12, 3)
    for before, after in zip(sequences, packing.unpack(packed), strict=True):
        assert torch.equal(before, after)
    assert packed.abs().sum() == pytest.approx(sum(float(each.abs().sum()) for each in sequences), rel=1e-5)


def test_the_mask_parts_pictures() -> None:
    packing = plan_packing([2, 3, 1])
    assert packing.rows == (1, 0, 1)
    mask = packing.block_mask()
    assert mask.shape == (2, 1, 3, 3)
    assert mask[0, 0].all()
    assert mask[1, 0].int().tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert packing.owners().tolist() == [[1, 1, 1], [0, 0, 2]]


def test_empty_places_see_nothing() -> None:
    mask = plan_packing([2, 3]).block_mask()
    assert mask[1, 0].int().tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_a_picture_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        plan_packing([5, 9], capacity=8)
