"""Two processes have the losses of one process with the doubled batch, and agree on what to skip."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

HERE = Path(__file__).parent
# Batch norm is frozen in the tiny recipe; dropout would draw other numbers in each process, and pictures of several
# sizes would be padded otherwise in smaller batches.
COMMON = [
    "model.dropout=0.0",
    "augmentation.crop_prob=0.0",
    "run.steps=6",
    "run.checkpoint_every=0",
    "run.workers=0",
    "run.seed=3",
]
POISON = [7, 30]

_spec = importlib.util.spec_from_file_location("train_driver", HERE / "train_driver.py")
driver = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(driver)


def here(out: Path, *overrides: str) -> list[dict]:
    driver.run(driver.TINY, out, [*COMMON, *overrides], poison=POISON)
    return read_metrics(out)


def elsewhere(out: Path, *overrides: str, launcher: tuple[str, ...] = ()) -> list[dict]:
    poison = [word for index in POISON for word in ("--poison", str(index))]
    command = [sys.executable, *launcher, HERE / "train_driver.py", driver.TINY, out, *COMMON, *overrides, *poison]
    result = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr
    return read_metrics(out)


def read_metrics(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def one_process(tmp_path_factory) -> tuple[Path, list[dict]]:
    out = tmp_path_factory.mktemp("one") / "run"
    records = here(out, "optimizer.batch_size=8")
    assert any("skipped" in record for record in records), "the poisoned pictures were not met"
    assert sum("loss" in record for record in records) >= 3
    return out, records


def same(records: list[dict], expected: list[dict]) -> None:
    assert [record["step"] for record in records] == [record["step"] for record in expected]
    for record, wanted in zip(records, expected, strict=True):
        assert record.get("skipped") == wanted.get("skipped")
        if "loss" in wanted:
            assert record["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
            assert record["parts"] == pytest.approx(wanted["parts"], rel=1e-4, abs=1e-6)
            assert record["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-4)


@pytest.mark.parametrize("launcher", ["torchrun", "devices"])
def test_two_processes_equal_one_with_the_doubled_batch(launcher: str, one_process, tmp_path: Path):
    out = tmp_path / "run"
    if launcher == "torchrun":
        torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
        records = elsewhere(out, "optimizer.batch_size=4", launcher=torchrun)
    else:
        records = elsewhere(out, "optimizer.batch_size=4", "run.devices=2")
    folder, expected = one_process
    same(records, expected)
    weights, wanted = load_file(out / "last.safetensors"), load_file(folder / "last.safetensors")
    for name, tensor in wanted.items():
        assert torch.allclose(weights[name], tensor, atol=2e-5), name
    assert json.loads((out / "environment.json").read_text())["processes"] == 2


def test_accumulated_batches_equal_one_large_batch(one_process, tmp_path: Path):
    records = here(tmp_path / "run", "optimizer.batch_size=4", "optimizer.accumulate=2")
    same(records, one_process[1])
