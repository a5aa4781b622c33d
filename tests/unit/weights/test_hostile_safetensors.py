"""Hostile .safetensors files: each ends in one line, and no memory is made for sizes that are only claimed."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sleuth.errors import UserError
from sleuth.weights.checkpoint import fill, read_tensors

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def write(path: Path, header: object, body: bytes, *, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)
    return path


@pytest.mark.parametrize(
    ("header", "body", "length"),
    [
        ({"a": ENTRY, "b": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12), None),
        ({"a": ENTRY, "b": ENTRY}, bytes(8), None),
        ({"a": {**ENTRY, "data_offsets": [8, 16]}}, bytes(16), None),
        ({"a": {**ENTRY, "data_offsets": [8, 0]}}, bytes(8), None),
        ({"a": {**ENTRY, "data_offsets": [-8, 0]}}, bytes(8), None),
        ({"a": {**ENTRY, "shape": [3]}}, bytes(8), None),
        ({"a": {**ENTRY, "shape": [2**62, 8]}}, bytes(8), None),
        ({"a": {**ENTRY, "shape": [-2]}}, bytes(8), None),
        ({"a": {**ENTRY, "dtype": "F99"}}, bytes(8), None),
        ({"a": ENTRY}, bytes(4), None),
        ({"a": ENTRY}, bytes(99), None),
        ({"a": ENTRY}, bytes(8), 2**63),
        ({"a": ENTRY}, bytes(8), 200_000_000),
        ({"a": ENTRY}, bytes(8), 5),
        ({"a": [1, 2]}, bytes(8), None),
        (["a"], bytes(8), None),
        (b"{" * 10_000, b"", None),
        (b"\xff\xfe{}", b"", None),
        (b"", b"", None),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value)[:60],
)
def test_files_that_lie_about_themselves(tmp_path: Path, header: object, body: bytes, length: int | None) -> None:
    path = write(tmp_path / "m.safetensors", header, body, length=length)
    with pytest.raises(UserError) as caught:
        read_tensors(path)
    line = caught.value.line()
    assert line.startswith(f"{path}: not a readable safetensors file")
    assert len(line.splitlines()) == 1
    assert len(line) < 600


def test_the_helper_writes_sound_files_too(tmp_path: Path) -> None:
    tensors, _ = read_tensors(write(tmp_path / "m.safetensors", {"a": ENTRY}, struct.pack("<2f", 1.0, 2.0)))
    assert tensors["a"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        (torch.tensor([[1.0, float("nan")]]), r"'weight' holds values that are not finite"),
        (torch.tensor([[1.0, float("inf")]]), r"'weight' holds values that are not finite"),
        (torch.ones(2, 1), r"'weight' has shape \[2, 1\], not \[1, 2\]"),
        (torch.ones(2), r"'weight' has shape \[2\], not \[1, 2\]"),
    ],
)
def test_the_wrong_tensor_is_named(tmp_path: Path, tensor: torch.Tensor, told: str) -> None:
    save_file({"weight": tensor, "bias": torch.ones(1)}, tmp_path / "m.safetensors")
    layer = torch.nn.Linear(2, 1)
    before = layer.bias.detach().clone()
    with pytest.raises(UserError, match=told):
        fill(layer, read_tensors(tmp_path / "m.safetensors")[0], tmp_path / "m.safetensors")
    assert torch.equal(layer.bias, before), "all or nothing"
