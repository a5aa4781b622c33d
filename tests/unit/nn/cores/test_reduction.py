"""Spatial reduction: the keys are those of a convolution, and padding changes nothing."""

import pytest
import torch
import torch.nn.functional as F

from sleuth.nn.attention import explicit_attention
from sleuth.nn.cores.reduction import ReducedAttention, SpatialReduction
from sleuth.nn.rotary import Rotation
from sleuth.types.memory import TokenGrid


def test_a_square_becomes_the_product_of_its_patches() -> None:
    reduction = SpatialReduction(dim=6, ratio=2)
    tokens = torch.randn(1, 1 + 4 * 4, 6)
    keys, valid = reduction(tokens, TokenGrid(4, 4, 1))
    assert valid is None
    assert keys.shape == (1, 5, 6)
    # The square of rows 2 and 3, columns 0 and 1, is the third.
    patches = tokens[0, 1:].unflatten(0, (4, 4))[2:4, 0:2]
    expected = torch.einsum("yxc,ocyx->o", patches, reduction.conv.weight) + reduction.conv.bias
    torch.testing.assert_close(keys[0, 3], F.layer_norm(expected, (6,), eps=1e-6), rtol=0, atol=1e-5)
    torch.testing.assert_close(keys[0, 0], F.layer_norm(tokens[0, 0], (6,), eps=1e-6), rtol=0, atol=1e-5)


def test_attention_looks_at_the_reduced_keys() -> None:
    attention = ReducedAttention(dim=8, num_heads=2, ratio=2)
    tokens, grid = torch.randn(2, 1 + 5 * 6, 8), TokenGrid(5, 6, 1)
    keys, _ = attention.reduction(tokens, grid)
    assert keys.shape[1] == 1 + 3 * 3
    inner = attention.attention
    q, k, v = (
        projection(x).unflatten(-1, (2, 4)).transpose(1, 2)
        for projection, x in ((inner.q_proj, tokens), (inner.k_proj, keys), (inner.v_proj, keys))
    )
    expected = inner.out_proj(explicit_attention(q, k, v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(tokens, None, None, grid), expected, rtol=0, atol=1e-5)


def test_padding_changes_nothing() -> None:
    attention = ReducedAttention(dim=8, num_heads=2, ratio=2)
    alone = torch.randn(1, 2 + 3 * 5, 8)
    expected = attention(alone, None, None, TokenGrid(3, 5, 2))
    padded = torch.randn(1, 6, 8, 8)  # whatever stands in the padding
    padded[:, :3, :5] = alone[:, 2:].unflatten(1, (3, 5))
    valid = torch.zeros(6, 8, dtype=torch.bool)
    valid[:3, :5] = True
    tokens = torch.cat((alone[:, :2], padded.flatten(1, 2)), dim=1)
    attend = F.pad(valid.flatten(), (2, 0), value=True)[None, None, None]
    found = attention(tokens, attend, None, TokenGrid(6, 8, 2))
    patches = found[:, 2:].unflatten(1, (6, 8))[:, :3, :5].flatten(1, 2)
    torch.testing.assert_close(torch.cat((found[:, :2], patches), dim=1), expected, rtol=0, atol=1e-5)


def test_without_a_grid_there_is_nothing_to_reduce() -> None:
    attention, tokens = ReducedAttention(dim=8, num_heads=2, ratio=2), torch.randn(1, 4, 8)
    with pytest.raises(ValueError, match="grid"):
        attention(tokens)
    turn = torch.ones(1, 1, 4, 4)
    with pytest.raises(ValueError, match="rotation"):
        attention(tokens, None, Rotation(turn, turn), TokenGrid(2, 2))
