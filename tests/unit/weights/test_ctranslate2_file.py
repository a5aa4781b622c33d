"""CTranslate2's files: what is written comes back, and a damaged file is told in one line."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from sleuth.errors import UserError
from sleuth.weights.origins.ctranslate2_file import full_precision, read_model_bin, read_npz, write_model_bin
from sleuth.weights.origins.ctranslate2_vocabulary import Vocabularies, read_vocabularies, write_vocabularies


def variables() -> dict[str, torch.Tensor]:
    table = torch.randn(5, 3)
    return {
        "decoder/embeddings/weight": table,
        "decoder/num_heads": torch.tensor(8, dtype=torch.int16),
        "encoder/embeddings_0/weight": table.clone(),
        "encoder/pre_norm": torch.tensor(1, dtype=torch.int8),
        "decoder/pre_norm": torch.tensor(1, dtype=torch.int8),
        "half": torch.randn(2, 4).half(),
        "brain": torch.randn(4).bfloat16(),
        "whole": torch.arange(4, dtype=torch.int32),
        "nothing": torch.empty(0, 3),
    }


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    write_model_bin(tmp_path / "model.bin", variables_ := variables())
    read = read_model_bin(tmp_path / "model.bin")
    assert (read.spec, read.revision) == ("TransformerSpec", 7)
    assert read.variables.keys() == variables_.keys()
    for name, tensor in variables_.items():
        assert read.variables[name].dtype == tensor.dtype
        assert torch.equal(read.variables[name], tensor)


def test_equal_tensors_are_stored_once_but_attributes_are_not_shared(tmp_path: Path) -> None:
    write_model_bin(tmp_path / "one.bin", variables())
    write_model_bin(tmp_path / "two.bin", variables() | {"encoder/embeddings_0/weight": torch.randn(5, 3)})
    assert (tmp_path / "two.bin").stat().st_size - (tmp_path / "one.bin").stat().st_size > 5 * 3 * 4 - 60
    kept = read_model_bin(tmp_path / "one.bin").variables
    assert kept["encoder/embeddings_0/weight"] is kept["decoder/embeddings/weight"]
    assert kept["encoder/pre_norm"] is not kept["decoder/pre_norm"]


def test_every_cut_is_told(tmp_path: Path) -> None:
    whole = tmp_path / "model.bin"
    write_model_bin(whole, {"a/weight": torch.randn(2, 2), "b/weight": torch.ones(3)})
    raw = whole.read_bytes()
    for length in range(len(raw)):
        (tmp_path / "cut.bin").write_bytes(raw[:length])
        with pytest.raises(UserError, match="cut off or damaged"):
            read_model_bin(tmp_path / "cut.bin")
    (tmp_path / "more.bin").write_bytes(raw + b"!")
    with pytest.raises(UserError, match="1 bytes are left over"):
        read_model_bin(tmp_path / "more.bin")


def test_what_is_no_model_bin(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    with pytest.raises(UserError, match="no such file"):
        read_model_bin(path)
    with pytest.raises(UserError, match="a folder, not a file"):
        read_model_bin(tmp_path)
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(UserError, match=r"not a model\.bin"):
        read_model_bin(path)
    path.write_bytes(struct.pack("I", 3) + bytes(100))
    with pytest.raises(UserError, match="version 3 of the format is not read"):
        read_model_bin(path)


def header(dtype: int, size: int) -> bytes:
    return struct.pack("=IH2sIIH2sBIBI", 6, 2, b"S\0", 7, 1, 2, b"w\0", 1, 2, dtype, size)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (header(99, 8) + bytes(12), "numbers of an unknown kind"),
        (header(0, 4) + bytes(8), r"'w' has 4 bytes, but the shape \[2\]"),
        (header(0, 8) + bytes(8) + struct.pack("=IH2sH2s", 1, 2, b"v\0", 2, b"x\0"), "'v' stands for 'x'"),
        (header(0, 8).replace(b"w\0", b"\xff\0") + bytes(12), "a name is no text"),
    ],
)
def test_damage_inside(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "model.bin").write_bytes(raw)
    with pytest.raises(UserError, match=message):
        read_model_bin(tmp_path / "model.bin")


def test_quantised_weights_come_back_within_half_a_step() -> None:
    weight = torch.randn(4, 6)
    rows = 127 / weight.abs().amax(1)
    whole = torch.tensor(1024.0) / weight.abs().max()
    full = full_precision(
        {
            "a/weight": (weight * rows[:, None]).round().to(torch.int8),
            "a/weight_scale": rows,
            "b/weight": (weight * whole).round().to(torch.int16),
            "b/weight_scale": whole,
            "c/bias": weight.half(),
            "c/num_heads": torch.tensor(4, dtype=torch.int16),
            "queries_scale": torch.ones(2),
        }
    )
    assert full.keys() == {"a/weight", "b/weight", "c/bias", "c/num_heads", "queries_scale"}
    assert ((full["a/weight"] - weight).abs() <= 0.5001 / rows[:, None]).all()
    assert ((full["b/weight"] - weight).abs() <= 0.5001 / whole).all()
    assert full["c/bias"].dtype == torch.float32
    assert full["c/num_heads"].dtype == torch.int16


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", **{"encoder/embeddings/weight": np.ones((2, 3), np.float32)})
    read = read_npz(tmp_path / "model.npz")
    assert torch.equal(read["encoder/embeddings/weight"], torch.ones(2, 3))
    np.save(tmp_path / "one.npy", np.ones(2))
    with pytest.raises(UserError, match="holds one array"):
        read_npz(tmp_path / "one.npy")
    np.savez(tmp_path / "odd.npz", odd=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="not a readable"):
        read_npz(tmp_path / "odd.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "model.npz").read_bytes()[:-40])
    with pytest.raises(UserError, match="not a readable"):
        read_npz(tmp_path / "cut.npz")
    with pytest.raises(UserError, match="no such file"):
        read_npz(tmp_path / "none.npz")


def test_vocabularies(tmp_path: Path) -> None:
    shared = Vocabularies(("<pad>", "\u2028", "ä"), ("<pad>", "\u2028", "ä"))
    write_vocabularies(tmp_path, shared)
    assert [path.name for path in tmp_path.iterdir()] == ["shared_vocabulary.json"]
    assert read_vocabularies(tmp_path) == shared
    (tmp_path / "shared_vocabulary.json").unlink()
    with pytest.raises(UserError, match="neither shared_vocabulary nor source_vocabulary"):
        read_vocabularies(tmp_path)
    (tmp_path / "source_vocabulary.txt").write_text("<blank>\n<s>\n\u2028\n", encoding="utf-8")
    with pytest.raises(UserError, match="neither shared_vocabulary nor target_vocabulary"):
        read_vocabularies(tmp_path)
    (tmp_path / "target_vocabulary.json").write_text('["a", "b"]', encoding="utf-8")
    assert read_vocabularies(tmp_path) == Vocabularies(("<blank>", "<s>", "\u2028"), ("a", "b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "not a list of tokens"), ("[1]", "not a list of tokens"), ("[", "not a readable"), ('["a", "a"]', "twice")],
)
def test_broken_vocabularies(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "shared_vocabulary.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_vocabularies(tmp_path)


def test_a_token_that_is_there_twice_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'a' is twice in the target vocabulary"):
        write_vocabularies(tmp_path, Vocabularies(("a", "b"), ("a", "a")))


@pytest.mark.parametrize("kind", ["int8", "int16", "float16", "bfloat16", "float32"])
def test_files_of_the_converter_are_read(tmp_path: Path, kind: str) -> None:
    """Written by CTranslate2's own specification, in each of its quantisations."""
    specs = pytest.importorskip("ctranslate2.specs", reason="the package ctranslate2 is not installed")
    weight = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)

    class Model(specs.model_spec.ModelSpec):
        name = "TransformerSpec"
        revision = 7

        def __init__(self) -> None:
            super().__init__()
            self.heads = np.int16(4)
            self.a, self.b = specs.common_spec.LinearSpec(), specs.common_spec.LinearSpec()
            self.a.weight, self.a.bias, self.b.weight = weight.copy(), weight[:, 0].copy(), weight.copy()

    model = Model()
    model.validate()
    model.optimize(quantization=kind)
    model.save(str(tmp_path))
    full = full_precision(read_model_bin(tmp_path / "model.bin").variables)
    assert int(full["heads"]) == 4
    step = {"int8": 0.02, "int16": 0.002, "float16": 0.002, "bfloat16": 0.02, "float32": 0.0}[kind]
    assert (full["a/weight"] - torch.from_numpy(weight)).abs().max() <= step
    assert torch.equal(full["b/weight"], full["a/weight"])
    assert json.dumps(sorted(full)) == json.dumps(["a/bias", "a/weight", "b/weight", "heads"])
