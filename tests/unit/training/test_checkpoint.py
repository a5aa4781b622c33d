"""Training states: exact, atomic, and refused where they do not fit."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from sleuth.errors import UserError
from sleuth.training.checkpoint import (
    Counters,
    advance,
    generator_states,
    load_state,
    restore_generators,
    restore_state,
    save_state,
)
from sleuth.training.ema import WeightAverage
from sleuth.training.optimizer import OptimizerSettings, build_optimizer

CPU = torch.device("cpu")
SETTINGS = OptimizerSettings(rate=0.05)


def save(path: Path, model, optimizer, average=None, counters: Counters | None = None) -> None:
    save_state(
        path,
        counters=counters or Counters(),
        recipe={"run": {"steps": 3}},
        model=model,
        optimizer=optimizer,
        average=average,
        generators=generator_states(0, CPU),
        scaler={},
    )


def trained(small, one_step, steps: int, settings: OptimizerSettings = SETTINGS):
    optimizer = build_optimizer(small, settings)
    average = WeightAverage(small, 0.9)
    for seed in range(steps):
        one_step(small, optimizer, seed)
        average.update()
    return optimizer, average


def test_counters_come_back(tmp_path: Path, small):
    counters = Counters(step=7, skipped=2, skipped_in_a_row=1, best_score=0.25, best_step=4, seconds=1.5)
    save(tmp_path / "state.safetensors", small, build_optimizer(small, SETTINGS), counters=counters)
    saved = load_state(tmp_path / "state.safetensors")
    assert saved.counters == counters
    assert saved.recipe == {"run": {"steps": 3}}
    assert saved.processes == 1


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_next_steps_are_the_same_to_the_bit(tmp_path: Path, small, one_step, layout, kind):
    settings = replace(SETTINGS, kind=kind)
    small.backbone.append(nn.Conv2d(4, 16, 2)).append(nn.Conv2d(16, 16, 2)).append(nn.Conv2d(16, 4, 1))
    small.to(memory_format=layout)
    optimizer, average = trained(small, one_step, 3, settings)
    assert any("momentum" in state for state in optimizer.state.values()) == (kind == "muon")
    path = tmp_path / "state.safetensors"
    save(path, small, optimizer, average)

    other = deepcopy(small)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other_optimizer, other_average = build_optimizer(other, settings), WeightAverage(other, 0.9)
    restore_state(load_state(path), where=path, model=other, optimizer=other_optimizer, average=other_average)
    for seed in range(3, 6):
        one_step(small, optimizer, seed)
        one_step(other, other_optimizer, seed)
        average.update()
        other_average.update()
    for name, tensor in small.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    for name, tensor in average.tensors.items():
        assert torch.equal(other_average.tensors[name], tensor), name


def test_random_numbers_go_on(tmp_path: Path, small):
    torch.manual_seed(5)
    torch.rand(3)
    save(tmp_path / "state.safetensors", small, build_optimizer(small, SETTINGS))
    expected = torch.rand(4)
    torch.manual_seed(99)
    restore_generators(load_state(tmp_path / "state.safetensors"), 0, CPU)
    assert torch.equal(torch.rand(4), expected)


def test_nothing_is_pickled(tmp_path: Path, small, one_step):
    optimizer, average = trained(small, one_step, 1)
    path = tmp_path / "state.safetensors"
    save(path, small, optimizer, average)
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        assert json.loads(file.metadata()["sleuth-training"])["counters"]["step"] == 0
    assert {"weights/head.weight", "average/head.weight", "optimizer/exp_avg/head.weight", "generator/cpu/0"} <= names
    assert [each.name for each in tmp_path.iterdir()] == ["state.safetensors"]


def test_state_of_another_model_is_refused(tmp_path: Path, small):
    path = tmp_path / "state.safetensors"
    save(path, small, build_optimizer(small, SETTINGS))
    other = type(small)()
    other.head = torch.nn.Linear(4, 3)
    with pytest.raises(UserError, match=r"another model: head.weight is \[2, 4\] in the file, \[3, 4\] in the recipe"):
        restore_state(
            load_state(path), where=path, model=other, optimizer=build_optimizer(other, SETTINGS), average=None
        )


def test_missing_cut_and_foreign_files_are_user_errors(tmp_path: Path, small):
    with pytest.raises(UserError, match="no training state"):
        load_state(tmp_path / "state.safetensors")
    cut = tmp_path / "cut.safetensors"
    save(cut, small, build_optimizer(small, SETTINGS))
    cut.write_bytes(cut.read_bytes()[:-50])
    with pytest.raises(UserError, match="safetensors"):
        load_state(cut)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(1)}, foreign)
    with pytest.raises(UserError, match="not a training state"):
        load_state(foreign)
    for content in ("{", "{}", '{"format": 99}', '{"format": 1, "counters": {"x": 1}}'):
        save_file({"x": torch.zeros(1)}, foreign, {"sleuth-training": content})
        with pytest.raises(UserError, match=r"cannot be read|another version"):
            load_state(foreign)


def test_a_former_state_stays_where_writing_fails(tmp_path: Path, small, monkeypatch):
    path = tmp_path / "state.safetensors"
    save(path, small, build_optimizer(small, SETTINGS))
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sleuth.weights.checkpoint.save_file", full)
    with pytest.raises(UserError, match="the disk is full"):
        save(path, small, build_optimizer(small, SETTINGS))
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_advance_counts_runs_of_bad_steps():
    counters = Counters()
    for skipped in (True, True, False, True):
        counters = advance(counters, skipped=skipped)
    assert (counters.step, counters.skipped, counters.skipped_in_a_row) == (4, 3, 1)
