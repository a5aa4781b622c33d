"""Label-smoothed cross-entropy of words: PyTorch's values and gradients, for any number of chunks."""

import pytest
import torch
import torch.nn.functional as F

from sleuth.losses import tokens
from sleuth.losses.tokens import token_cross_entropy


def case(words=37, vocabulary=23, dtype=torch.float32):
    logits = (torch.randn(words, vocabulary) * 3).to(dtype).requires_grad_()
    return logits, torch.randint(vocabulary, (words,))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("chunk", [1, 100, 2**20])
def test_as_torch_has_it(monkeypatch, smoothing, chunk):
    monkeypatch.setattr(tokens, "_CHUNK_CPU", chunk)
    logits, labels = case()
    ours = token_cross_entropy(logits, labels, smoothing)
    (grad,) = torch.autograd.grad(ours.smoothed / 37, logits)
    theirs = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    (wanted,) = torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(ours.smoothed / 37, theirs)
    torch.testing.assert_close(ours.nll / 37, F.cross_entropy(logits, labels))
    torch.testing.assert_close(grad, wanted)
    assert ours.correct == (logits.argmax(1) == labels).sum()
    assert not ours.nll.requires_grad


def test_gradient_by_differences():
    logits, labels = case(4, 5, torch.float64)
    # Values are summed in float32: steps must be coarse.
    (grad,) = torch.autograd.grad(token_cross_entropy(logits, labels, 0.2).smoothed, logits)
    for place in [(0, 0), (1, int(labels[1])), (3, 4)]:
        step = torch.zeros_like(logits)
        step[place] = 1e-2
        up, down = (token_cross_entropy(logits.detach() + s, labels, 0.2).smoothed for s in (step, -step))
        assert float(grad[place]) == pytest.approx(float(up - down) / 2e-2, abs=2e-3)


def test_bfloat16_is_summed_in_float32():
    logits, labels = case(500, 200, torch.bfloat16)
    ours = token_cross_entropy(logits, labels, 0.1)
    wide = logits.detach().float().requires_grad_()
    theirs = F.cross_entropy(wide, labels, label_smoothing=0.1, reduction="sum")
    assert ours.smoothed.dtype == torch.float32
    torch.testing.assert_close(ours.smoothed, theirs)
    (grad,) = torch.autograd.grad(ours.smoothed, logits)
    (wanted,) = torch.autograd.grad(theirs, wide)
    assert grad.dtype == torch.bfloat16
    torch.testing.assert_close(grad.float(), wanted, atol=4e-3, rtol=8e-3)


def test_no_words_pay_nothing():
    logits, labels = case(0, 5)
    ours = token_cross_entropy(logits, labels, 0.1)
    (grad,) = torch.autograd.grad(ours.smoothed, logits)
    assert float(ours.smoothed.detach()) == 0.0
    assert grad.shape == (0, 5)


def test_huge_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    ours = token_cross_entropy(logits, torch.tensor([0]), 0.0)
    (grad,) = torch.autograd.grad(ours.smoothed, logits)
    assert float(ours.smoothed.detach()) == 0.0
    assert grad.isfinite().all()


def test_non_finite_logits_show():
    logits = torch.tensor([[float("nan"), 0.0]])
    assert token_cross_entropy(logits, torch.tensor([0]), 0.1).smoothed.isnan()
