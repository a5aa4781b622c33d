"""What holds of any translation: neither company nor order change it, and limits are kept."""

from functools import cache

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq
from sleuth.tasks.decoding import DecodingOptions, score_ids, translate_ids

WORDS = st.integers(3, 19)
SENTENCES = st.lists(st.lists(WORDS, max_size=8), min_size=1, max_size=6)
OPTIONS = st.builds(
    DecodingOptions,
    beams=st.integers(1, 4),
    penalty=st.sampled_from(["gnmt", "power"]),
    length_penalty=st.sampled_from([0.0, 0.6, 1.0]),
    early_stopping=st.sampled_from([False, True, "never"]),
    min_length=st.integers(0, 3),
    max_length=st.integers(4, 9),
    no_repeat_ngram=st.sampled_from([0, 0, 2]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 1.3]),
    word_scores=st.booleans(),
)


@cache
def model() -> Seq2Seq:
    torch.manual_seed(0)
    config = Seq2SeqConfig(
        source_vocab=20,
        target_vocab=20,
        dim=8,
        num_heads=2,
        encoder_layers=1,
        decoder_layers=2,
        feedforward_dim=16,
        max_positions=16,
        tie="none",
    )
    built = build_seq2seq(config).eval()
    with torch.no_grad():
        built.head.weight.mul_(3)
    return built


@settings(max_examples=30)
@given(SENTENCES, OPTIONS, st.integers(1, 6), st.randoms(use_true_random=False))
def test_company_and_order_do_not_matter(sentences, options, batch, shuffler) -> None:
    order = list(range(len(sentences)))
    shuffler.shuffle(order)
    alone = [translate_ids(model(), [sentence], options)[0] for sentence in sentences]
    together = translate_ids(model(), [sentences[i] for i in order], options, max_sentences=batch)
    for i, found in zip(order, together, strict=True):
        assert [(one.ids, one.finished) for one in found] == [(one.ids, one.finished) for one in alone[i]]


@settings(max_examples=30)
@given(SENTENCES, OPTIONS, st.lists(WORDS, max_size=4))
def test_limits_and_prefixes_are_kept(sentences, options, prefix) -> None:
    found = translate_ids(model(), sentences, options, prefixes=[prefix] * len(sentences))
    for sentence, (best,) in zip(sentences, found, strict=True):
        if not sentence:
            continue
        assert list(best.ids[: len(prefix)]) == prefix
        added = best.ids[len(prefix) :]
        assert len(added) <= options.max_length - best.finished
        if not options.no_repeat_ngram:
            assert len(added) >= options.min_length
        assert not set(added) & {0, 1, 2}


@settings(max_examples=20)
@given(st.lists(WORDS, min_size=1, max_size=8), st.integers(2, 4))
def test_the_score_of_a_hypothesis_is_that_of_its_words(sentence, beams) -> None:
    options = DecodingOptions(beams=beams, n_best=beams, length_penalty=0.0, max_length=8)
    found = translate_ids(model(), [sentence], options)[0]
    assert len({one.ids for one in found}) == len(found)
    for one in found:
        (scores,) = score_ids(model(), [sentence], [one.ids], end=one.finished)
        assert abs(one.score - sum(scores)) < 1e-3
