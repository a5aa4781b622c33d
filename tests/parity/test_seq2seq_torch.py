"""Our encoder and decoder beside `torch.nn.Transformer` with the same weights, post-norm and pre-norm."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq

CONFIG = Seq2SeqConfig(
    source_vocab=23,
    target_vocab=29,
    dim=16,
    num_heads=4,
    encoder_layers=2,
    decoder_layers=3,
    feedforward_dim=40,
    dropout=0.0,
    final_norm=True,
    output_bias=True,
)
_ATTENTIONS = {"self_attn": "self_attention", "multihead_attn": "cross_attention"}


def torch_transformer(config: Seq2SeqConfig) -> nn.Transformer:
    layer = {
        "d_model": config.dim,
        "nhead": config.num_heads,
        "dim_feedforward": config.feedforward_dim,
        "dropout": 0.0,
        "activation": config.activation,
        "norm_first": config.pre_norm,
        "batch_first": True,
    }
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(**layer),
        config.encoder_layers,
        norm=nn.LayerNorm(config.dim),
        enable_nested_tensor=False,  # it warns of what pre-norm cannot use
    )
    return nn.Transformer(num_decoder_layers=config.decoder_layers, custom_encoder=encoder, **layer)


def copy_weights(peer: nn.Transformer, ours: Seq2Seq) -> None:
    """PyTorch stacks q, k and v in one matrix; the other names differ slightly."""
    wanted = dict(ours.state_dict())
    for key, value in peer.state_dict().items():
        for theirs, mine in _ATTENTIONS.items():
            key = key.replace(theirs, mine)
        key = key.replace(".linear", ".feedforward.linear")
        if "in_proj" in key:
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                wanted[key.replace("in_proj_", f"{part}_proj.")] = rows
        else:
            wanted[key] = value
    ours.load_state_dict(wanted)


def vary(module: nn.Module) -> None:
    """Norms and biases that are not ones and zeros."""
    for parameter in module.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=1.0, std=0.3)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_the_same_states_as_pytorchs_transformer(pre_norm: bool, activation: str) -> None:
    config = replace(CONFIG, pre_norm=pre_norm, activation=activation)
    ours, peer = build_seq2seq(config), torch_transformer(config)
    vary(peer)
    copy_weights(peer, ours)
    source, target = torch.randint(3, 23, (3, 7)), torch.randint(3, 29, (3, 5))
    valid = torch.arange(7) < torch.tensor([[7], [3], [5]])
    found = ours(source, target, valid)
    states = peer(
        ours.source_embedding(source, ours.source_positions(7)),
        ours.target_embedding(target, ours.target_positions(5)),
        tgt_mask=torch.ones(5, 5).triu(1).bool(),
        src_key_padding_mask=~valid,
        memory_key_padding_mask=~valid,
        tgt_is_causal=True,
    )
    torch.testing.assert_close(found.logits, ours.head(states), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_the_same_gradient_as_pytorchs_transformer(pre_norm: bool) -> None:
    config = replace(CONFIG, pre_norm=pre_norm)
    ours, peer = build_seq2seq(config), torch_transformer(config)
    vary(peer)
    copy_weights(peer, ours)
    source, target = torch.randint(3, 23, (3, 7)), torch.randint(3, 29, (3, 5))
    embedded = ours.source_embedding(source, ours.source_positions(7))
    ours(source, target).logits.square().sum().backward()
    states = peer(
        embedded.detach(),
        ours.target_embedding(target, ours.target_positions(5)).detach(),
        tgt_mask=torch.ones(5, 5).triu(1).bool(),
        tgt_is_causal=True,
    )
    nn.functional.linear(states, ours.head.weight.detach(), ours.head.bias.detach()).square().sum().backward()
    mine = ours.decoder.layers[0].feedforward.linear1.weight.grad
    torch.testing.assert_close(mine, peer.decoder.layers[0].linear1.weight.grad, atol=1e-3, rtol=1e-4)
    mine = ours.encoder.layers[0].self_attention.v_proj.weight.grad
    torch.testing.assert_close(mine, peer.encoder.layers[0].self_attn.in_proj_weight.grad[32:], atol=1e-3, rtol=1e-4)
