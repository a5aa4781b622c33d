"""Rules on the next word, each alone and within a search."""

import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from sleuth.tasks.decoding import DecodingOptions, translate_ids
from sleuth.tasks.decoding.rules import Rules, forbid_ngrams, penalise_repetition

sys.path.insert(0, str(Path(__file__).parent))
from decoding_models import some_sentences, writer

NEVER = float("-inf")


def test_repeated_words_are_less_likely_whatever_their_sign() -> None:
    scores = torch.tensor([[1.0, 2.0, -2.0, 4.0], [1.0, 2.0, -2.0, 4.0]])
    penalise_repetition(scores, torch.tensor([[1, 2, 1], [3, 3, 3]]), 2.0)
    assert scores.tolist() == [[1.0, 1.0, -4.0, 4.0], [1.0, 2.0, -2.0, 2.0]]


@pytest.mark.parametrize(
    ("size", "forbidden"), [(1, {1, 2, 3}), (2, {3, 2}), (3, {3}), (4, set()), (6, set()), (9, set())]
)
def test_the_word_that_would_repeat_a_run_is_forbidden(size: int, forbidden: set[int]) -> None:
    scores = torch.zeros(1, 6)
    forbid_ngrams(scores, torch.tensor([[2, 2, 1, 2, 3, 2] if size != 3 else [1, 2, 3, 2, 1, 2]]), size)
    expected = forbidden | ({1} if size == 2 else set())
    assert set((scores[0] == NEVER).nonzero().flatten().tolist()) == expected


def test_rows_have_runs_of_their_own() -> None:
    scores = torch.zeros(2, 5)
    forbid_ngrams(scores, torch.tensor([[1, 2, 1], [1, 2, 3]]), 2)
    assert (scores == NEVER).nonzero().tolist() == [[0, 2]]


def test_banned_words_minimum_and_forced_end() -> None:
    rules = Rules((0, 1), 2, DecodingOptions(min_length=2, max_length=9, force_eos=True))
    history = torch.ones(2, 1, dtype=torch.long)
    scores = torch.zeros(2, 5)
    rules(scores, history, 1, [9, 9])
    assert (scores[0] == NEVER).tolist() == [True, True, True, False, False]
    scores = torch.full((2, 5), -1.0)
    rules(scores, history, 2, [3, 9])
    assert scores.tolist() == [[NEVER, NEVER, 0.0, NEVER, NEVER], [NEVER, NEVER, -1.0, -1.0, -1.0]]


@pytest.mark.parametrize("beams", [1, 4])
def test_no_run_of_words_occurs_twice(beams: int) -> None:
    model, sentences = writer(eos=-30.0, source_vocab=30, dim=16), some_sentences(10)
    free = DecodingOptions(beams=beams, max_length=30)
    strict = DecodingOptions(beams=beams, max_length=30, no_repeat_ngram=2)

    def repeats(options: DecodingOptions) -> int:
        found = [best.ids for (best, *_) in translate_ids(model, sentences, options)]
        pairs = [list(pairwise(ids)) for ids in found]
        return sum(len(each) - len(set(each)) for each in pairs)

    assert repeats(free) > 0
    assert repeats(strict) == 0


@pytest.mark.parametrize("beams", [1, 4])
def test_a_penalty_lessens_repetition(beams: int) -> None:
    model, sentences = writer(eos=-30.0), some_sentences(10)

    def different(penalty: float) -> int:
        options = DecodingOptions(beams=beams, max_length=15, repetition_penalty=penalty)
        return sum(len(set(best.ids)) for (best, *_) in translate_ids(model, sentences, options))

    assert different(3.0) > different(1.0)
