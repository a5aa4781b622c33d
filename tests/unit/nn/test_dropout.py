"""Dropout: the right share, the right mean, the same numbers from the same seed."""

import pytest
import torch

from sleuth.nn.dropout import Dropout, dropout


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_share_is_dropped_and_the_mean_stays(share: float, dtype: torch.dtype):
    x = torch.ones(400, 1001, dtype=dtype)
    out = dropout(x, share)
    assert out.dtype == dtype
    assert float((out == 0).float().mean()) == pytest.approx(share, abs=0.004)
    # The scale may be rounded to bfloat16.
    assert float(out.float().mean()) == pytest.approx(1, abs=0.01 if share < 0.9 else 0.03)
    assert len(out.unique()) == 2


def test_every_place_and_every_byte_is_dropped_alike():
    counts = sum((dropout(torch.ones(64), 0.5) == 0).int() for _ in range(2000))
    assert counts.min() > 850
    assert counts.max() < 1150
    pairs = torch.stack([dropout(torch.ones(64), 0.5) == 0 for _ in range(2000)]).float()
    others = torch.corrcoef(pairs.T) - torch.eye(64)
    assert others.abs().max() < 0.12


def test_gradients_pass_where_numbers_stay():
    x = torch.randn(3, 5, requires_grad=True)
    out = dropout(x, 0.4)
    out.sum().backward()
    scale = 256 / (256 - round(0.4 * 256))
    assert torch.equal(x.grad != 0, out != 0)
    assert torch.allclose(x.grad[x.grad != 0], torch.tensor(scale))


def test_numbers_follow_from_the_seed():
    torch.manual_seed(4)
    one = dropout(torch.ones(9), 0.5)
    torch.manual_seed(4)
    assert torch.equal(dropout(torch.ones(9), 0.5), one)


def test_a_module_drops_while_training_only():
    module, x = Dropout(0.5), torch.ones(1000)
    assert not torch.equal(module(x), x)
    assert torch.equal(module.eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    with pytest.raises(ValueError, match="dropout = 1"):
        Dropout(1.0)
    assert dropout(torch.ones(0, 3), 0.5).shape == (0, 3)
