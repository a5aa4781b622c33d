"""The mean of checkpoints is the mean of their weights, of one model only."""

import json
from pathlib import Path

import pytest
import torch

from sleuth.errors import UserError
from sleuth.weights.averaging import average_files, checkpoints_of
from sleuth.weights.checkpoint import read_tensors, save_tensors


def model(path: Path, value: float, *, steps: int = 0, dim: int = 3, name: str = "w", dtype=torch.float32, **card):
    tensors = {name: torch.full((2, dim), value, dtype=dtype), "steps": torch.tensor(steps)}
    card = {"architecture": "vit", "config": {"dim": 3}, "notes": {"step": steps}, **card}
    save_tensors(path, tensors, {"sleuth": json.dumps(card), "other": "kept"})
    return path


def test_the_mean_of_three(tmp_path: Path):
    paths = [model(tmp_path / f"{n}.safetensors", value, steps=n) for n, value in enumerate((1.0, 2.0, 6.0))]
    average_files(paths, tmp_path / "mean.safetensors")
    tensors, metadata = read_tensors(tmp_path / "mean.safetensors")
    assert torch.equal(tensors["w"], torch.full((2, 3), 3.0))
    assert tensors["steps"] == 2
    assert metadata["other"] == "kept"
    notes = json.loads(metadata["sleuth"])["notes"]
    assert notes == {"step": 2, "averaged": ["0.safetensors", "1.safetensors", "2.safetensors"]}


def test_half_precision_is_summed_in_double(tmp_path: Path):
    values = [60000.0, 60000.0, 3.0]
    paths = [model(tmp_path / f"{n}.safetensors", value, dtype=torch.float16) for n, value in enumerate(values)]
    average_files(paths, tmp_path / "mean.safetensors")
    mean = read_tensors(tmp_path / "mean.safetensors")[0]["w"]
    assert mean.dtype == torch.float16
    assert torch.equal(mean, torch.full((2, 3), 40001.0, dtype=torch.float16))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"architecture": "seq2seq"}, "its architecture is not that of"),
        ({"config": {"dim": 4}}, "its config is not that of"),
        ({"name": "x"}, "its weights are not those of"),
        ({"dim": 4}, "its weights are not those of"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, other: dict, message: str):
    paths = [model(tmp_path / "a.safetensors", 1.0, **other), model(tmp_path / "b.safetensors", 2.0)]
    with pytest.raises(UserError, match=message):
        average_files(paths, tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()


def test_one_file_and_broken_weights_are_refused(tmp_path: Path):
    good, bad = model(tmp_path / "a.safetensors", 1.0), model(tmp_path / "b.safetensors", float("nan"))
    with pytest.raises(UserError, match="1 model files are nothing to average"):
        average_files([good], tmp_path / "mean.safetensors")
    with pytest.raises(UserError, match="not finite"):
        average_files([good, bad], tmp_path / "mean.safetensors")


def test_a_run_names_its_checkpoints(tmp_path: Path):
    file = model(tmp_path / "a.safetensors", 1.0)
    assert checkpoints_of(file) == [file]
    with pytest.raises(UserError, match="has kept no checkpoints"):
        checkpoints_of(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    kept = [model(tmp_path / "checkpoints" / f"step-{step:08d}.safetensors", 1.0) for step in (900, 1000)]
    assert checkpoints_of(tmp_path) == kept == checkpoints_of(tmp_path / "checkpoints")
