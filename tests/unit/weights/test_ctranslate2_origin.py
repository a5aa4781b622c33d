"""Translators of CTranslate2's that ours cannot be: each is refused in one line that names what it does."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2SeqConfig, build_seq2seq
from sleuth.tasks.tokenizer_training import train_tokenizer
from sleuth.weights.origins.ctranslate2 import open_ctranslate2_folder, open_ctranslate2_npz
from sleuth.weights.origins.ctranslate2_export import export_ctranslate2, read_beside, write_translator
from sleuth.weights.origins.ctranslate2_file import read_model_bin, write_model_bin
from sleuth.weights.origins.ctranslate2_vocabulary import Vocabularies

TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "a", "b")
CONFIG = Seq2SeqConfig(
    source_vocab=6,
    target_vocab=6,
    dim=8,
    num_heads=2,
    encoder_layers=1,
    decoder_layers=1,
    feedforward_dim=12,
    max_positions=10,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_translator(tmp_path, build_seq2seq(CONFIG), Vocabularies(TOKENS, TOKENS), unknown="<unk>")
    return tmp_path


def change(folder: Path, **changes: torch.Tensor | None) -> None:
    variables = dict(read_model_bin(folder / "model.bin").variables)
    for name, tensor in changes.items():
        variables.pop(name, None)
        if tensor is not None:
            variables[name] = tensor
    write_model_bin(folder / "model.bin", variables)


def byte(value: int) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.int8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder/start_from_zero_embedding": byte(1)}, "decoder/start_from_zero_embedding is not supported"),
        ({"decoder/alibi": byte(1)}, "decoder/alibi is not supported"),
        ({"decoder/rotary_dim": byte(8)}, "the attribute 'decoder/rotary_dim' is unknown"),
        ({"encoder/num_heads": None}, "says nothing of encoder/num_heads"),
        ({"encoder/num_heads": byte(3)}, "dim = 8 is not a multiple of 2 and of num_heads = 3"),
        ({"encoder/pre_norm": byte(1)}, "pre_norm is 1 in the encoder and 0 in the decoder"),
        ({"encoder/activation": byte(6), "decoder/activation": byte(6)}, "the activation of number 6"),
        ({"encoder/scale_embeddings": torch.tensor(2.0)}, r"embeddings are multiplied by 2 and 2\.82843"),
        ({"decoder/position_encodings/encodings": None}, "different kinds of positions"),
        ({"decoder/embeddings/weight": None}, "holds no table 'decoder/embeddings/weight'"),
        ({"encoder/layer_0/ffn/linear_0_noact/weight": torch.zeros(12, 8)}, "linear_0_noact/weight' is unknown"),
        ({"encoder/layer_0/ffn/layer_norm/beta": None}, "no weights for 'encoder.layers.0.norm2.bias'"),
        (
            {"encoder/embeddings_0/weight": torch.zeros(5, 8)},
            "source vocabulary has 6 tokens, but the weights are for 5",
        ),
    ],
)
def test_what_ours_does_not_do(folder: Path, changes: dict[str, torch.Tensor | None], message: str) -> None:
    change(folder, **changes)
    with pytest.raises(UserError, match=message):
        open_ctranslate2_folder(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer_norm_epsilon": 0.1}, "layer_norm_epsilon = 0.1 cannot be honoured"),
        ({"decoder_start_token": "<x>"}, "the vocabulary has no '<x>'"),
        ({"eos_token": 2}, "eos_token = 2 cannot be honoured"),
        ([], "holds no JSON object"),
    ],
)
def test_a_configuration_that_cannot_be_honoured(folder: Path, values: object, message: str) -> None:
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        open_ctranslate2_folder(folder)


def test_a_file_of_another_kind(folder: Path) -> None:
    raw = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(raw.replace(b"TransformerSpec\0", b"TransformerABCD\0", 1))
    with pytest.raises(UserError, match="kind 'TransformerABCD' is no translator"):
        open_ctranslate2_folder(folder)
    place = raw.index(b"TransformerSpec\0") + len(b"TransformerSpec\0")
    (folder / "model.bin").write_bytes(raw[:place] + b"\x05" + raw[place + 1 :])
    with pytest.raises(UserError, match="revision 5 of the layout is not read, only 7"):
        open_ctranslate2_folder(folder)


def test_what_a_source_sentence_begins_and_ends_with(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(values | {"add_source_eos": True}), encoding="utf-8")
    loaded = open_ctranslate2_folder(folder)
    assert (loaded.source_start, loaded.source_end) == ((), (2,))


def test_without_a_table_positions_are_opennmts(folder: Path) -> None:
    names = [f"{side}/position_encodings/encodings" for side in ("encoder", "decoder")]
    change(folder, **dict.fromkeys(names))
    config = open_ctranslate2_folder(folder).model.config
    assert (config.sine_layout, config.sine_endpoint, config.position_start) == ("halves", True, 1)


def test_an_npz_needs_heads_and_activation(folder: Path) -> None:
    variables = read_model_bin(folder / "model.bin").variables
    arrays = {name: tensor.numpy() for name, tensor in variables.items() if tensor.dim()}
    np.savez(folder / "model.npz", **arrays)
    ours = open_ctranslate2_folder(folder).model
    again = open_ctranslate2_npz(folder / "model.npz", num_heads=2).model
    assert again.config == ours.config
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in ours.state_dict().items())
    assert open_ctranslate2_npz(folder / "model.npz", num_heads=2, activation="silu").model.config.activation == "silu"
    with pytest.raises(UserError, match="the activation 'swish' is unknown"):
        open_ctranslate2_npz(folder / "model.npz", num_heads=2, activation="swish")


def test_a_folder_without_tokenizers(folder: Path) -> None:
    with pytest.raises(UserError, match=r"holds no sleuth\.json"):
        read_beside(folder)
    (folder / "sleuth.json").write_text('{"source": 1}', encoding="utf-8")
    with pytest.raises(UserError, match="not readable"):
        read_beside(folder)


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["a b c d e f g h"], "words", 20)
    with pytest.raises(UserError, match=f"the tokenizer has {len(tokenizer)} tokens, the model embeds 6"):
        export_ctranslate2(build_seq2seq(CONFIG), (tokenizer, tokenizer), tmp_path)


def test_ids_without_a_piece_get_a_name(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["a b"], "words", 20)
    size = len(tokenizer)
    config = replace(CONFIG, source_vocab=size + 2, target_vocab=size)
    export_ctranslate2(build_seq2seq(config), (tokenizer, tokenizer), tmp_path)
    vocabularies = open_ctranslate2_folder(tmp_path).vocabularies
    assert vocabularies.source == (*vocabularies.target, f"<unused{size}>", f"<unused{size + 1}>")
    assert vocabularies.target == tuple(tokenizer.pieces(range(size)))
