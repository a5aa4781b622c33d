"""Folders of Marian's that are broken or another model: one line each, that names the file and the field."""

import json
from pathlib import Path

import pytest
import torch

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2SeqConfig, build_seq2seq
from sleuth.tasks.decoding.options import DecodingOptions
from sleuth.tasks.tokenizer_training import train_tokenizer
from sleuth.weights.checkpoint import read_tensors, save_tensors
from sleuth.weights.hub import snapshot
from sleuth.weights.origins.generation_huggingface import generation_json, read_generation
from sleuth.weights.origins.marian_huggingface import MARIAN_FILES, open_marian_folder, read_marian_config
from sleuth.weights.origins.marian_huggingface_export import write_marian_folder

LINES = ("the cat sat on the mat", "a dog ran to the red house", "one bird and two fish")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small Marian with one vocabulary, as `write_marian_folder` writes it."""
    tokenizer = train_tokenizer(LINES, "unigram", 40)
    config = Seq2SeqConfig(
        source_vocab=len(tokenizer),
        target_vocab=len(tokenizer),
        dim=8,
        num_heads=2,
        encoder_layers=1,
        decoder_layers=1,
        feedforward_dim=12,
        max_positions=20,
        tie="all",
    )
    write_marian_folder(tmp_path, build_seq2seq(config), tokenizer, tokenizer)
    return tmp_path


def change(path: Path, **changes: object) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values | changes), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bart"}, "model_type = 'bart' cannot be honoured"),
        ({"architectures": ["MarianForCausalLM"]}, "the architecture 'MarianForCausalLM' cannot be loaded"),
        ({"normalize_before": True}, "normalize_before = True cannot be honoured: only False is supported"),
        ({"static_position_embeddings": False}, "static_position_embeddings = False cannot be honoured"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings = False cannot be honoured"),
        ({"activation_function": "mish"}, "activation_function = 'mish' cannot be honoured"),
        ({"rope_theta": 10000}, "the field 'rope_theta' is unknown"),
        ({"d_model": 9}, "the numbers make no model: dim = 9"),
        ({"d_model": "8"}, "d_model = '8' cannot be honoured: a whole number is wanted"),
        ({"decoder_vocab_size": 7}, "decoder_vocab_size = 7 cannot be honoured: embeddings are shared"),
        ({"d_model": 16}, "has shape .* but the model wants"),
        ({"encoder_layers": 2}, r"no weights for 'encoder\.layers\.1"),
        ({"pad_token_id": 2}, "but the model's 2 and"),
    ],
)
def test_a_configuration_that_cannot_be_honoured(folder: Path, changes: dict, message: str) -> None:
    change(folder / "config.json", **changes)
    with pytest.raises(UserError, match=message):
        open_marian_folder(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bad_words_ids": [[4, 5]]}, r"bad_words_ids = \[\[4, 5\]\] cannot be honoured"),
        ({"bad_words_ids": 4}, "bad_words_ids = 4 cannot be honoured"),
        ({"forced_eos_token_id": 5}, "only the end of the sentence, 2, can be forced"),
        ({"forced_bos_token_id": 5}, "forced_bos_token_id = 5 cannot be honoured"),
        ({"num_beam_groups": 2}, "num_beam_groups = 2 cannot be honoured"),
        ({"decoder_start_token_id": 4}, "decoder_start_token_id = 4 cannot be honoured"),
        ({"early_stopping": "soon"}, "early_stopping = 'soon' cannot be honoured"),
        ({"num_beams": 0}, "the numbers make no search: beams = 0"),
    ],
)
def test_a_way_of_asking_that_cannot_be_honoured(folder: Path, changes: dict, message: str) -> None:
    change(folder / "generation_config.json", **changes)
    with pytest.raises(UserError, match=message):
        open_marian_folder(folder)


def test_without_a_generation_config_the_configuration_tells(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    change(folder / "config.json", num_beams=6, max_length=12, bad_words_ids=[[0], [2]], forced_eos_token_id=2)
    config, options = read_marian_config(folder)
    assert (options.beams, options.max_length, options.penalty, options.force_eos) == (6, 11, "power", True)
    assert config.banned_ids == (0,)  # the end cannot be banned


@pytest.mark.parametrize(
    "options",
    [
        DecodingOptions(max_length=11, force_eos=True),
        DecodingOptions(beams=4, penalty="power", length_penalty=0.8, early_stopping="never", renormalise=True),
        DecodingOptions(min_length=3, repetition_penalty=1.2, no_repeat_ngram=3, penalty="power", length_penalty=1.0),
        DecodingOptions(sample=True, temperature=0.7, top_k=5, top_p=0.9, penalty="power", length_penalty=1.0),
        DecodingOptions(sample=True, penalty="power", length_penalty=1.0),
    ],
    ids=str,
)
def test_ways_of_asking_come_back(options: DecodingOptions) -> None:
    config = Seq2SeqConfig()
    read = read_generation(generation_json(config, options), "here", eos_id=2, start_id=1)
    assert read.banned_ids == config.banned_ids
    back = read.options if options.penalty == "power" else DecodingOptions(**{**vars(read.options), **GNMT})
    assert back == options


GNMT = {"penalty": "gnmt", "length_penalty": 0.6}


def test_files_that_are_missing_or_broken(folder: Path) -> None:
    for name in ("source.spm", "vocab.json", "model.safetensors", "config.json"):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(UserError, match=f"holds (no|neither) {name}"):
            open_marian_folder(folder)
        (folder / name).write_bytes(kept)
    (folder / "source.spm").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"source\.spm: not a sentencepiece model"):
        open_marian_folder(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": "b"}', "the id of 'a' is 'b', no number"),
        ('{"a": 0, "b": 0}', "two pieces have the same id"),
        ("{}", "holds no piece"),
        ('{"<unk>": 0, "</s>": 1}', "lacks the token '<pad>'"),
        ("[", "not readable JSON"),
    ],
)
def test_a_broken_vocabulary(folder: Path, text: str, message: str) -> None:
    (folder / "vocab.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        open_marian_folder(folder)


def test_a_vocabulary_of_another_model(folder: Path) -> None:
    ids = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    (folder / "vocab.json").write_text(json.dumps(ids | {f"more{i}": len(ids) + i for i in range(9)}), encoding="utf-8")
    with pytest.raises(UserError, match=f"the tokenizer has {len(ids) + 9} tokens, the model embeds {len(ids)}"):
        open_marian_folder(folder)


def test_tables_that_should_be_one_but_differ(folder: Path) -> None:
    tensors, _ = read_tensors(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.shared.weight"] + 1
    save_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    with pytest.raises(UserError, match="should be the same, but differ"):
        open_marian_folder(folder)


def test_a_file_without_the_bias_of_the_output(folder: Path) -> None:
    """As Hugging Face reads it: there is none, so it is zero."""
    tensors, _ = read_tensors(folder / "model.safetensors")
    del tensors["final_logits_bias"]
    save_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    assert torch.equal(open_marian_folder(folder).model.head.bias, torch.zeros(len(tensors["model.shared.weight"])))


def test_from_the_hub_with_all_its_files(folder: Path, hub, monkeypatch) -> None:
    """Once with a network, then without."""
    from huggingface_hub import constants

    import hub_server

    name, files = "someone/opus-tiny", {file.name: file.read_bytes() for file in folder.iterdir()}
    hub.models[name] = hub_server.Model(dict(files))
    found = snapshot(name, check_config=read_marian_config, beside=MARIAN_FILES)
    assert {file.name: file.read_bytes() for file in found.iterdir()} == files
    ours, theirs = open_marian_folder(found), open_marian_folder(folder)
    assert (ours.source, ours.options, ours.model.config) == (theirs.source, theirs.options, theirs.model.config)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert snapshot(name, check_config=read_marian_config, beside=MARIAN_FILES) == found


def test_another_model_is_refused_before_its_weights_are_downloaded(hub) -> None:
    import hub_server

    hub.models["someone/bert"] = hub_server.Model({"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x"})
    with pytest.raises(UserError, match="model_type = 'bert' cannot be honoured"):
        snapshot("someone/bert", check_config=read_marian_config, beside=MARIAN_FILES)
