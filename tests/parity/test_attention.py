"""Our attention against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sleuth.nn.attention import (
    MultiHeadAttention,
    causal_mask,
    explicit_attention,
    fused_attention,
    padding_mask,
)

VALID = torch.tensor([[True] * 6, [True, True, True, True, False, False]])
CORES = pytest.mark.parametrize("core", [fused_attention, explicit_attention])


def pair(dim: int = 16, num_heads: int = 4) -> tuple[MultiHeadAttention, nn.MultiheadAttention]:
    """Ours and PyTorch's with the same weights."""
    theirs = nn.MultiheadAttention(dim, num_heads, batch_first=True)
    nn.init.normal_(theirs.in_proj_bias)
    nn.init.normal_(theirs.out_proj.bias)
    ours = MultiHeadAttention(dim=dim, num_heads=num_heads)
    with torch.no_grad():
        for projection, weight, bias in zip(
            (ours.q_proj, ours.k_proj, ours.v_proj),
            theirs.in_proj_weight.chunk(3),
            theirs.in_proj_bias.chunk(3),
            strict=True,
        ):
            projection.weight.copy_(weight)
            projection.bias.copy_(bias)
    ours.out_proj.load_state_dict(theirs.out_proj.state_dict())
    return ours, theirs


@CORES
@pytest.mark.parametrize("attend", [None, padding_mask(VALID), causal_mask(6), causal_mask(6) & padding_mask(VALID)])
def test_cores_against_scaled_dot_product_attention(core, attend: Tensor | None) -> None:
    q, k, v = (torch.randn(2, 4, 6, 8) for _ in range(3))
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=attend)
    assert (core(q, k, v, attend) - theirs).abs().max() <= 1e-6


@CORES
def test_causal_mask_is_pytorchs_is_causal(core) -> None:
    q, k, v = (torch.randn(2, 4, 6, 8) for _ in range(3))
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert (core(q, k, v, causal_mask(6)) - theirs).abs().max() <= 1e-6


@CORES
@pytest.mark.parametrize("masked", [False, True])
def test_self_attention(core, masked: bool) -> None:
    ours, theirs = pair()
    ours.core = core
    x = torch.randn(2, 6, 16)
    expected, _ = theirs(x, x, x, key_padding_mask=~VALID if masked else None, need_weights=False)
    actual = ours(x, x, x, padding_mask(VALID) if masked else None)
    assert (actual - expected).abs().max() <= 1e-6


@CORES
def test_cross_attention_with_keys_that_are_not_the_values(core) -> None:
    ours, theirs = pair()
    ours.core = core
    queries, memory, pos = torch.randn(2, 3, 16), torch.randn(2, 6, 16), torch.randn(2, 6, 16)
    expected, _ = theirs(queries, memory + pos, memory, key_padding_mask=~VALID)
    actual = ours(queries, memory + pos, memory, padding_mask(VALID))
    assert (actual - expected).abs().max() <= 1e-6


def test_causal_self_attention() -> None:
    ours, theirs = pair()
    x = torch.randn(2, 6, 16)
    expected, _ = theirs(x, x, x, attn_mask=~causal_mask(6)[0, 0])
    assert (ours(x, x, x, causal_mask(6)) - expected).abs().max() <= 1e-6


def test_gradients() -> None:
    ours, theirs = pair()
    queries, memory = torch.randn(2, 3, 16), torch.randn(2, 6, 16)
    weigh = torch.randn(2, 3, 16)
    (weigh * theirs(queries, memory, memory, key_padding_mask=~VALID)[0]).sum().backward()
    (weigh * ours(queries, memory, memory, padding_mask(VALID))).sum().backward()
    stacked = torch.cat([p.weight.grad for p in (ours.q_proj, ours.k_proj, ours.v_proj)])
    torch.testing.assert_close(stacked, theirs.in_proj_weight.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.out_proj.weight.grad, theirs.out_proj.weight.grad, atol=1e-5, rtol=1e-5)


def test_where_we_differ_a_blocked_row_is_zero_and_not_nan() -> None:
    """PyTorch's module gives NaN for a row whose keys are all padding; ours gives the output bias alone."""
    ours, theirs = pair()
    x, nothing = torch.randn(2, 6, 16), torch.tensor([[True] * 6, [False] * 6])
    assert bool(theirs(x, x, x, key_padding_mask=~nothing)[0][1].isnan().all())
    actual = ours(x, x, x, padding_mask(nothing))
    assert torch.equal(actual[1], ours.out_proj.bias.expand(6, -1))
    torch.testing.assert_close(actual[0], theirs(x, x, x)[0][0], atol=1e-6, rtol=0)


def test_fresh_weights_have_the_same_spread() -> None:
    ours, theirs = MultiHeadAttention(dim=64, num_heads=4), nn.MultiheadAttention(64, 4)
    torch.testing.assert_close(ours.q_proj.weight.std(), theirs.in_proj_weight.std(), rtol=0.05, atol=0)
    assert torch.equal(ours.q_proj.bias, theirs.in_proj_bias[:64])
