"""Packing loses nothing, overlaps nowhere, and needs no more rows than padding."""

import math

import hypothesis.strategies as st
import torch
from hypothesis import given

from sleuth.nn.packing import plan_packing

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@given(LENGTHS, st.integers(0, 30))
def test_every_token_has_one_place_of_its_own(lengths: list[int], more: int) -> None:
    packing = plan_packing(lengths, capacity=max(lengths) + more)
    assert packing.num_rows <= len(lengths)
    counts = packing.owners().flatten().unique(return_counts=True)
    found = {int(owner): int(count) for owner, count in zip(*counts, strict=True) if owner >= 0}
    assert found == dict(enumerate(lengths))


@given(LENGTHS)
def test_the_mask_is_of_whole_pictures(lengths: list[int]) -> None:
    packing = plan_packing(lengths)
    mask = packing.block_mask()
    assert torch.equal(mask, mask.transpose(-2, -1))
    assert int(mask.sum()) == sum(length**2 for length in lengths)


@given(LENGTHS)
def test_keys_that_are_fewer_stay_with_their_pictures(lengths: list[int]) -> None:
    packing, fewer = plan_packing(lengths), [-(-length // 4) for length in lengths]
    keys = packing.of_lengths(fewer)
    assert keys.rows == packing.rows
    assert int((keys.owners() >= 0).sum()) == sum(fewer)
    assert int(packing.block_mask(keys=keys).sum()) == sum(map(math.prod, zip(lengths, fewer, strict=True)))


@given(LENGTHS)
def test_what_is_packed_comes_out_again(lengths: list[int]) -> None:
    sequences = [torch.randn(length, 2) for length in lengths]
    packing = plan_packing(lengths)
    assert all(
        torch.equal(before, after)
        for before, after in zip(sequences, packing.unpack(packing.pack(sequences)), strict=True)
    )
