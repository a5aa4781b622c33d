"""Packed weights compute the same, whatever numbers of rows come."""

import pytest
import torch
from torch import nn

from sleuth.nn.packed import PackedWeights, can_pack, packed_linears

pytestmark = pytest.mark.skipif(not can_pack(), reason="this PyTorch has no MKL")


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_the_same_product(bias: bool) -> None:
    layer = nn.Linear(64, 48, bias=bias)
    packed = PackedWeights([layer])
    for shape in [(7, 64), (7, 64), (1, 7, 64), (3, 64), (2, 4, 64), (8, 64), (7, 64), (7, 64), (0, 64)]:
        x = torch.randn(*shape)
        expected = layer(x)
        with packed:
            assert "forward" in vars(layer)
            torch.testing.assert_close(layer(x), expected)
        assert "forward" not in vars(layer)


@torch.no_grad()
def test_weights_are_packed_when_a_number_of_rows_comes_twice() -> None:
    layer = nn.Linear(8, 8)
    packed = PackedWeights([layer])
    ((_, forward),) = packed._forwards
    found = []
    for rows in (5, 6, 6, 5, 6, 5, 5):
        with packed:
            layer(torch.randn(rows, 8))
        found.append(forward.packed_for)
    assert found == [0, 0, 6, 6, 6, 6, 5]


@torch.no_grad()
def test_a_whole_model_in_other_types_too() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 4))
    x = torch.randn(6, 8)
    expected = model(x)
    packed = packed_linears(model)
    for _ in range(3):
        with packed:
            torch.testing.assert_close(model(x), expected)
    with packed, torch.autocast("cpu", dtype=torch.bfloat16):
        assert (model(x) - expected).abs().max() < 0.1
