"""Greedy search: what an uncached loop over the whole model writes, whatever the batch."""

import sys
from pathlib import Path

import pytest
import torch

from sleuth.tasks.decoding import DecodingOptions, translate_ids

sys.path.insert(0, str(Path(__file__).parent))
from decoding_models import log_probs, some_sentences, writer


def slowly(model, sentence: list[int], limit: int, prefix: tuple[int, ...] = ()) -> tuple[int, ...]:
    """One sentence, no cache, no padding."""
    words = list(prefix)
    for _ in range(limit):
        scores = log_probs(model, sentence, words)[-1]
        scores[list(model.config.banned_ids)] = float("-inf")
        word = int(scores.argmax())
        if word == model.config.eos_id:
            break
        words.append(word)
    return tuple(words)


@pytest.mark.parametrize("numbers", [{}, {"pre_norm": True, "positions": "learned"}, {"bos_id": 0, "eos_id": 5}])
@pytest.mark.parametrize("batch", [1, 64])
def test_the_words_are_those_of_the_whole_model_without_a_cache(batch: int, numbers: dict[str, object]) -> None:
    model, sentences = writer(eos=2.0, **numbers), some_sentences(20)
    found = translate_ids(model, sentences, DecodingOptions(max_length=20), max_sentences=batch)
    expected = [slowly(model, sentence, 20) for sentence in sentences]
    assert [best.ids for (best,) in found] == expected
    assert {best.finished for (best,) in found} == {True, False}
    assert len({len(ids) for ids in expected}) > 2


def test_forced_prefixes_of_different_lengths() -> None:
    model, sentences = writer(), some_sentences(9)
    prefixes = [tuple(range(3, 3 + i % 3)) for i in range(9)]
    found = translate_ids(model, sentences, DecodingOptions(max_length=10), prefixes=prefixes)
    assert [best.ids for (best,) in found] == [
        slowly(model, sentence, 10, prefix) for sentence, prefix in zip(sentences, prefixes, strict=True)
    ]


def test_scores_are_the_models_log_probabilities() -> None:
    model, sentences = writer(), some_sentences(5)
    options = DecodingOptions(max_length=10, word_scores=True)
    for sentence, (best,) in zip(sentences, translate_ids(model, sentences, options), strict=True):
        ended = [*best.ids, model.config.eos_id] if best.finished else list(best.ids)
        expected = log_probs(model, sentence, ended)[:-1].gather(1, torch.tensor(ended)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(best.word_scores), expected, atol=1e-4, rtol=1e-4)
        assert best.score == pytest.approx(sum(best.word_scores))


def test_scores_are_not_given_unasked() -> None:
    (best,) = translate_ids(writer(), some_sentences(1))[0]
    assert best.score is None
    assert best.word_scores is None


def test_minimum_maximum_and_forced_end() -> None:
    model, sentences = writer(eos=2.0), some_sentences(20)
    found = translate_ids(model, sentences, DecodingOptions(min_length=7, max_length=9))
    assert {len(best.ids) for (best,) in found} <= {7, 8, 9}
    forced = translate_ids(model, sentences, DecodingOptions(min_length=7, max_length=9, force_eos=True))
    assert all(best.finished for (best,) in forced)
    for (free,), (ended,) in zip(found, forced, strict=True):
        assert ended.ids == free.ids[:8]


def test_each_sentence_has_a_limit_of_its_own() -> None:
    model = writer(eos=-9.0)
    found = translate_ids(model, [[4], [4] * 8], DecodingOptions(max_length=30, max_length_factor=1.5))
    assert [len(best.ids) for (best,) in found] == [11, 22]
    options = DecodingOptions(max_length=30, max_length_factor=1.5, max_length_extra=0, force_eos=True)
    assert [len(best.ids) for (best,) in translate_ids(model, [[4], [4] * 8], options)] == [0, 11]


def test_positions_limit_the_length() -> None:
    model = writer(eos=-99.0, max_positions=6)
    for options in (DecodingOptions(), DecodingOptions(beams=2)):
        (best,) = translate_ids(model, [[4]], options, prefixes=[[7, 8]])[0][:1]
        assert len(best.ids) == 6
        assert not best.finished


def test_the_models_mode_comes_back() -> None:
    model = writer(dropout=0.5).train()
    twice = [translate_ids(model, some_sentences(5), DecodingOptions(max_length=9)) for _ in range(2)]
    assert twice[0] == twice[1]
    assert model.training
