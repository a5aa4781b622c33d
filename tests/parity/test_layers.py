"""Our encoder and decoder layers, without positions, against PyTorch's own."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sleuth.nn.attention import MultiHeadAttention, causal_mask, padding_mask
from sleuth.nn.feedforward import FeedForward
from sleuth.nn.layers import DecoderLayer, EncoderLayer
from sleuth.nn.stacks import Encoder

BOTH_NORMS = pytest.mark.parametrize("pre_norm", [False, True])
ACTIVATIONS = pytest.mark.parametrize("activation", [F.relu, F.gelu], ids=["relu", "gelu"])
VALID = torch.tensor([[True] * 7, [True, True, True, True, False, False, False]])


def copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    weights, biases = theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3)
    for projection, weight, bias in zip((ours.q_proj, ours.k_proj, ours.v_proj), weights, biases, strict=True):
        projection.load_state_dict({"weight": weight, "bias": bias})
    ours.out_proj.load_state_dict(theirs.out_proj.state_dict())


def copy_feedforward(ours: FeedForward, theirs: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer) -> None:
    ours.linear1.load_state_dict(theirs.linear1.state_dict())
    ours.linear2.load_state_dict(theirs.linear2.state_dict())


def randomise(theirs: nn.Module) -> None:
    """Norms and biases start out as ones and zeros, which would hide a mix-up."""
    for parameter in theirs.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=0.5)


def encoder_pair(pre_norm: bool, activation: Callable) -> tuple[EncoderLayer, nn.TransformerEncoderLayer]:
    theirs = nn.TransformerEncoderLayer(
        16, 4, 32, dropout=0.0, activation=activation, batch_first=True, norm_first=pre_norm
    )
    randomise(theirs)
    ours = EncoderLayer(dim=16, num_heads=4, feedforward_dim=32, activation=activation, pre_norm=pre_norm)
    copy_attention(ours.self_attention, theirs.self_attn)
    copy_feedforward(ours.feedforward, theirs)
    ours.norm1.load_state_dict(theirs.norm1.state_dict())
    ours.norm2.load_state_dict(theirs.norm2.state_dict())
    return ours, theirs


def decoder_pair(pre_norm: bool, activation: Callable) -> tuple[DecoderLayer, nn.TransformerDecoderLayer]:
    theirs = nn.TransformerDecoderLayer(
        16, 4, 32, dropout=0.0, activation=activation, batch_first=True, norm_first=pre_norm
    )
    randomise(theirs)
    ours = DecoderLayer(dim=16, num_heads=4, feedforward_dim=32, activation=activation, pre_norm=pre_norm)
    copy_attention(ours.self_attention, theirs.self_attn)
    copy_attention(ours.cross_attention, theirs.multihead_attn)
    copy_feedforward(ours.feedforward, theirs)
    for name in ("norm1", "norm2", "norm3"):
        getattr(ours, name).load_state_dict(getattr(theirs, name).state_dict())
    return ours, theirs


@BOTH_NORMS
@ACTIVATIONS
@pytest.mark.parametrize("masked", [False, True])
def test_encoder_layer(pre_norm: bool, activation: Callable, masked: bool) -> None:
    ours, theirs = encoder_pair(pre_norm, activation)
    x = torch.randn(2, 7, 16)
    expected = theirs(x, src_key_padding_mask=~VALID if masked else None)
    actual = ours(x, attend=padding_mask(VALID) if masked else None)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@BOTH_NORMS
@ACTIVATIONS
def test_decoder_layer(pre_norm: bool, activation: Callable) -> None:
    ours, theirs = decoder_pair(pre_norm, activation)
    states, memory = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    expected = theirs(states, memory, tgt_mask=~causal_mask(5)[0, 0], memory_key_padding_mask=~VALID)
    actual = ours(states, memory, attend=causal_mask(5), attend_memory=padding_mask(VALID))
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def gradient(module: nn.Module, run: Callable[[Tensor], Tensor]) -> Tensor:
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(7)).requires_grad_()
    run(x).square().sum().backward()
    assert x.grad is not None
    return x.grad


@BOTH_NORMS
def test_gradients(pre_norm: bool) -> None:
    ours, theirs = decoder_pair(pre_norm, F.relu)
    memory = torch.randn(2, 7, 16)
    expected = gradient(theirs, lambda x: theirs(x, memory))
    actual = gradient(ours, lambda x: ours(x, memory))
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.feedforward.linear1.weight.grad, theirs.linear1.weight.grad, atol=1e-4, rtol=1e-4)


@BOTH_NORMS
def test_a_stack_of_encoder_layers(pre_norm: bool) -> None:
    pairs = [encoder_pair(pre_norm, F.relu) for _ in range(3)]
    norm = nn.LayerNorm(16) if pre_norm else None
    ours = Encoder([pair[0] for pair in pairs], norm=norm)
    x = torch.randn(2, 7, 16)
    expected = x
    for _, theirs in pairs:
        expected = theirs(expected, src_key_padding_mask=~VALID)
    expected = expected if norm is None else norm(expected)
    torch.testing.assert_close(ours(x, attend=padding_mask(VALID)), expected, atol=1e-5, rtol=1e-5)
