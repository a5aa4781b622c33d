"""Fine-tuning: from a model's file, with frozen parts, with adapters; killed and resumed, by two processes."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

HERE = Path(__file__).parent
RECIPE = HERE / "tiny.toml"
STEPS = 30
KINDS = {
    "frozen": ['model.freeze=["backbone","input_proj","encoder"]'],
    "lora": ["lora.rank=2", "lora.dropout=0.1"],
}

_spec = importlib.util.spec_from_file_location("train_driver", HERE / "train_driver.py")
driver = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(driver)


@pytest.fixture
def start(tmp_path: Path, make_model) -> Path:
    """A model of the tiny recipe's sizes that knows one of the scenes' classes."""
    return make_model(tmp_path / "start.safetensors", names=("circle", "dog"))


def equal(one: Path, other: Path) -> bool:
    left, right = load_file(one), load_file(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def losses(run: Path) -> list[tuple[int, float]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(record["step"], record["loss"]) for record in records if "loss" in record]


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a POSIX signal")
@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_equals_never_stopped(kind: str, start: Path, tmp_path: Path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    words = [f"model.weights={start}", *KINDS[kind]]
    assert driver.run(RECIPE, whole, words).finished
    process = subprocess.Popen(
        [sys.executable, "-W", "error", HERE / "train_driver.py", RECIPE, broken, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        metrics = broken / "metrics.jsonl"
        while not metrics.exists() or metrics.read_text().count("\n") < STEPS // 2:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before = load_file(start)
    start.unlink()  # a run that has begun needs it no more
    assert driver.run(RECIPE, broken, words, resume=True).finished

    assert equal(whole / "state.safetensors", broken / "state.safetensors")
    assert equal(whole / "last.safetensors", broken / "last.safetensors")
    assert losses(whole) == losses(broken)
    assert [step for step, _ in losses(broken)] == list(range(1, STEPS + 1))
    after = load_file(whole / "last.safetensors")
    still = [name for name in before if name.startswith("backbone.") and torch.equal(before[name], after[name])]
    assert still == [name for name in before if name.startswith("backbone.")]
    moved = "decoder.layers.1.cross_attention.q_proj.weight"
    assert not torch.equal(before[moved], after[moved])
    if kind == "lora":
        assert equal(
            whole / "last-adapter" / "adapter_model.safetensors", broken / "last-adapter" / "adapter_model.safetensors"
        )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_equal_one_with_the_doubled_batch(kind: str, start: Path, tmp_path: Path):
    words = [f"model.weights={start}", *KINDS[kind], "lora.dropout=0.0", "model.dropout=0.0", "run.steps=3"]
    words = [word for word in words if kind == "lora" or not word.startswith("lora.")]
    words += ["augmentation.crop_prob=0.0", "run.checkpoint_every=0", "run.workers=0"]
    driver.run(RECIPE, tmp_path / "one", [*words, "optimizer.batch_size=8"])
    command = [sys.executable, HERE / "train_driver.py", RECIPE, tmp_path / "two", *words, "run.devices=2"]
    result = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    one, two = (load_file(tmp_path / run / "last.safetensors") for run in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=2e-5) for name in one)
    assert [loss for _, loss in losses(tmp_path / "two")] == pytest.approx(
        [loss for _, loss in losses(tmp_path / "one")], rel=1e-5
    )


def test_a_model_is_fine_tuned_by_its_file(cli, start: Path, tmp_path: Path, coco_data: Path):
    run = tmp_path / "run"
    words = ["--data", coco_data, "--model", start, "--steps", "2", "--batch-size", "2", "--workers", "0"]
    said = cli(
        "train", *words, "--device", "cpu", "--freeze", "backbone", "--set", "model.num_queries=12", "--out", run
    )
    assert said.code == 0, said.err
    assert f"starts from {start}: 1 class kept (circle), 14 classes fresh" in said.err
    assert "8 queries kept, 4 queries fresh" in said.err
    assert "frozen: backbone" in said.err
    assert f"fine-tunes {start} for 2 steps of 2 pictures, sides 48 to 80 pixels, rate" in said.err
    before, after = load_file(start), load_file(run / "best.safetensors")
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("backbone."))
    assert after["queries.weight"].shape == (12, 16)
    start.unlink()
    assert cli("train", "--resume", "--out", run).code == 0


def test_adapters_are_trained_saved_apart_and_merged(cli, start: Path, tmp_path: Path, coco_data: Path):
    run, merged = tmp_path / "run", tmp_path / "merged.safetensors"
    words = ["--data", coco_data, "--model", start, "--steps", "3", "--batch-size", "2", "--workers", "0"]
    said = cli("train", *words, "--device", "cpu", "--rate", "0.01", "--lora", "4", "--out", run)
    assert said.code == 0, said.err
    assert "LoRA of rank 4 in 10 layers" in said.err
    assert cli("merge", run / "best-adapter", "--out", merged).code == 0
    picture = next((coco_data / "val").glob("*.png"))
    found = [
        cli("predict", picture, "--model", model, "--threshold", "0", "--json", "-").json
        for model in (run / "best.safetensors", merged, start)
    ]
    boxes = [[entry["bbox"] for entry in answers[0]["detections"]] for answers in found]
    assert torch.allclose(torch.tensor(boxes[0]), torch.tensor(boxes[1]), atol=1e-3)
    assert boxes[0] != boxes[2]
    said = cli("merge", run / "best-adapter", "--model", "detr-scenes", "--out", tmp_path / "no.safetensors")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "weights of another model" in said.err
    assert not (tmp_path / "no.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--lora", "0"], "[lora] rank = 0 is less than 1"),
        (["--lora", "2", "--set", 'lora.targets=["q_prj"]'], "unknown layer: 'q_prj'"),
        (["--lora", "2", "--freeze", "encoder,decoder"], "is in a frozen part"),
        (["--freeze", "encodr"], "unknown part: 'encodr'. did you mean 'encoder'?"),
        (["--freeze", "detector"], "nothing is left to train"),
        (["--set", "model.dim=32"], "weights of another model"),
        (["--set", "model.name=detr-small"], "weights of another model"),
        (["--set", "model.num_queries=0"], "num_queries = 0"),
    ],
)
def test_fine_tunings_that_cannot_be(cli, words, says, start: Path, tmp_path: Path, coco_data: Path):
    common = ["--data", coco_data, "--model", start, "--steps", "1", "--device", "cpu", "--workers", "0"]
    said = cli("train", *common, *words, "--out", tmp_path / "run")
    assert said.code == 2
    lines = [line for line in said.err.splitlines() if line.startswith("sleuth: error: ")]
    assert len(lines) == 1
    assert says in lines[0]
    assert not (tmp_path / "run").exists()
