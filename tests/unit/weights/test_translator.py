"""A translation model in one file: weights, numbers, vocabularies; what is shared is written once."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sleuth.errors import UserError
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.models.seq2seq import Seq2SeqConfig, build_seq2seq
from sleuth.tasks.decoding.options import DecodingOptions
from sleuth.tasks.preprocess import Preprocess
from sleuth.tasks.tokenizer_training import train_tokenizer
from sleuth.weights.checkpoint import detector_card, load_model, read_tensors, save_model, save_tensors
from sleuth.weights.translator import load_translator, save_translator, translator_card
from sleuth.weights.translators import is_translator, open_translator

ENGLISH = train_tokenizer(["one two three", "four five"], "words")
GERMAN = train_tokenizer(["eins zwei drei", "vier"], "words")


def config(**changes: object) -> Seq2SeqConfig:
    usual = {"dim": 16, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feedforward_dim": 32}
    sizes = {"source_vocab": len(ENGLISH), "target_vocab": len(ENGLISH)}
    return Seq2SeqConfig(**usual | sizes | changes)


@pytest.mark.parametrize("tie", ["none", "target_output", "source_target", "all"])
def test_what_is_saved_comes_back(tmp_path: Path, tie: str):
    numbers = config(tie=tie)
    model = build_seq2seq(numbers)
    options = DecodingOptions(beams=3, length_penalty=1.1)
    card = translator_card(numbers, source=ENGLISH, target=ENGLISH, languages=("en", "en"), decoding=options)
    save_translator(tmp_path / "m.safetensors", model, card)
    loaded = load_translator(tmp_path / "m.safetensors")
    assert loaded.model.config == numbers
    assert loaded.decoding == options
    assert (loaded.card.languages, loaded.card.notes, loaded.card.target) == (("en", "en"), {}, {})
    assert loaded.source == loaded.target == ENGLISH
    assert not loaded.model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name
    tied = loaded.model.head.weight is loaded.model.target_embedding.table.weight
    assert tied == (tie in ("target_output", "all"))
    stored = load_file(tmp_path / "m.safetensors")
    assert len(stored) == len(dict(model.named_parameters()))


def test_two_vocabularies_stay_two(tmp_path: Path):
    numbers = config(target_vocab=len(GERMAN))
    card = translator_card(numbers, source=ENGLISH, target=GERMAN)
    save_translator(tmp_path / "m.safetensors", build_seq2seq(numbers), card, dtype=torch.half)
    loaded = open_translator(tmp_path / "m.safetensors")
    assert (loaded.source, loaded.target) == (ENGLISH, GERMAN)
    assert loaded.model.head.weight.dtype == torch.float32


def test_a_vocabulary_larger_than_the_model_is_refused(tmp_path: Path):
    numbers = config(source_vocab=len(ENGLISH) - 1, tie="target_output")
    card = translator_card(numbers, source=ENGLISH, target=ENGLISH)
    save_translator(tmp_path / "m.safetensors", build_seq2seq(numbers), card)
    with pytest.raises(UserError, match="embeds"):
        load_translator(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"dim": 15}}, "describes no model"),
        ({"config": {"colour": 1}}, "unknown option 'colour'"),
        ({"decoding": {"luck": 1}}, "unknown option 'luck'"),
    ],
)
def test_a_card_that_describes_no_model_says_so(tmp_path: Path, change: dict, message: str):
    numbers = config()
    card = translator_card(numbers, source=ENGLISH, target=ENGLISH)
    save_translator(tmp_path / "m.safetensors", build_seq2seq(numbers), replace(card, **change))
    with pytest.raises(UserError, match=message):
        load_translator(tmp_path / "m.safetensors")


def test_a_missing_tensor_is_named(tmp_path: Path):
    numbers = config()
    path = tmp_path / "m.safetensors"
    save_translator(path, build_seq2seq(numbers), translator_card(numbers, source=ENGLISH, target=ENGLISH))
    tensors, metadata = read_tensors(path)
    del tensors["encoder.layers.0.norm1.weight"]
    save_tensors(path, tensors, metadata)
    with pytest.raises(UserError, match=r"encoder.layers.0.norm1.weight"):
        load_translator(path)


def test_models_for_something_else_say_what_they_are_for(tmp_path: Path):
    numbers = config()
    words, boxes = tmp_path / "words.safetensors", tmp_path / "boxes.safetensors"
    save_translator(words, build_seq2seq(numbers), translator_card(numbers, source=ENGLISH, target=ENGLISH))
    sizes = DetrConfig(
        backbone="resnet10", backbone_width=8, dim=16, num_heads=2, encoder_layers=1, decoder_layers=1, num_classes=1
    )
    card = detector_card(sizes, names=("a",), category_ids=(1,), preprocess=Preprocess())
    save_model(boxes, build_detr(sizes), card)
    with pytest.raises(UserError, match=r"translates text.*sleuth translate"):
        load_model(words)
    with pytest.raises(UserError, match=r"finds objects.*sleuth predict"):
        load_translator(boxes)
    assert is_translator(str(words))
    assert not is_translator(str(boxes))
    assert not is_translator(str(tmp_path / "absent.safetensors"))


def test_an_unknown_name_says_what_to_name():
    with pytest.raises(UserError, match="did you mean 'numbers'"):
        open_translator("number")
