"""Drawing words: the right shares, no word outside the best, and the same draws whatever the batch."""

import sys
from pathlib import Path

import torch

from sleuth.tasks.decoding import DecodingOptions, translate_ids
from sleuth.tasks.decoding.sampling import draw

sys.path.insert(0, str(Path(__file__).parent))
from decoding_models import some_sentences, writer

SHARES = torch.tensor([0.1, 0.5, 0.05, 0.3, 0.05])


def shares(options: DecodingOptions) -> torch.Tensor:
    """How often each word is drawn, for evenly spread numbers."""
    numbers = (torch.arange(1000) + 0.5) / 1000
    words = draw(SHARES.log().expand(1000, -1), numbers, options)
    return words.bincount(minlength=5) / 1000


def test_words_are_drawn_by_their_probability() -> None:
    torch.testing.assert_close(shares(DecodingOptions(sample=True)), SHARES, atol=2e-3, rtol=0)


def test_temperature_sharpens_and_flattens() -> None:
    expected = SHARES.square() / SHARES.square().sum()
    torch.testing.assert_close(shares(DecodingOptions(sample=True, temperature=0.5)), expected, atol=2e-3, rtol=0)


def test_only_the_k_best() -> None:
    found = shares(DecodingOptions(sample=True, top_k=2))
    torch.testing.assert_close(found, torch.tensor([0, 0.625, 0, 0.375, 0]), atol=2e-3, rtol=0)
    assert torch.equal(shares(DecodingOptions(sample=True, top_k=99)), shares(DecodingOptions(sample=True)))


def test_only_the_fewest_that_make_up_p() -> None:
    assert shares(DecodingOptions(sample=True, top_p=0.5)).tolist() == [0, 1, 0, 0, 0]
    found = shares(DecodingOptions(sample=True, top_p=0.6))
    torch.testing.assert_close(found, torch.tensor([0, 0.625, 0, 0.375, 0]), atol=2e-3, rtol=0)
    assert shares(DecodingOptions(sample=True, top_p=1e-6)).tolist() == [0, 1, 0, 0, 0]


def test_the_greatest_number_draws_a_word_that_may_be_drawn() -> None:
    scores = torch.tensor([[0.0, float("-inf"), 1.0, float("-inf")]])
    assert draw(scores, torch.tensor([1.0]), DecodingOptions(sample=True)).item() == 0
    assert draw(scores, torch.tensor([0.0]), DecodingOptions(sample=True)).item() == 2


def test_draws_depend_on_the_seed_and_not_on_the_batch() -> None:
    model, sentences = writer(eos=1.0), some_sentences(30)

    def drawn(seed: int, batch: int) -> list[tuple[int, ...]]:
        options = DecodingOptions(sample=True, seed=seed, max_length=12, top_p=0.9)
        return [best.ids for (best,) in translate_ids(model, sentences, options, max_sentences=batch)]

    assert drawn(3, 1) == drawn(3, 64)
    assert drawn(3, 64) != drawn(4, 64)


def test_several_samples_of_a_sentence() -> None:
    model, sentences = writer(), some_sentences(5)
    options = DecodingOptions(sample=True, n_best=4, max_length=8, word_scores=True)
    for drawn in translate_ids(model, sentences, options):
        assert len(drawn) == 4
        assert len({one.ids for one in drawn}) > 1
        assert [one.score for one in drawn] == sorted((one.score for one in drawn), reverse=True)


def test_a_cold_sample_is_the_best_word() -> None:
    model, sentences = writer(eos=1.0), some_sentences(10)
    cold = translate_ids(model, sentences, DecodingOptions(sample=True, temperature=1e-3, max_length=12))
    assert cold == translate_ids(model, sentences, DecodingOptions(max_length=12))
