"""Turned weights compute the same, for as long as the block runs."""

import pytest
import torch
from torch import nn

from sleuth.nn.turned import TurnedProduct, TurnedWeights, has_onednn


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3, 5), (2, 1, 5), (2, 3, 5), (9, 5), (7, 9, 5), (64, 5), (0, 5)])
def test_the_same_product(bias: bool, shape: tuple[int, ...]) -> None:
    layer, x = nn.Linear(5, 7, bias=bias), torch.randn(*shape)
    expected = layer(x)
    turned = TurnedWeights([layer])
    with turned:
        assert "forward" in vars(layer)
        torch.testing.assert_close(layer(x), expected)
    assert "forward" not in vars(layer)
    with turned:
        torch.testing.assert_close(layer(x), expected)


def test_a_copy_is_made_when_it_first_pays() -> None:
    layer = nn.Linear(5, 7)
    product = TurnedProduct(layer.weight, layer.bias)
    for rows in (1, 8, 64, 300):
        product(torch.randn(rows, 5))
        assert product._turned is None
    product(torch.randn(9, 5))
    assert product._turned is not None
    assert product._turned.is_contiguous()


@pytest.mark.skipif(not has_onednn(), reason="this PyTorch has no oneDNN")
@pytest.mark.parametrize("bias", [True, False])
def test_a_large_head_is_read_as_it_is(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sleuth.nn.turned._LARGE", 1)
    layer = nn.Linear(50, 700, bias=bias)
    product = TurnedProduct(layer.weight, layer.bias)
    for rows in (1, 2, 3, 9, 32, 33, 70):
        x = torch.randn(rows, 50)
        torch.testing.assert_close(product(x), layer(x))
    assert product._turned is None


def test_the_layers_come_back_whatever_happens() -> None:
    layer = nn.Linear(5, 7)
    with pytest.raises(RuntimeError, match="stop"), TurnedWeights([layer]), TurnedWeights([layer]):
        raise RuntimeError("stop")
    assert "forward" not in vars(layer)
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_other_layers_are_left_alone() -> None:
    class Adapted(nn.Linear):
        pass

    layers = [Adapted(5, 7), nn.Linear(5, 7, dtype=torch.float64), nn.LayerNorm(5), nn.Linear(5, 7, device="meta")]
    with TurnedWeights(layers):
        assert not any("forward" in vars(layer) for layer in layers)
