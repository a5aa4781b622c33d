"""Blocks, drop path and layer scale."""

import torch
from torch import nn

from sleuth.nn.attention import SelfAttention
from sleuth.nn.blocks import PreNormBlock
from sleuth.nn.drop_path import DropPath, LayerScale, drop_path_shares
from sleuth.nn.feedforward import FeedForward, GatedFeedForward, gelu_tanh


def block(**options: float) -> PreNormBlock:
    return PreNormBlock(
        dim=8,
        attention=SelfAttention(dim=8, num_heads=2),
        feedforward=FeedForward(dim=8, hidden_dim=16),
        **options,
    )


def test_a_block_is_two_residual_steps() -> None:
    one, tokens = block(layer_scale=0.3), torch.randn(2, 5, 8)
    middle = tokens + 0.3 * one.attention(one.norm1(tokens))
    expected = middle + 0.3 * one.feedforward(one.norm2(middle))
    torch.testing.assert_close(one(tokens), expected)


def test_drop_path_leaves_out_whole_pictures() -> None:
    path, branch = DropPath(0.25).train(), torch.ones(4000, 2, 3)
    kept = path(branch)
    per_picture = kept.flatten(1)
    assert bool((per_picture == per_picture[:, :1]).all())
    assert set(per_picture[:, 0].unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs((per_picture[:, 0] == 0).float().mean() - 0.25) < 0.03
    assert torch.equal(path.eval()(branch), branch)


def test_a_block_whose_path_is_dropped_hands_on_its_tokens() -> None:
    one = block(drop_path=0.999999).train()
    tokens = torch.randn(3, 5, 8)
    assert torch.equal(one(tokens), tokens)
    assert not torch.equal(one.eval()(tokens), tokens)


def test_shares_grow_with_depth() -> None:
    assert drop_path_shares(0.3, 4) == [0.0, 0.3 / 3, 0.3 * 2 / 3, 0.3]
    assert drop_path_shares(0.3, 1) == [0.0]


def test_layer_scale_is_learned() -> None:
    scale = LayerScale(dim=3, start=0.1)
    scale(torch.ones(1, 2, 3)).sum().backward()
    assert scale.weight.grad.tolist() == [2.0, 2.0, 2.0]


def test_a_gated_network_is_its_formula() -> None:
    network, x = GatedFeedForward(dim=4, hidden_dim=6), torch.randn(1, 3, 4)
    weight, bias = network.linear1.weight, network.linear1.bias
    gate, up = x @ weight[:6].T + bias[:6], x @ weight[6:].T + bias[6:]
    expected = network.linear2(gate * torch.sigmoid(gate) * up)
    torch.testing.assert_close(network(x), expected)
    torch.testing.assert_close(gelu_tanh(x), nn.GELU(approximate="tanh")(x))
