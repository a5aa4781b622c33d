"""Attention: the two cores agree, masks hide what they should, and each head sees its own slice."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from sleuth.nn.attention import (
    MultiHeadAttention,
    attention_weights,
    causal_mask,
    explicit_attention,
    fused_attention,
    padding_mask,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def heads(queries: int = 5, keys: int = 7, head_dim: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v of two pictures and three heads."""
    return draw(2, 3, queries, head_dim), draw(2, 3, keys, head_dim, seed=1), draw(2, 3, keys, head_dim, seed=2)


VALID = torch.tensor([[True, True, True, True, True, False, False], [True, False, True, True, True, True, True]])
NOTHING_FOR_SOME = torch.ones(2, 1, 5, 7, dtype=torch.bool)
NOTHING_FOR_SOME[0, 0, 2] = False
NOTHING_FOR_SOME[1] = False

MASKS = {
    "none": None,
    "padding": padding_mask(VALID),
    "causal": causal_mask(7)[:, :, :5],
    "causal and padding": causal_mask(7)[:, :, :5] & padding_mask(VALID),
    "per head": draw(2, 3, 5, 7, seed=3) > -1.0,
    "some queries blocked": NOTHING_FOR_SOME,
}


@pytest.mark.parametrize("mask", MASKS)
def test_fused_and_explicit_agree(mask: str) -> None:
    q, k, v = heads()
    fused, explicit = fused_attention(q, k, v, MASKS[mask]), explicit_attention(q, k, v, MASKS[mask])
    assert (fused - explicit).abs().max() <= 1e-6


@pytest.mark.parametrize("mask", MASKS)
def test_gradients_of_fused_and_explicit_agree(mask: str) -> None:
    gradients = []
    for core in (fused_attention, explicit_attention):
        leaves = [x.clone().requires_grad_() for x in heads()]
        core(*leaves, MASKS[mask]).square().sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    for fused, explicit in zip(*gradients, strict=True):
        assert bool(fused.isfinite().all())
        torch.testing.assert_close(fused, explicit, atol=1e-5, rtol=1e-5)


def test_a_longer_sequence_agrees_too() -> None:
    """Beyond one tile of the fused kernel."""
    q, k, v = draw(1, 2, 300, 32), draw(1, 2, 700, 32, seed=1), draw(1, 2, 700, 32, seed=2)
    attend = padding_mask(torch.arange(700)[None] < 613)
    assert (fused_attention(q, k, v, attend) - explicit_attention(q, k, v, attend)).abs().max() <= 1e-6


def test_large_scores_stay_finite() -> None:
    q, k, v = heads()
    for core in (fused_attention, explicit_attention):
        assert bool(core(q * 1e4, k * 1e4, v).isfinite().all())


def test_a_query_that_may_look_at_nothing_brings_nothing_home() -> None:
    """Both cores give zeros, where a plain softmax gives NaN and torch.nn.MultiheadAttention does."""
    q, k, v = heads()
    for core in (fused_attention, explicit_attention):
        attended = core(q, k, v, NOTHING_FOR_SOME)
        assert bool((attended[0, :, 2] == 0).all())
        assert bool((attended[1] == 0).all())
        assert bool((attended[0, :, 3] != 0).all())
    weights = attention_weights(q, k, NOTHING_FOR_SOME)
    assert weights.sum(-1)[1].tolist() == [[0.0] * 5] * 3


def test_weights_are_a_distribution_over_the_keys_that_may_be_seen() -> None:
    q, k, _ = heads()
    attend = padding_mask(VALID)
    weights = attention_weights(q, k, attend)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5))
    assert bool((weights.masked_select(~attend) == 0).all())
    assert bool((weights.masked_select(attend) > 0).all())


def test_weights_by_hand() -> None:
    q = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    k = torch.tensor([[[[2.0, 0.0, 0.0, 0.0], [0.0, 5.0, 0.0, 0.0]]]])
    seen = 1 / (1 + math.exp(-1.0))  # scores are 2 / sqrt(4) and 0
    assert attention_weights(q, k).flatten().tolist() == pytest.approx([seen, 1 - seen])


def test_hidden_keys_have_no_effect() -> None:
    q, k, v = heads()
    other_k, other_v = k.clone(), v.clone()
    hidden = ~VALID[:, None, :, None].expand_as(k)
    other_k[hidden], other_v[hidden] = 100.0, -100.0
    for core in (fused_attention, explicit_attention):
        assert torch.equal(core(q, k, v, padding_mask(VALID)), core(q, other_k, other_v, padding_mask(VALID)))


def test_causal_mask_hides_the_future() -> None:
    assert causal_mask(3)[0, 0].tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    q, k, v = heads(queries=7)
    before = explicit_attention(q, k, v, causal_mask(7))
    k[:, :, 4:], v[:, :, 4:] = 9.0, 9.0
    after = explicit_attention(q, k, v, causal_mask(7))
    assert torch.equal(before[:, :, :4], after[:, :, :4])
    assert not torch.equal(before[:, :, 4:], after[:, :, 4:])


def test_attention_does_not_care_about_the_order_of_keys() -> None:
    q, k, v = heads()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(5))
    shuffled = fused_attention(q, k[:, :, order], v[:, :, order], padding_mask(VALID[:, order]))
    torch.testing.assert_close(shuffled, fused_attention(q, k, v, padding_mask(VALID)), atol=1e-6, rtol=0)


def test_dropout_drops_weights_and_keeps_their_mean() -> None:
    q, k = torch.zeros(1, 1, 2000, 4), torch.zeros(1, 1, 10, 4)
    v = torch.ones(1, 1, 10, 4)
    for core in (fused_attention, explicit_attention):
        torch.manual_seed(0)
        dropped = core(q, k, v, None, 0.5)
        assert dropped.std() > 0.1
        assert abs(dropped.mean().item() - 1.0) < 0.03


def attention(**options: object) -> MultiHeadAttention:
    torch.manual_seed(0)
    return MultiHeadAttention(dim=12, num_heads=3, **options)


def test_multi_head_is_each_head_on_its_own_slice() -> None:
    module = attention().eval()
    queries, keys, values = draw(2, 5, 12), draw(2, 7, 12, seed=1), draw(2, 7, 12, seed=2)
    slices = []
    for head in range(3):
        at = slice(4 * head, 4 * head + 4)
        q = module.q_proj(queries)[..., at]
        k = module.k_proj(keys)[..., at]
        v = module.v_proj(values)[..., at]
        slices.append((q @ k.transpose(1, 2) / 2.0).softmax(-1) @ v)
    expected = module.out_proj(torch.cat(slices, dim=-1))
    torch.testing.assert_close(module(queries, keys, values), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("queries", "keys", "masked"), [(4, 4, False), (4, 6, False), (4, 6, True), (4, 4, True)])
def test_multi_head_with_either_core(queries: int, keys: int, masked: bool) -> None:
    fused, explicit = attention().eval(), attention(core=explicit_attention).eval()
    x, memory = draw(2, queries, 12), draw(2, keys, 12, seed=1)
    attend = padding_mask(torch.arange(keys)[None] < torch.tensor([[keys], [keys - 2]])) if masked else None
    assert (fused(x, memory, memory, attend) - explicit(x, memory, memory, attend)).abs().max() <= 1e-6


def test_a_blocked_row_stays_finite_through_a_training_step() -> None:
    module = attention()
    x = draw(2, 4, 12).requires_grad_()
    module(x, x, x, padding_mask(torch.tensor([[True] * 4, [False] * 4]))).sum().backward()
    for tensor in (x, *module.parameters()):
        assert tensor.grad is not None
        assert bool(tensor.grad.isfinite().all())


def test_dropout_is_for_training_only() -> None:
    module = attention(dropout=0.9)
    x = draw(1, 4, 12)
    assert not torch.equal(module(x, x, x), module(x, x, x))
    module.eval()
    assert torch.equal(module(x, x, x), module(x, x, x))


def test_dim_must_be_a_multiple_of_the_heads() -> None:
    with pytest.raises(ValueError, match="dim 10 is not a multiple of num_heads 3"):
        MultiHeadAttention(dim=10, num_heads=3)


def test_fresh_weights_are_those_of_the_stacked_xavier() -> None:
    """The original draws q, k and v as one [3 dim, dim] matrix, which makes each narrower than one alone."""
    module = MultiHeadAttention(dim=64, num_heads=8)
    bound = math.sqrt(6 / (64 + 3 * 64))
    for name, projection in itertools.islice(module.named_children(), 3):
        assert projection.weight.abs().max().item() == pytest.approx(bound, rel=0.02), name
        assert bool((projection.bias == 0).all())
