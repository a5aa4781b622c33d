import pytest
import torch
from torch import nn

from sleuth.explain.record import record_attention
from sleuth.nn.attention import fused_attention
from sleuth.nn.layers import DecoderLayer


def layer(dropout: float = 0.0) -> DecoderLayer:
    return DecoderLayer(dim=8, num_heads=2, feedforward_dim=16, dropout=dropout).eval()


def test_weights_are_recorded_by_module_and_the_answer_stays_the_same():
    module, states, memory = layer(), torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    expected = module(states, memory)
    with record_attention(module) as maps:
        found = module(states, memory)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert list(maps) == ["self_attention", "cross_attention"]
    assert len(maps) == 2
    assert maps["cross_attention"].shape == (1, 2, 3, 5)
    torch.testing.assert_close(maps["cross_attention"].sum(-1), torch.ones(1, 2, 3))
    assert module.self_attention.core is fused_attention


def test_every_run_is_kept_and_the_last_is_given():
    module, memory = layer(), torch.randn(1, 5, 8)
    with record_attention(module, only="cross") as maps:
        for _ in range(2):
            module(torch.randn(1, 3, 8), memory)
    assert list(maps) == ["cross_attention"]
    assert len(maps.entries["cross_attention"]) == 2
    assert maps["cross_attention"] is maps.entries["cross_attention"][-1]


def test_cores_come_back_after_a_failure():
    module = layer()

    def fail() -> None:
        with record_attention(module):
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail()
    assert module.cross_attention.core is fused_attention


def test_an_empty_record_is_an_error():
    with pytest.raises(ValueError, match="no attention was recorded"), record_attention(layer()):
        pass
    with pytest.raises(ValueError, match="no attention whose name holds"), record_attention(nn.Linear(2, 2)):
        pass
    with pytest.raises(ValueError, match="holds 'mask'"), record_attention(layer(), only="mask"):
        pass


def test_dropout_cannot_be_recorded():
    module = layer(dropout=0.5).train()
    with pytest.raises(RuntimeError, match=r"call model\.eval"), record_attention(module):
        module(torch.randn(1, 3, 8), torch.randn(1, 5, 8))
    assert module.self_attention.core is fused_attention


def test_an_unknown_name_lists_the_known_ones():
    module = layer()
    with record_attention(module) as maps:
        module(torch.randn(1, 3, 8), torch.randn(1, 5, 8))
    with pytest.raises(KeyError, match="cross_attention"):
        maps["encoder"]
