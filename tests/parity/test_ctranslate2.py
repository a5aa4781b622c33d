"""CTranslate2: the engine answers as our model does from what we write, and its published model answers here."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.tasks.tokenizer_training import train_tokenizer
from sleuth.weights.origins.ctranslate2 import open_ctranslate2_folder, open_ctranslate2_npz
from sleuth.weights.origins.ctranslate2_export import (
    Beside,
    export_ctranslate2,
    read_beside,
    write_translator,
)

TEXT = ("the cat sat on the mat", "a dog ran to the red house", "one bird and two fish")
SHARED = Seq2SeqConfig(dim=16, num_heads=2, encoder_layers=2, decoder_layers=2, feedforward_dim=32, max_positions=24)
CONFIGS = {
    "as in the paper": replace(SHARED, tie="all"),
    "pre-norm, learned positions": replace(
        SHARED,
        pre_norm=True,
        positions="learned",
        activation="gelu",
        output_bias=True,
        encoder_layers=1,
        num_heads=4,
        decoder_num_heads=1,
        feedforward_dim=24,
        decoder_feedforward_dim=40,
        banned_ids=(),
    ),
    "as Marian": replace(
        SHARED, activation="silu", sine_layout="halves", output_bias=True, tie="all", bos_id=0, banned_ids=(0,)
    ),
    "odd norms": replace(
        SHARED,
        final_norm=True,
        norm_embedding=True,
        scale_embedding=False,
        activation="gelu_tanh",
        tie="none",
        sine_endpoint=True,
        position_start=2,
    ),
    "pre-norm without a last norm": replace(SHARED, pre_norm=True, final_norm=False, tie="source_target"),
}


def tokenizers(shared: bool) -> tuple[Tokenizer, Tokenizer]:
    source = train_tokenizer(TEXT, "bpe", 40)
    return source, source if shared else train_tokenizer(TEXT, "characters", 30)


def model_of(name: str) -> tuple[Seq2Seq, tuple[Tokenizer, Tokenizer]]:
    config = CONFIGS[name]
    both = tokenizers(shared=config.tie in ("all", "source_target"))
    config = replace(config, source_vocab=len(both[0]), target_vocab=len(both[1]))
    model = build_seq2seq(config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("bias") or "norm" in key:
                parameter.add_(torch.randn_like(parameter) * 0.3)
        model.head.weight.mul_(3.0)
    return model, both


def log_probabilities(model: Seq2Seq, source: list[int], target: list[int]) -> Tensor:
    """Of every word of the vocabulary after each prefix of a target."""
    with torch.no_grad():
        logits = model(torch.tensor([source]), torch.tensor([[model.config.bos_id, *target]])).logits[0]
    logits[:, list(model.config.banned_ids)] = float("-inf")
    return logits.log_softmax(-1)


def greedy(model: Seq2Seq, source: list[int], most: int) -> list[int]:
    target: list[int] = []
    while len(target) < most:
        word = int(log_probabilities(model, source, target)[-1].argmax())
        if word == model.config.eos_id:
            break
        target.append(word)
    return target


@pytest.mark.parametrize("name", CONFIGS)
def test_the_engine_answers_as_the_model_does(tmp_path: Path, name: str) -> None:
    engine = pytest.importorskip("ctranslate2", reason="the package ctranslate2 is not installed")
    model, (source, target) = model_of(name)
    export_ctranslate2(model, (source, target), tmp_path)
    translator = engine.Translator(str(tmp_path), inter_threads=1, intra_threads=1)
    sentences = [source.encode(line) for line in TEXT]
    pieces = [source.pieces(ids) for ids in sentences]
    for ids, found in zip(
        sentences, translator.translate_batch(pieces, beam_size=1, max_decoding_length=20), strict=True
    ):
        assert found.hypotheses[0] == target.pieces(greedy(model, ids, 20))
    targets = [torch.randint(4, len(target), (length,)).tolist() for length in (1, 5, 9)]
    scores = translator.score_batch(pieces, [target.pieces(ids) for ids in targets])
    for ids, words, score in zip(sentences, targets, scores, strict=True):
        wanted = [*words, model.config.eos_id]
        ours = log_probabilities(model, ids, words)[range(len(wanted)), wanted]
        torch.testing.assert_close(torch.tensor(score.log_probs), ours, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_written_for_the_engine_is_read_again(tmp_path: Path, name: str) -> None:
    model, (source, target) = model_of(name)
    export_ctranslate2(model, (source, target), tmp_path)
    read = open_ctranslate2_folder(tmp_path)
    assert read.vocabularies.source == tuple(source.pieces(range(len(source))))
    assert read_beside(tmp_path) == Beside(source, target, 24)
    words = torch.randint(4, len(target), (6,)).tolist()
    for line in TEXT:
        ids = source.encode(line)
        ours, again = (log_probabilities(each, ids, words) for each in (model, read.model))
        shown = ours.isfinite()
        torch.testing.assert_close(again[shown], ours[shown], atol=1e-5, rtol=1e-5)
        assert (again[~shown].exp() == 0).all()
    kept = (
        "dim",
        "tie",
        "positions",
        "activation",
        "pre_norm",
        "scale_embedding",
        "norm_embedding",
        "bos_id",
        "eos_id",
    )
    for field in (*kept, "sine_layout", "sine_endpoint", "position_start", "max_positions", "encoder_layers"):
        assert getattr(read.model.config, field) == getattr(model.config, field)


def test_the_published_transliteration_model(shared_data) -> None:
    """Its published outputs and log-probabilities, from weights as CTranslate2 names them."""
    folder: Path = shared_data("aren_transliteration")
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    loaded = open_ctranslate2_npz(folder / "aren_v2_float32.npz", num_heads=expected["heads"])
    model, vocabularies = loaded.model, loaded.vocabularies
    assert (model.config.pre_norm, model.config.bos_id, model.config.eos_id) == (True, 1, 2)
    for case in expected["cases"]:
        source = [vocabularies.source.index(token) for token in case["source"]]
        target = greedy(model, source, 40)
        written = [vocabularies.target[word] for word in target]
        assert written == case["greedy_target"]
        assert "".join(written) == expected["published_expected"]["".join(case["source"])]
        words = [*target, model.config.eos_id]
        steps = log_probabilities(model, source, target)[range(len(words)), words]
        assert float(steps.sum()) == pytest.approx(case["logprob_sum"], abs=1e-4)
        with torch.no_grad():
            memory = model.encode(torch.tensor([source])).tokens[0, 0]
            first = model(torch.tensor([source]), torch.tensor([[model.config.bos_id]])).logits[0, 0]
        torch.testing.assert_close(memory, torch.tensor(case["encoder_out_first_row"]), atol=1e-4, rtol=0)
        torch.testing.assert_close(first, torch.tensor(case["first_step_logits"]), atol=1e-4, rtol=0)
    for case in expected["published_token_logprobs"]:
        source = [vocabularies.source.index(token) for token in case["source"]]
        words = [vocabularies.target.index(token) for token in case["target"]]
        wanted = [*words, model.config.eos_id]
        steps = log_probabilities(model, source, words)[range(len(wanted)), wanted]
        torch.testing.assert_close(steps, torch.tensor(case["with_eos_logprobs"]), atol=1e-4, rtol=0)


def test_the_published_transliteration_model_in_the_engine(shared_data, tmp_path: Path) -> None:
    """Read, written as model.bin, and read by the engine: the published outputs still."""
    engine = pytest.importorskip("ctranslate2", reason="the package ctranslate2 is not installed")
    folder: Path = shared_data("aren_transliteration")
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    loaded = open_ctranslate2_npz(folder / "aren_v2_float32.npz", num_heads=expected["heads"])
    write_translator(tmp_path, loaded.model, loaded.vocabularies)
    translator = engine.Translator(str(tmp_path), inter_threads=1, intra_threads=1)
    for source, target in expected["published_expected"].items():
        found = translator.translate_batch([list(source)], beam_size=1)
        assert "".join(found[0].hypotheses[0]) == target
