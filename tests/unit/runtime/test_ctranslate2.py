"""Translating through CTranslate2: the same words as in PyTorch, and what cannot be had is told."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq
from sleuth.runtime.ctranslate2 import CTranslate2Engine, in_ctranslate2
from sleuth.tasks.decoding.options import DecodingOptions, Hypothesis
from sleuth.tasks.decoding.translate import translate_ids
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.tasks.tokenizer_training import train_tokenizer
from sleuth.weights.origins.ctranslate2_export import export_ctranslate2

LINES = ("the cat sat on the mat", "a dog ran to the red house", "one bird and two fish", "", "the end")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(LINES, "bpe", 60)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Seq2Seq:
    torch.manual_seed(3)
    size = len(tokenizer)
    model = build_seq2seq(
        Seq2SeqConfig(
            source_vocab=size,
            target_vocab=size,
            dim=16,
            num_heads=2,
            encoder_layers=1,
            decoder_layers=1,
            feedforward_dim=32,
            max_positions=24,
            output_bias=True,
        )
    ).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.3)
        model.head.bias[model.config.eos_id] += 2.0
    return model


@pytest.fixture(scope="module")
def engine(model: Seq2Seq, tokenizer: Tokenizer) -> CTranslate2Engine:
    pytest.importorskip("ctranslate2", reason="the package ctranslate2 is not installed")
    return in_ctranslate2(model, (tokenizer, tokenizer))


def sentences(tokenizer: Tokenizer) -> list[list[int]]:
    return [tokenizer.encode(line) if line else [] for line in LINES]


@pytest.mark.parametrize(
    "options",
    [
        DecodingOptions(max_length=12),
        DecodingOptions(max_length=9, min_length=5),
        DecodingOptions(max_length=200, max_length_factor=1.0),
        DecodingOptions(max_length=12, no_repeat_ngram=2),
        DecodingOptions(max_length=5, force_eos=True),
    ],
    ids=str,
)
def test_greedy_search_is_that_of_the_model(
    engine: CTranslate2Engine, model: Seq2Seq, tokenizer: Tokenizer, options: DecodingOptions
) -> None:
    ours = translate_ids(model, sentences(tokenizer), replace(options, word_scores=True))
    found = engine.translate_ids(sentences(tokenizer), options)
    assert len({len(each[0].ids) for each in found}) > 1
    for one, other in zip(found, ours, strict=True):
        assert (one[0].ids, one[0].finished) == (other[0].ids, other[0].finished)


def steps(model: Seq2Seq, sentence: list[int], hypothesis: Hypothesis) -> list[float]:
    """Log-probabilities of the words of a translation by the model; banned words have none in the engine."""
    words = [*hypothesis.ids, *([model.config.eos_id] if hypothesis.finished else [])]
    with torch.no_grad():
        logits = model(torch.tensor([sentence]), torch.tensor([[model.config.bos_id, *words[:-1]]])).logits[0]
    logits[:, list(model.config.banned_ids)] = float("-inf")
    return logits.log_softmax(-1)[range(len(words)), words].tolist()


@pytest.mark.parametrize("beams", [1, 3])
def test_a_large_batch_is_parted_among_the_threads(
    model: Seq2Seq, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, beams: int
) -> None:
    pytest.importorskip("ctranslate2", reason="the package ctranslate2 is not installed")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    engine = in_ctranslate2(model, (tokenizer, tokenizer))
    many, options = [*sentences(tokenizer), *[[5, 6, 7 + i % 20] for i in range(70)]], DecodingOptions(beams=beams)
    one_by_one = [engine.translate_ids([sentence], options)[0] for sentence in many]
    assert engine._parallel is None
    found = engine.translate_ids(many, options)
    assert [best.ids for (best, *_) in found] == [best.ids for (best, *_) in one_by_one]
    assert engine._parallel is not None
    folder = engine._folder
    assert folder.exists()
    del engine
    assert not folder.exists()


def test_what_is_drawn_follows_from_the_seed_however_many(
    model: Seq2Seq, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ctranslate2", reason="the package ctranslate2 is not installed")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    engine = in_ctranslate2(model, (tokenizer, tokenizer))
    many, options = [[5, 6, 7 + i % 20] for i in range(70)], DecodingOptions(sample=True, seed=3)
    first, second = (engine.translate_ids(many, options) for _ in range(2))
    assert [best.ids for (best,) in first] == [best.ids for (best,) in second]
    assert engine._parallel is None


def test_scores_of_greedy_search_are_log_probabilities(
    engine: CTranslate2Engine, model: Seq2Seq, tokenizer: Tokenizer
) -> None:
    given = sentences(tokenizer)
    options = DecodingOptions(word_scores=True)
    for sentence, (found,) in zip(given, engine.translate_ids(given, options), strict=True):
        if sentence:
            assert found.score == pytest.approx(sum(steps(model, sentence, found)), abs=1e-3)
    # As in PyTorch, they are added up only for those who ask.
    assert all(
        found.score is None for sentence, (found,) in zip(given, engine.translate_ids(given), strict=True) if sentence
    )


@pytest.mark.parametrize("penalty", ["gnmt", "power"])
def test_hypotheses_of_beam_search_are_ranked_as_asked(
    engine: CTranslate2Engine, model: Seq2Seq, tokenizer: Tokenizer, penalty: str
) -> None:
    options = DecodingOptions(beams=4, n_best=3, max_length=12, penalty=penalty, length_penalty=0.6)
    for sentence, found in zip(sentences(tokenizer), engine.translate_ids(sentences(tokenizer), options), strict=True):
        if not sentence:
            continue
        assert len(found) == 3
        scores = [hypothesis.score for hypothesis in found]
        assert scores == sorted(scores, reverse=True)
        for hypothesis in found:
            words = steps(model, sentence, hypothesis)
            assert hypothesis.score == pytest.approx(options.normalised(sum(words), len(words)), abs=1e-3)


@pytest.mark.parametrize("asked", [{}, {"beams": 3}, {"min_length": 4}], ids=str)
def test_forced_prefixes_and_scores_of_words(
    engine: CTranslate2Engine, model: Seq2Seq, tokenizer: Tokenizer, asked: dict
) -> None:
    options = DecodingOptions(max_length=9, word_scores=True, **asked)
    prefixes = [[7, 8], [9], [], [], [10, 11, 12]]
    ours = translate_ids(model, sentences(tokenizer), options, prefixes=prefixes)
    found = engine.translate_ids(sentences(tokenizer), options, prefixes=prefixes)
    for sentence, (one,), (other,), prefix in zip(sentences(tokenizer), found, ours, prefixes, strict=True):
        assert one.ids[: len(prefix)] == (tuple(prefix) if sentence else ())
        if options.beams == 1:
            assert one.ids == other.ids
        if sentence:
            words = steps(model, sentence, one)[len(prefix) :]
            assert list(one.word_scores) == pytest.approx(words, abs=1e-3)
            wanted = sum(words) if options.beams == 1 else options.normalised(sum(words), len(words))
            assert one.score == pytest.approx(wanted, abs=1e-3)


def test_sampling_from_the_best_word_alone_is_greedy_search(engine: CTranslate2Engine, tokenizer: Tokenizer) -> None:
    drawn = engine.translate_ids(sentences(tokenizer), DecodingOptions(max_length=9, sample=True, top_k=1, n_best=2))
    best = engine.translate_ids(sentences(tokenizer), DecodingOptions(max_length=9))
    for sentence, two, (one,) in zip(sentences(tokenizer), drawn, best, strict=True):
        assert [each.ids for each in two] == [one.ids] * (2 if sentence else 1)


def test_other_types_to_compute_in(engine: CTranslate2Engine, model: Seq2Seq, tokenizer: Tokenizer) -> None:
    quick = in_ctranslate2(model, (tokenizer, tokenizer), compute="int8")
    for (one,), (other,) in zip(
        quick.translate_ids(sentences(tokenizer)), engine.translate_ids(sentences(tokenizer)), strict=True
    ):
        assert one.ids[:1] == other.ids[:1]
    with pytest.raises(UserError, match="CTranslate2 cannot load it"):
        in_ctranslate2(model, (tokenizer, tokenizer), compute="int3")
    with pytest.raises(UserError, match="CTranslate2 cannot load it"):
        in_ctranslate2(model, (tokenizer, tokenizer), device="abacus")


def test_a_forced_end_costs_nothing(engine: CTranslate2Engine, model: Seq2Seq, tokenizer: Tokenizer) -> None:
    given = sentences(tokenizer)[:3]
    for options in (DecodingOptions(max_length=4, force_eos=True), DecodingOptions(max_length=1, force_eos=True)):
        options = replace(options, word_scores=True)
        ours = translate_ids(model, given, options)
        for (one,), (other,) in zip(engine.translate_ids(given, options), ours, strict=True):
            assert (one.ids, one.finished) == (other.ids, True)
            if len(one.ids) == options.max_length - 1 and one.ids:
                assert one.word_scores[-1] == 0.0
    beams = DecodingOptions(max_length=4, force_eos=True, beams=2, penalty="power", length_penalty=1.0)
    for sentence, (one,) in zip(given, engine.translate_ids(given, beams), strict=True):
        words = steps(model, sentence, replace(one, finished=len(one.ids) < 3))
        assert one.score == pytest.approx(sum(words) / (len(one.ids) + 1), abs=1e-3)


def test_what_the_engine_cannot_do_is_told(
    engine: CTranslate2Engine, model: Seq2Seq, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="sentence 2: it has 25 tokens, but the model has 24 positions"):
        engine.translate_ids([[5], [5] * 25])
    with pytest.raises(UserError, match=r"holds no sleuth\.json"):
        CTranslate2Engine(tmp_path)
    export_ctranslate2(model, (tokenizer, tokenizer), tmp_path)
    (tmp_path / "model.bin").write_bytes(b"broken")
    with pytest.raises(UserError, match="CTranslate2 cannot load it"):
        CTranslate2Engine(tmp_path)


def test_without_the_package(monkeypatch, model: Seq2Seq, tokenizer: Tokenizer) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(UserError, match=r"which is not installed\. pip install 'sleuth-vision\[ctranslate2\]'"):
        in_ctranslate2(model, (tokenizer, tokenizer))
