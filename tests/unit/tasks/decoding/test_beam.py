"""Beam search beside a plain version of it, one sentence at a time and without a cache; and beside every sentence."""

import itertools
import sys
from pathlib import Path

import pytest
import torch

from sleuth.tasks.decoding import DecodingOptions, score_ids, translate_ids
from sleuth.tasks.decoding.beam import _seats

sys.path.insert(0, str(Path(__file__).parent))
from decoding_models import next_log_probs, some_sentences, writer


def slowly(model, sentence: list[int], options: DecodingOptions) -> list[tuple[tuple[int, ...], float]]:
    """Words and scores of the best ended hypotheses, by sorting lists of continuations."""
    eos, beams = model.config.eos_id, options.beams
    running, ended = [((), 0.0)], []
    for length in range(1, options.max_length + 1):
        continuations = []
        every = next_log_probs(model, sentence, [words for words, _ in running])
        for (words, total), scores in zip(running, every, strict=True):
            scores[list(model.config.banned_ids)] = float("-inf")
            if length <= options.min_length:
                scores[eos] = float("-inf")
            continuations += [((*words, word), total + score) for word, score in enumerate(scores.tolist())]
        continuations.sort(key=lambda pair: -pair[1])
        for rank, (words, total) in enumerate(continuations[: 2 * beams]):
            if rank < beams and (words[-1] == eos or length == options.max_length):
                ended.append((words, options.normalised(total, length)))
        ended = sorted(ended, key=lambda pair: -pair[1])[:beams]
        running = [pair for pair in continuations[: 2 * beams] if pair[0][-1] != eos][:beams]
        if len(ended) == beams:
            if options.early_stopping is True:
                break
            at = options.max_length if options.early_stopping == "never" else length
            if options.normalised(running[0][1], at) <= ended[-1][1]:
                break
    return [(words[:-1] if words[-1] == eos else words, score) for words, score in ended[: options.n_best]]


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"penalty": "power", "length_penalty": 1.0},
        {"penalty": "power", "length_penalty": 1.0, "early_stopping": True},
        {"length_penalty": 1.0, "early_stopping": "never"},
        {"length_penalty": 0.0, "min_length": 4},
        {"beams": 2, "n_best": 2},
        {"penalty": "power", "length_penalty": -0.5},
    ],
)
def test_the_hypotheses_are_those_of_a_plain_search(numbers: dict[str, object]) -> None:
    options = DecodingOptions(**{"beams": 4, "n_best": 4, "max_length": 12, **numbers})
    model, sentences = writer(eos=1.0), some_sentences(7)
    found = translate_ids(model, sentences, options)
    for sentence, hypotheses in zip(sentences, found, strict=True):
        expected = slowly(model, sentence, options)
        assert [one.ids for one in hypotheses] == [words for words, _ in expected]
        torch.testing.assert_close(
            torch.tensor([one.score for one in hypotheses]), torch.tensor([score for _, score in expected])
        )


@pytest.mark.parametrize("beams", [2, 5])
def test_the_batch_does_not_matter(beams: int) -> None:
    model, sentences = writer(eos=1.0), some_sentences(64, longest=6)
    options = DecodingOptions(beams=beams, n_best=beams, max_length=8)
    alone = translate_ids(model, sentences, options, max_sentences=1)
    together = translate_ids(model, sentences, options, max_sentences=64)
    assert [[one.ids for one in each] for each in alone] == [[one.ids for one in each] for each in together]
    assert len({one.finished for each in alone for one in each}) == 2


def test_a_beam_that_holds_everything_finds_the_best_of_all() -> None:
    """Six words, of which three may be emitted besides EOS: every sentence of at most three words is looked at."""
    model = writer(source_vocab=6, target_vocab=6)
    options = DecodingOptions(beams=40, n_best=5, max_length=4, length_penalty=0.0, early_stopping="never")
    found = translate_ids(model, [[4, 3, 5]], options)[0]
    every = [words for length in range(4) for words in itertools.product((3, 4, 5), repeat=length)]
    totals = [sum(scores) for scores in score_ids(model, [[4, 3, 5]] * len(every), every)]
    cut = list(itertools.product((3, 4, 5), repeat=4))
    totals += [sum(scores) for scores in score_ids(model, [[4, 3, 5]] * len(cut), cut, end=False)]
    ranked = sorted(zip(totals, [*every, *cut], strict=True), reverse=True)[:5]
    assert [one.ids for one in found] == [words for _, words in ranked]
    torch.testing.assert_close(torch.tensor([one.score for one in found]), torch.tensor([total for total, _ in ranked]))


def test_vocabularies_smaller_than_the_beam() -> None:
    model = writer(source_vocab=4, target_vocab=4, eos_id=0, pad_id=2, banned_ids=(1, 2))
    found = translate_ids(model, [[3], [3, 3]], DecodingOptions(beams=8, n_best=8, max_length=4))
    for hypotheses in found:
        assert {one.ids for one in hypotheses} == {(3,) * length for length in range(5)}
        assert len(hypotheses) == 5
        assert [one.score for one in hypotheses] == sorted((one.score for one in hypotheses), reverse=True)


def test_word_scores_and_prefixes() -> None:
    model, sentences = writer(eos=1.0), some_sentences(6)
    prefixes = [[5, 6], [], [7], [8, 9], [], [4]]
    options = DecodingOptions(beams=3, n_best=3, max_length=9, word_scores=True)
    for sentence, prefix, found in zip(
        sentences, prefixes, translate_ids(model, sentences, options, prefixes=prefixes), strict=True
    ):
        for one in found:
            assert list(one.ids[: len(prefix)]) == prefix
            (scores,) = score_ids(model, [sentence], [one.ids], end=one.finished)
            torch.testing.assert_close(torch.tensor(one.word_scores), torch.tensor(scores[len(prefix) :]))
            assert one.score == pytest.approx(options.normalised(sum(one.word_scores), len(one.word_scores)))


def test_a_forced_end_costs_nothing() -> None:
    model = writer(eos=-20.0)
    options = DecodingOptions(beams=3, max_length=5, force_eos=True, word_scores=True)
    (best,) = translate_ids(model, [[4, 5]], options)[0]
    assert best.finished
    assert len(best.ids) == 4
    assert best.word_scores[-1] == 0.0


def test_a_sentence_left_without_words_ends() -> None:
    """No word may come twice: the five that there are run out."""
    model = writer(source_vocab=8, target_vocab=8, eos=-50.0)
    for beams in (1, 3):
        (best,) = translate_ids(model, [[4, 5]], DecodingOptions(beams=beams, no_repeat_ngram=1, max_length=20))[0]
        assert sorted(best.ids) == [3, 4, 5, 6, 7]
        assert best.finished


def test_seats_move_as_few_rows_as_can_be() -> None:
    assert _seats([0, 1, 2], 3) == [0, 1, 2]
    assert _seats([2, 1, 0], 3) == [2, 1, 0]
    assert _seats([1, 1, 1], 3) == [1, 0, 2]
