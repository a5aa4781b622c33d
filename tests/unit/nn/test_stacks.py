"""Stacks: which norms there are, and that every decoder layer's states go out."""

import torch
from torch import nn

from sleuth.nn.layers import DecoderLayer, EncoderLayer
from sleuth.nn.stacks import Decoder, Encoder


def encoder(count: int, norm: nn.LayerNorm | None = None) -> Encoder:
    return Encoder([EncoderLayer(dim=8, num_heads=2, feedforward_dim=16) for _ in range(count)], norm=norm)


def decoder(count: int) -> Decoder:
    layers = [DecoderLayer(dim=8, num_heads=2, feedforward_dim=16) for _ in range(count)]
    return Decoder(layers, norm=nn.LayerNorm(8))


def test_encoder_is_its_layers_in_turn_each_with_positions() -> None:
    stack, tokens, pos = encoder(3), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    expected = tokens
    for layer in stack.layers:
        expected = layer(expected, pos)
    assert torch.equal(stack(tokens, pos), expected)


def test_an_encoder_without_norm_has_no_weights_for_one() -> None:
    assert not [key for key in encoder(2).state_dict() if key.startswith("norm")]
    assert [key for key in encoder(2, nn.LayerNorm(8)).state_dict() if key.startswith("norm")] == [
        "norm.weight",
        "norm.bias",
    ]


def test_an_encoder_of_no_layers_passes_tokens_on() -> None:
    tokens = torch.randn(2, 5, 8)
    assert torch.equal(encoder(0)(tokens), tokens)


def test_decoder_norm_is_applied_to_every_layer_but_not_between_them() -> None:
    stack, states, memory = decoder(3), torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    nn.init.normal_(stack.norm.weight)
    query_pos, memory_pos = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    every = stack(states, memory, query_pos=query_pos, memory_pos=memory_pos)
    assert every.shape == (3, 2, 3, 8)
    for index, layer in enumerate(stack.layers):
        states = layer(states, memory, query_pos=query_pos, memory_pos=memory_pos)
        assert torch.equal(every[index], stack.norm(states))
