"""Decoding step by step: the words of greedy search, and the probabilities of the model itself."""

import pytest
import torch

from sleuth.explain.decoding_steps import decoding_steps
from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq
from sleuth.tasks.decoding import DecodingOptions, translate_ids

SENTENCE = [5, 9, 7, 2]


@pytest.fixture
def model() -> Seq2Seq:
    sizes = {"dim": 16, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 2, "feedforward_dim": 32}
    return build_seq2seq(Seq2SeqConfig(source_vocab=19, target_vocab=19, max_positions=12, **sizes))


def test_the_words_are_those_of_greedy_search(model: Seq2Seq):
    options = DecodingOptions(max_length=6, min_length=3, no_repeat_ngram=2)
    (found,) = translate_ids(model, [SENTENCE], options)
    steps = decoding_steps(model, SENTENCE, options)
    assert tuple(step.chosen for step in steps)[: len(found[0].ids)] == found[0].ids
    assert [step.so_far for step in steps] == [found[0].ids[:place] for place in range(len(steps))]
    assert all(len(step.candidates) == 3 for step in steps)
    assert (
        decoding_steps(model, SENTENCE, DecodingOptions(max_length=6, min_length=3, no_repeat_ngram=2, beams=4))
        == steps
    )


def test_probabilities_are_those_of_the_model(model: Seq2Seq):
    steps = decoding_steps(model, SENTENCE, DecodingOptions(max_length=4), candidates=5)
    model.eval()
    for step in steps:
        read = torch.tensor([[1, *step.so_far]])
        with torch.no_grad():
            scores = model(torch.tensor([SENTENCE]), read).logits[0, -1]
        scores[[0, 1]] = float("-inf")  # padding and BOS are never said
        chances = scores.softmax(0)
        for id, chance in step.candidates:
            assert chance == pytest.approx(float(chances[id]), abs=1e-5)
        values = [chance for _, chance in step.candidates]
        assert values == sorted(values, reverse=True)
        assert values[0] == pytest.approx(float(chances.max()), abs=1e-5)


def test_nothing_has_no_steps(model: Seq2Seq):
    assert decoding_steps(model, []) == []
