"""Translations come back in order, in batches of like length; what cannot be translated is refused by name."""

import sys
from pathlib import Path

import pytest
import torch

from sleuth.errors import UserError
from sleuth.nn.shortlist import Shortlist, multiplies_bytes
from sleuth.tasks.decoding import (
    DecodingOptions,
    Hypothesis,
    iterate_translations,
    prepare,
    stream_ids,
    translate_ids,
)
from sleuth.tasks.decoding.encoding import encode_sources
from sleuth.tasks.decoding.prepared import Prepared
from sleuth.tasks.decoding.sources import batches
from sleuth.tasks.decoding.steps import FlatSteps
from sleuth.tasks.decoding.translate import evaluating

sys.path.insert(0, str(Path(__file__).parent))
from decoding_models import CONFIG, some_sentences, writer


def cut(sentences: list[list[int]], prefixes: list[list[int]] | None = None, **limits: int) -> list[tuple[int, ...]]:
    prefixes = prefixes or [[] for _ in sentences]
    limits = {"max_sentences": 64, "max_tokens": 4096, **limits}
    found = batches(sentences, prefixes, DecodingOptions(), CONFIG, device=torch.device("cpu"), **limits)
    return [batch.numbers for batch in found]


def test_sentences_of_like_length_go_together() -> None:
    sentences = [[5] * length for length in (2, 7, 1, 7, 4)]
    assert cut(sentences, max_sentences=2) == [(1, 3), (4, 0), (2,)]
    assert cut(sentences, max_tokens=14) == [(1, 3), (4, 0, 2)]
    assert cut(sentences, max_tokens=1) == [(1,), (3,), (4,), (0,), (2,)]
    assert cut(sentences, [[], [4], [], [], [5]]) == [(3, 0, 2), (1, 4)]
    assert cut([[], [5], []]) == [(1,)]
    assert cut([]) == []


def test_a_batch_is_padded_at_the_right() -> None:
    (batch,) = batches(
        [[5], [6, 7]],
        [[9], [8]],
        DecodingOptions(max_length=9),
        CONFIG,
        max_sentences=9,
        max_tokens=99,
        device=torch.device("cpu"),
    )
    assert batch.ids.tolist() == [[6, 7], [5, 0]]
    assert batch.valid.tolist() == [[True, True], [True, False]]
    assert batch.prefixes.tolist() == [[1, 8], [1, 9]]
    assert batch.limits == (9, 9)


@pytest.mark.parametrize("options", [DecodingOptions(max_length=8), DecodingOptions(max_length=8, beams=3)])
def test_empty_sentences_have_empty_translations(options: DecodingOptions) -> None:
    model = writer()
    found = translate_ids(model, [[4], [], [5, 6]], options)
    assert found[1] == [Hypothesis(ids=(), score=0.0, finished=True)]
    assert [found[0], found[2]] == translate_ids(model, [[4], [5, 6]], options)
    assert translate_ids(model, [], options) == []


def test_translations_are_given_as_batches_are_done() -> None:
    model, sentences = writer(), [[4], [5] * 9, [6] * 5]
    found = list(iterate_translations(model, sentences, DecodingOptions(max_length=5), max_sentences=1))
    assert [number for number, _ in found] == [1, 2, 0]
    assert dict(found) == dict(enumerate(translate_ids(model, sentences, DecodingOptions(max_length=5))))


@pytest.mark.parametrize(
    ("sentence", "prefix", "message"),
    [
        ([5] * 65, [], "sentence 2: it has 65 tokens, but the model has 64 positions"),
        ([5], [5] * 64, "sentence 2: its forced prefix has 64 tokens"),
        ([30], [], "sentence 2: the source has a word outside the model's vocabulary of 30"),
        ([5], [-1], "sentence 2: the forced prefix has a word outside"),
    ],
)
def test_what_the_model_cannot_read_is_refused(sentence: list[int], prefix: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        translate_ids(writer(), [[4], sentence], prefixes=[[], prefix])


def test_evaluating_leaves_each_part_in_its_mode() -> None:
    model = writer().train()
    model.encoder.eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert model.training
    assert model.decoder.training
    assert not model.encoder.training


def test_prefixes_are_as_many_as_sentences() -> None:
    with pytest.raises(ValueError, match="2 sentences, but 1 of forced prefix"):
        translate_ids(writer(), [[4], [5]], prefixes=[[]])


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("numbers", [{}, {"pre_norm": True, "activation": "silu", "decoder_num_heads": 4}])
def test_copies_of_weights_change_no_word(beams: int, numbers: dict[str, object]) -> None:
    model, sentences = writer(**numbers), some_sentences(9)
    options = DecodingOptions(beams=beams, max_length=9)
    prepared = prepare(model)
    assert isinstance(prepared.steps, FlatSteps)
    found = translate_ids(model, sentences, options, prepared=prepared)
    assert [best.ids for (best,) in found] == [best.ids for (best,) in translate_ids(model, sentences, options)]
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.skipif(not multiplies_bytes(), reason="this processor has no product of bytes (VNNI or AMX)")
@pytest.mark.parametrize(
    "options",
    [
        DecodingOptions(max_length=9),
        DecodingOptions(max_length=9, min_length=4),
        DecodingOptions(max_length=9, max_length_factor=0.5, max_length_extra=2, force_eos=True),
    ],
)
def test_a_shortlist_changes_no_word(options: DecodingOptions) -> None:
    model, sentences = writer(eos=1.0), some_sentences(9)
    prepared = Prepared(prepare(model).turned, Shortlist(model.head))
    found = translate_ids(model, sentences, options, prepared=prepared)
    assert [best.ids for (best,) in found] == [best.ids for (best,) in translate_ids(model, sentences, options)]


def test_sources_in_groups_are_encoded_as_in_one_batch() -> None:
    model = writer()
    sentences = [[3 + length % 20] * length for length in (40, 39, 38, 37, *[12] * 12, *[5, 4] * 20)]
    (sources,) = batches(
        sentences,
        [[] for _ in sentences],
        DecodingOptions(),
        CONFIG,
        max_sentences=99,
        max_tokens=9999,
        device=torch.device("cpu"),
    )
    lengths = []
    handle = model.encoder.register_forward_pre_hook(lambda _, given: lengths.append(given[0].shape[1]))
    with torch.no_grad():
        found = encode_sources(model, sources).tokens
        handle.remove()
        whole = model.encode(sources.ids, sources.valid).tokens
    assert lengths == [40, 12, 5]
    assert torch.allclose(found[sources.valid], whole[sources.valid], atol=1e-5)
    assert found.isfinite().all()


# Streaming


@pytest.mark.parametrize("options", [DecodingOptions(max_length=12), DecodingOptions(max_length=12, sample=True)])
@pytest.mark.parametrize("prefix", [(), (7, 8)])
def test_streamed_words_are_those_of_the_translation(options: DecodingOptions, prefix: tuple[int, ...]) -> None:
    model = writer(eos=1.0)
    for sentence in some_sentences(8):
        (best,) = translate_ids(model, [sentence], options, prefixes=[prefix])[0]
        words = list(stream_ids(model, sentence, options, prefix=prefix))
        ids = [word.id for word in words]
        assert prefix + tuple(ids[:-1] if best.finished else ids) == best.ids
        assert (ids[-1] == model.config.eos_id) == best.finished
        assert [word.last for word in words] == [False] * (len(words) - 1) + [True]


def test_a_word_is_given_before_the_next_is_computed() -> None:
    model = writer(eos=-30.0).train()
    steps = []
    model.head.register_forward_hook(lambda *_: steps.append(1))
    words = stream_ids(model, [4, 5], DecodingOptions(max_length=9))
    next(words)
    assert len(steps) == 1
    assert model.training
    assert torch.is_grad_enabled()
    next(words)
    assert len(steps) == 2
    words.close()


def test_streaming_is_of_one_translation() -> None:
    with pytest.raises(ValueError, match="beams = 1"):
        stream_ids(writer(), [4], DecodingOptions(beams=2))
    with pytest.raises(UserError, match="65 tokens"):
        stream_ids(writer(), [4] * 65)
    assert list(stream_ids(writer(), [])) == []


# Options


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"beams": 0}, "beams = 0"),
        ({"n_best": 2}, "n_best = 2 is more than beams = 1"),
        ({"min_length": 5, "max_length": 5}, "min_length = 5 leaves no room"),
        ({"max_length": 0}, "max_length = 0"),
        ({"sample": True, "beams": 2}, "beams = 1, not 2"),
        ({"temperature": 0.0}, "temperature = 0.0"),
        ({"top_k": 0}, "top_k = 0"),
        ({"top_p": 1.5}, "top_p = 1.5"),
        ({"top_p": 0.0}, "top_p = 0.0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty = 0.0"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram = -1"),
        ({"length_penalty": float("nan")}, "length_penalty = nan"),
        ({"max_length_factor": 0.0}, "max_length_factor = 0.0"),
    ],
)
def test_options_that_make_no_search_are_named(numbers: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecodingOptions(**numbers)
