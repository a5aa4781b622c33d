"""The flat step is the decoder's step, whatever the stack, the padding, and the rows of a sentence."""

import copy

import pytest
import torch
from torch import nn

from sleuth.nn.attention import explicit_attention
from sleuth.nn.flat_decoder import FlatDecoder, can_be_flat
from sleuth.nn.language import DecoderCache, LanguageDecoder
from sleuth.nn.layers import DecoderLayer


def decoder(*, pre_norm: bool = False, layers: int = 3, final_norm: bool = False) -> LanguageDecoder:
    made = [DecoderLayer(dim=12, num_heads=3, feedforward_dim=20, pre_norm=pre_norm) for _ in range(layers)]
    model = LanguageDecoder(made, norm=nn.LayerNorm(12) if final_norm else None).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def start(model: LanguageDecoder, *, padded: bool) -> DecoderCache:
    valid = torch.arange(5) < torch.tensor([[5], [2], [4], [1]]) if padded else None
    return model.start(torch.randn(4, 5, 12), valid)


@torch.no_grad()
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("pre_norm", "final_norm"), [(False, False), (True, True), (False, True)])
def test_the_step_of_the_decoder(pre_norm: bool, final_norm: bool, padded: bool) -> None:
    """Beyond the room that a cache has at first, with rows that split, take over others' words, and leave."""
    model = decoder(pre_norm=pre_norm, final_norm=final_norm)
    flat, one = FlatDecoder(model), start(model, padded=padded)
    other = copy.deepcopy(one)
    for number in range(40):
        if number == 2:
            one.split(3)
            other.split(3)
        if number == 3:
            one.copy_rows([0, 10], [2, 9])
            other.copy_rows([0, 10], [2, 9])
        if number == 4:
            one.keep([0, 3, 2])
            other.keep([0, 3, 2])
        states = torch.randn(one.rows, 12)
        torch.testing.assert_close(flat.step(states, other), model.step(states[:, None], one)[:, 0])
    assert one.shapes() == other.shapes()
    torch.testing.assert_close(one.words[:, :, :9, :40], other.words[:, :, :9, :40])


def test_what_is_not_plain_takes_its_own_steps() -> None:
    class Adapted(nn.Linear):
        pass

    assert can_be_flat(decoder())
    model = decoder()
    model.layers[1].feedforward.linear1 = Adapted(12, 20)
    assert not can_be_flat(model)
    model = decoder()
    model.layers[2].cross_attention.core = explicit_attention
    assert not can_be_flat(model)
    assert not can_be_flat(decoder().double())
    assert not can_be_flat(decoder(layers=0))
