"""Scores and alignments of given translations."""

import sys
from pathlib import Path

import pytest
import torch

from sleuth.errors import UserError
from sleuth.explain.record import record_attention
from sleuth.tasks.decoding import DecodingOptions, align_ids, score_ids, translate_ids

sys.path.insert(0, str(Path(__file__).parent))
from decoding_models import log_probs, some_sentences, writer


@pytest.mark.parametrize("max_tokens", [1, 40, 4096])
def test_scores_of_words_whatever_the_batch(max_tokens: int) -> None:
    model, sentences = writer(), some_sentences(12)
    translations = some_sentences(12, seed=5)
    translations[3] = []
    found = score_ids(model, sentences, translations, max_tokens=max_tokens)
    for sentence, words, scores in zip(sentences, translations, found, strict=True):
        wanted = torch.tensor([*words, model.config.eos_id])
        expected = log_probs(model, sentence, words).gather(1, wanted[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(scores), expected, atol=1e-4, rtol=1e-4)


def test_scores_without_eos() -> None:
    model = writer()
    (full,) = score_ids(model, [[4, 5]], [[6, 7]])
    without, nothing = score_ids(model, [[4, 5], [4]], [[6, 7], []], end=False)
    assert without == pytest.approx(full[:-1])
    assert nothing == ()


def test_words_that_are_predicted_are_scored_as_they_were_predicted() -> None:
    model, sentences = writer(eos=1.0), some_sentences(6)
    options = DecodingOptions(max_length=20, word_scores=True)
    for sentence, (best,) in zip(sentences, translate_ids(model, sentences, options), strict=True):
        (again,) = score_ids(model, [sentence], [best.ids], end=best.finished)
        torch.testing.assert_close(torch.tensor(best.word_scores), torch.tensor(again), atol=1e-4, rtol=1e-4)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(UserError, match="sentence 2: an empty sentence"):
        score_ids(writer(), [[4], []], [[5], [5]])
    with pytest.raises(UserError, match="sentence 1: its translation has 64 tokens"):
        score_ids(writer(), [[4]], [[5] * 64])


# Alignment


def test_alignments_are_the_attention_of_the_layer_and_head_asked_for() -> None:
    model, sentence, words = writer(), [4, 5, 6, 7], [8, 9, 10]
    with record_attention(model) as maps:
        model(torch.tensor([sentence]), torch.tensor([[model.config.bos_id, *words]]))
    for layer in (0, 1, -1):
        heads = maps[f"decoder.layers.{layer % 2}.cross_attention"][0]
        (mean,) = align_ids(model, [sentence], [words], layer=layer)
        torch.testing.assert_close(mean.weights, heads.mean(0))
        (one,) = align_ids(model, [sentence], [words], layer=layer, head=1)
        torch.testing.assert_close(one.weights, heads[1])
        assert one.links() == [(int(heads[1][i].argmax()), i) for i in range(3)]
    (default,) = align_ids(model, [sentence], [words])
    torch.testing.assert_close(default.weights, maps["decoder.layers.0.cross_attention"][0].mean(0))
    (read,) = align_ids(model, [sentence], [words], when_read=True)
    torch.testing.assert_close(read.weights, default.weights[[1, 2, 3, 3]])


def test_recording_step_by_step_sees_what_teacher_forcing_sees() -> None:
    """Every layer and head, self and cross."""
    model, sentence = writer(), [4, 5, 6, 7]
    with record_attention(model) as steps:
        (best,) = translate_ids(model, [sentence], DecodingOptions(max_length=6))[0]
    read = torch.tensor([[model.config.bos_id, *best.ids][:6]])
    with record_attention(model) as once:
        model(torch.tensor([sentence]), read)
    for layer in range(2):
        for kind in ("self", "cross"):
            name = f"decoder.layers.{layer}.{kind}_attention"
            assert len(steps.entries[name]) == read.shape[1]
            for place, weights in enumerate(steps.entries[name]):
                whole = once[name][0, :, place, : weights.shape[-1]]
                torch.testing.assert_close(weights[0, :, 0], whole)


def test_what_cannot_be_aligned_is_refused() -> None:
    with pytest.raises(UserError, match=r"no decoder layer 2. choose one from 0 to 1"):
        align_ids(writer(), [[4]], [[5]], layer=2)
    with pytest.raises(UserError, match=r"no attention head 2"):
        align_ids(writer(), [[4]], [[5]], head=2)
    with pytest.raises(UserError, match=r"sentence 1: an empty sentence"):
        align_ids(writer(), [[]], [[5]])
