"""A training killed at a random step and resumed ends with the weights of one never stopped, to the bit."""

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sleuth.errors import UserError

HERE = Path(__file__).parent
RECIPE = HERE / "tiny.toml"
STEPS = 30

_spec = importlib.util.spec_from_file_location("train_driver", HERE / "train_driver.py")
driver = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(driver)


def start(out: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "error", HERE / "train_driver.py", RECIPE, out, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def read_metrics(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def wait_for_steps(process: subprocess.Popen, out: Path, steps: int) -> None:
    metrics = out / "metrics.jsonl"
    while not metrics.exists() or metrics.read_text().count("\n") < steps:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)


def equal(one: Path, other: Path) -> bool:
    left, right = load_file(one), load_file(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a POSIX signal")
def test_killed_and_resumed_equals_never_stopped(tmp_path: Path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    step = random.randint(1, STEPS - 3)
    print(f"killed after step {step}")
    with start(broken) as process:
        wait_for_steps(process, broken, step)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (broken / "last.safetensors").exists()

    assert driver.run(RECIPE, broken, resume=True).finished
    assert driver.run(RECIPE, whole).finished

    # The state holds weights, average, optimiser moments and generators; last.safetensors is what a user takes away.
    assert equal(whole / "state.safetensors", broken / "state.safetensors")
    assert equal(whole / "last.safetensors", broken / "last.safetensors")
    metrics, resumed = read_metrics(whole), read_metrics(broken)
    assert [record["step"] for record in resumed] == list(range(1, STEPS + 1))
    assert [record["loss"] for record in resumed] == [record["loss"] for record in metrics]


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM is a POSIX signal")
def test_terminate_saves_the_present_step(tmp_path: Path):
    out = tmp_path / "run"
    with start(out, "run.checkpoint_every=0", "run.steps=100000") as process:
        wait_for_steps(process, out, 3)
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "continue with --resume" in errors
    steps = [record["step"] for record in read_metrics(out)]
    assert steps == list(range(1, len(steps) + 1))
    assert f"stopped at step {steps[-1]}" in errors


def test_another_recipe_is_refused(tmp_path: Path):
    out = tmp_path / "run"
    short = ["run.steps=3", "run.workers=0"]
    driver.run(RECIPE, out, short)
    with pytest.raises(UserError, match=r"begun with optimizer.rate = 0.0001, the recipe now says 0.001"):
        driver.run(RECIPE, out, [*short, "optimizer.rate=1e-3"], resume=True)
    with pytest.raises(UserError, match=r"not empty.*--resume"):
        driver.run(RECIPE, out, short)
    with pytest.raises(UserError, match="no training state to resume"):
        driver.run(RECIPE, tmp_path / "other", short, resume=True)
