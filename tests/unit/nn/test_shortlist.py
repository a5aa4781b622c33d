"""The best word by a shortlist is the best word of float32, whatever bytes make of the scores."""

import pytest
import torch
from torch import nn

from sleuth.nn.shortlist import Shortlist, _near_the_best, multiplies_bytes, worth_a_shortlist

needs_bytes = pytest.mark.skipif(not multiplies_bytes(), reason="this processor has no product of bytes (VNNI or AMX)")


def head(words: int, dim: int, *, bias: bool = False, scale: float = 1.0) -> nn.Linear:
    made = nn.Linear(dim, words, bias=bias)
    nn.init.normal_(made.weight, std=scale * dim**-0.5)
    return made


@needs_bytes
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("words", "dim"), [(5003, 64), (4096, 33), (17, 8)])
@torch.no_grad()
def test_words_are_those_of_float32(words: int, dim: int, bias: bool):
    made = head(words, dim, bias=bias)
    shortlist = Shortlist(made)
    for _ in range(5):
        states = torch.nn.functional.layer_norm(torch.randn(40, dim), (dim,))
        scores = made(states)
        assert torch.equal(shortlist.best(states), scores.argmax(1))
        banned = scores.argmax(1).unique()[:3].tolist()
        scores[:, banned] = float("-inf")
        assert torch.equal(shortlist.best(states, banned), scores.argmax(1))


@needs_bytes
@torch.no_grad()
def test_words_that_bytes_cannot_tell_apart_are_told_apart():
    made = head(4096, 64)
    # A hundred words that are nearly the same one, and a state that likes them best.
    made.weight[100:200] = made.weight[100] * 4 + 1e-4 * torch.randn(100, 64)
    states = made.weight[100].repeat(8, 1) + 0.01 * torch.randn(8, 64)
    scores = made(states)
    shortlist = Shortlist(made)
    rough, off = shortlist._rough(states)
    assert (rough.topk(100, dim=1).values.diff(dim=1).abs().amax(1) < off).all()
    found = shortlist.best(states)
    exact = (states.double() @ made.weight.double().T).argmax(1)
    best = scores.gather(1, exact[:, None])
    assert torch.allclose(scores.gather(1, found[:, None]), best, rtol=1e-6)
    assert ((found >= 100) & (found < 200)).all()


@needs_bytes
@torch.no_grad()
def test_the_first_of_equals_wins():
    made = head(50, 16)
    made.weight[[7, 31]] = 5 * torch.ones(16)
    assert Shortlist(made).best(torch.ones(3, 16)).tolist() == [7, 7, 7]


@needs_bytes
def test_large_and_small_weights_keep_the_bound():
    made = head(5000, 32, scale=100.0)
    with torch.no_grad():
        states = 50 * torch.randn(30, 32)
        assert torch.equal(Shortlist(made).best(states), made(states).argmax(1))


@needs_bytes
@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
def test_no_score_is_off_by_more_than_it_is_said(bias: bool):
    made = head(3000, 96, bias=bias, scale=3.0)
    states = torch.randn(20, 96) * torch.logspace(-3, 3, 20)[:, None]
    rough, off = Shortlist(made)._rough(states)
    exact = states.double() @ made.weight.double().T + (made.bias.double() if bias else 0)
    wrong = (rough - exact).abs().amax(1)
    assert (wrong <= off).all()
    assert (off < 20 * wrong).all()  # and not by saying too much


@needs_bytes
@torch.no_grad()
def test_a_row_that_nearly_all_words_please_alike_is_scored_in_full():
    made = head(4096, 16)
    made.weight[:] = made.weight[0] + 1e-5 * torch.randn(4096, 16)
    states = torch.randn(3, 16)
    assert torch.equal(Shortlist(made).best(states), made(states).argmax(1))
    best = made(states).argmax(1).tolist()
    assert not set(Shortlist(made).best(states, best).tolist()) & set(best)


@needs_bytes
@torch.no_grad()
def test_a_state_of_zeros_asks_the_bias_alone():
    made = head(5000, 16, bias=True)
    assert Shortlist(made).best(torch.zeros(2, 16)).tolist() == [int(made.bias.argmax())] * 2


def test_all_words_near_the_best_are_found():
    scores, slack = torch.randn(6, 103), torch.linspace(0, 2, 6)
    rows, words = _near_the_best(scores, slack)
    found = set(zip(rows.tolist(), words.tolist(), strict=True))
    least = scores.amax(1) - slack
    assert found == {(r, w) for r in range(6) for w in range(103) if scores[r, w] >= least[r]}


def test_small_heads_and_other_types_do_without():
    assert not worth_a_shortlist(head(100, 16))
    assert not worth_a_shortlist(head(5000, 16).half())
    assert not worth_a_shortlist(nn.Identity())
