"""The best word by a shortlist is the best word of float32, whatever bfloat16 makes of the scores."""

import pytest
import torch
from torch import nn

from sleuth.nn.shortlist import Shortlist, _at_least, worth_a_shortlist


def head(words: int, dim: int, *, bias: bool = False, scale: float = 1.0) -> nn.Linear:
    made = nn.Linear(dim, words, bias=bias)
    nn.init.normal_(made.weight, std=scale * dim**-0.5)
    return made


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


@torch.no_grad()
def test_words_that_bfloat16_cannot_tell_apart_are_told_apart():
    made = head(4096, 64)
    # A hundred words that are nearly the same one, and a state that likes them best.
    made.weight[100:200] = made.weight[100] * 4 + 1e-4 * torch.randn(100, 64)
    states = made.weight[100].repeat(8, 1) + 0.01 * torch.randn(8, 64)
    scores = made(states)
    assert len(scores.bfloat16().topk(50, dim=1).values.unique()) < 10
    found = Shortlist(made).best(states)
    exact = (states.double() @ made.weight.double().T).argmax(1)
    best = scores.gather(1, exact[:, None])
    assert torch.allclose(scores.gather(1, found[:, None]), best, rtol=1e-6)
    assert ((found >= 100) & (found < 200)).all()


@torch.no_grad()
def test_the_first_of_equals_wins():
    made = head(50, 16)
    made.weight[[7, 31]] = 5 * torch.ones(16)
    assert Shortlist(made).best(torch.ones(3, 16)).tolist() == [7, 7, 7]


def test_large_and_small_weights_keep_the_bound():
    made = head(5000, 32, scale=100.0)
    with torch.no_grad():
        states = 50 * torch.randn(30, 32)
        assert torch.equal(Shortlist(made).best(states), made(states).argmax(1))


def test_all_words_at_a_score_or_above_are_found():
    scores = torch.randn(6, 103)
    rows, words = _at_least(scores, torch.full((6,), 0.5))
    found = set(zip(rows.tolist(), words.tolist(), strict=True))
    assert found == {(r, w) for r in range(6) for w in range(103) if scores[r, w] >= 0.5}


def test_small_heads_and_other_types_do_without():
    assert not worth_a_shortlist(head(100, 16))
    assert not worth_a_shortlist(head(5000, 16).half())
    assert not worth_a_shortlist(nn.Identity())
