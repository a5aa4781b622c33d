"""Layers: positions go to queries and keys, never to values; masks hide; norms sit where they should."""

import pytest
import torch
from torch import Tensor, nn

from sleuth.nn.attention import MultiHeadAttention, causal_mask, padding_mask
from sleuth.nn.layers import DecoderLayer, EncoderLayer

BOTH_NORMS = pytest.mark.parametrize("pre_norm", [False, True])


def encoder_layer(**options: object) -> EncoderLayer:
    return EncoderLayer(dim=8, num_heads=2, feedforward_dim=16, **options).eval()


def decoder_layer(**options: object) -> DecoderLayer:
    return DecoderLayer(dim=8, num_heads=2, feedforward_dim=16, **options).eval()


class Ears:
    """Hears what each attention of a layer is given."""

    def __init__(self, layer: nn.Module) -> None:
        self.heard: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        for name, module in layer.named_modules():
            if isinstance(module, MultiHeadAttention):
                module.register_forward_pre_hook(lambda _, given, name=name: self.heard.update({name: given[:3]}))


@BOTH_NORMS
def test_encoder_layer_adds_positions_to_queries_and_keys_only(pre_norm: bool) -> None:
    layer = encoder_layer(pre_norm=pre_norm)
    ears = Ears(layer)
    tokens, pos = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    layer(tokens, pos)
    queries, keys, values = ears.heard["self_attention"]
    seen = layer.norm1(tokens) if pre_norm else tokens
    assert torch.equal(values, seen)
    assert torch.equal(queries, seen + pos)
    assert torch.equal(keys, seen + pos)


@BOTH_NORMS
def test_decoder_layer_adds_positions_to_queries_and_keys_only(pre_norm: bool) -> None:
    layer = decoder_layer(pre_norm=pre_norm)
    ears = Ears(layer)
    states, memory = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    query_pos, memory_pos = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    layer(states, memory, query_pos=query_pos, memory_pos=memory_pos)
    queries, keys, values = ears.heard["self_attention"]
    seen = layer.norm1(states) if pre_norm else states
    assert torch.equal(values, seen)
    assert torch.equal(queries, seen + query_pos)
    assert torch.equal(keys, seen + query_pos)
    queries, keys, values = ears.heard["cross_attention"]
    assert torch.equal(values, memory)
    assert torch.equal(keys, memory + memory_pos)
    without = layer.self_attention(*ears.heard["self_attention"])
    conferred = layer.norm2(states + without) if pre_norm else layer.norm1(states + without)
    torch.testing.assert_close(queries, conferred + query_pos)


@BOTH_NORMS
def test_positions_alone_move_weights_but_bring_nothing_home(pre_norm: bool) -> None:
    """With all tokens alike, any weights bring home the same values: positions then change nothing at all."""
    same = torch.randn(1, 1, 8).expand(2, 5, 8).contiguous()
    layer, pos = encoder_layer(pre_norm=pre_norm), 10 * torch.randn(2, 5, 8)
    torch.testing.assert_close(layer(same, pos), layer(same), atol=1e-5, rtol=1e-5)
    decoder, queries = decoder_layer(pre_norm=pre_norm), torch.randn(1, 1, 8).expand(2, 3, 8).contiguous()
    asked = decoder(queries, same, query_pos=10 * torch.randn(2, 3, 8), memory_pos=pos)
    torch.testing.assert_close(asked, decoder(queries, same), atol=1e-5, rtol=1e-5)


def test_positions_matter_where_tokens_differ() -> None:
    tokens, pos = torch.randn(1, 5, 8), 3 * torch.randn(1, 5, 8)
    layer = encoder_layer()
    assert (layer(tokens, pos) - layer(tokens)).abs().max() > 1e-3


def test_one_position_table_serves_the_whole_batch() -> None:
    layer, tokens, pos = encoder_layer(), torch.randn(3, 5, 8), torch.randn(1, 5, 8)
    assert torch.equal(layer(tokens, pos), layer(tokens, pos.expand(3, -1, -1)))


@BOTH_NORMS
def test_encoder_layer_is_equivariant_to_the_order_of_tokens(pre_norm: bool) -> None:
    layer, tokens, pos = encoder_layer(pre_norm=pre_norm), torch.randn(2, 6, 8), torch.randn(2, 6, 8)
    order = torch.randperm(6)
    torch.testing.assert_close(layer(tokens, pos)[:, order], layer(tokens[:, order], pos[:, order]))


@BOTH_NORMS
def test_padded_tokens_are_never_looked_at(pre_norm: bool) -> None:
    valid = torch.tensor([[True, True, True, False, False]])
    tokens, pos = torch.randn(1, 5, 8), torch.randn(1, 5, 8)
    other = torch.where(valid[..., None], tokens, torch.full_like(tokens, 50.0))
    layer = encoder_layer(pre_norm=pre_norm)
    mask = padding_mask(valid)
    assert torch.equal(layer(tokens, pos, mask)[:, :3], layer(other, pos, mask)[:, :3])
    torch.testing.assert_close(layer(tokens, pos, mask)[:, :3], layer(tokens[:, :3], pos[:, :3]))
    decoder, states = decoder_layer(pre_norm=pre_norm), torch.randn(1, 2, 8)
    assert torch.equal(decoder(states, tokens, attend_memory=mask), decoder(states, other, attend_memory=mask))


@BOTH_NORMS
def test_a_causal_decoder_does_not_see_the_future(pre_norm: bool) -> None:
    decoder, memory, states = decoder_layer(pre_norm=pre_norm), torch.randn(1, 5, 8), torch.randn(1, 4, 8)
    other = states.clone()
    other[:, 3] += 1
    before, after = (decoder(x, memory, attend=causal_mask(4)) for x in (states, other))
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3], after[:, 3])


def test_post_norm_output_is_normalised_and_pre_norm_keeps_the_residual_path() -> None:
    tokens = 100 * torch.randn(1, 4, 8)
    normalised = encoder_layer()(tokens)
    torch.testing.assert_close(normalised.mean(-1), torch.zeros(1, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.var(-1, correction=0), torch.ones(1, 4), atol=1e-3, rtol=0)
    assert (encoder_layer(pre_norm=True)(tokens) - tokens).abs().max() < 20


def test_dropout_is_for_training_only() -> None:
    layer, tokens = encoder_layer(dropout=0.5), torch.randn(1, 4, 8)
    assert torch.equal(layer(tokens), layer(tokens))
    layer.train()
    assert not torch.equal(layer(tokens), layer(tokens))


@BOTH_NORMS
def test_every_weight_takes_part(pre_norm: bool) -> None:
    encoder, decoder = encoder_layer(pre_norm=pre_norm), decoder_layer(pre_norm=pre_norm)
    memory = encoder(torch.randn(2, 5, 8), torch.randn(2, 5, 8))
    weigh = torch.randn(2, 3, 8)  # a plain sum of normalised states has no gradient
    (weigh * decoder(torch.randn(2, 3, 8), memory, query_pos=torch.randn(2, 3, 8))).sum().backward()
    for part in (encoder, decoder):
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
            if not name.endswith("k_proj.bias"):  # adds the same to every score of a query: no effect
                assert parameter.grad.abs().max() > 1e-7, name
