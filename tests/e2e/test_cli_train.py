"""`sleuth train`: recipes and options, stopping and resuming, several processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sleuth.data.open import open_data
from sleuth.training.recipe import load_recipe

RECIPE = Path(__file__).parent / "tiny.toml"
TINY = ["--set", "data.train_limit=8", "--set", "data.val_limit=2", "--workers", "0", "--device", "cpu"]
_SMALL = (
    *("model.backbone=resnet10", "model.backbone_width=8", "model.dim=16", "model.num_heads=2"),
    *("model.decoder_layers=1", "model.feedforward_dim=16", "run.workers=0", "run.precision=32-true"),
)
SMALL_CHOICE = (
    "--batch-size",
    "2",
    "--scale",
    "48",
    "--device",
    "cpu",
    *(w for each in _SMALL for w in ("--set", each)),
)
"""What makes the detector that is chosen for somebody's data small enough for a test."""


def same_weights(one: Path, other: Path) -> bool:
    left, right = load_file(one), load_file(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def losses(run: Path) -> list[tuple[int, float]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(record["step"], record["loss"]) for record in records if "loss" in record]


def test_a_recipe_with_options_on_top(cli, tmp_path: Path):
    words = ["--steps", "2", "--batch-size", "2", "--rate", "3e-4", "--seed", "5", "--set", "optimizer.clip=0.5"]
    said = cli("train", RECIPE, *TINY, *words, "--out", tmp_path / "run")
    assert said.code == 0, said.err
    recipe = load_recipe(tmp_path / "run" / "recipe.toml")
    assert (recipe.run.steps, recipe.run.epochs, recipe.run.seed, recipe.run.workers) == (2, 0, 5, 0)
    assert (recipe.optimizer.batch_size, recipe.optimizer.rate, recipe.optimizer.clip) == (2, 3e-4, 0.5)
    assert [step for step, _ in losses(tmp_path / "run")] == [1, 2]


def test_epochs_replace_the_steps_of_a_recipe(cli, tmp_path: Path):
    said = cli("train", RECIPE, *TINY, "--epochs", "1", "--out", tmp_path / "run")
    assert said.code == 0, said.err
    recipe = load_recipe(tmp_path / "run" / "recipe.toml")
    assert (recipe.run.steps, recipe.run.epochs) == (0, 1)
    assert [step for step, _ in losses(tmp_path / "run")] == [1, 2]  # eight scenes, four a step


def test_without_out_runs_are_numbered(cli, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        assert cli("train", RECIPE, *TINY, "--steps", "1").code == 0
        assert (tmp_path / "runs" / f"tiny-{number}" / "last.safetensors").is_file()


def test_stopped_by_ctrl_c_and_resumed_equals_never_stopped(cli, tmp_path: Path, monkeypatch):
    from sleuth.training import train as loop

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    words = [RECIPE, *TINY, "--steps", "5", "--set", "run.checkpoint_every=1"]
    assert cli("train", *words, "--out", whole).code == 0

    def interrupt(run, *rest, real=loop._after_step):
        real(run, *rest)
        if run.counters.step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_after_step", interrupt)
        assert cli("train", *words, "--out", broken).code == 130
    assert not (broken / "last.safetensors").exists()
    said = cli("train", "--resume", "--out", broken)
    assert said.code == 0, said.err
    assert same_weights(whole / "last.safetensors", broken / "last.safetensors")
    assert losses(whole) == losses(broken)

    # A finished run has nothing left to do, and says so rather than fail.
    assert cli("train", "--resume", "--out", broken).code == 0
    assert same_weights(whole / "last.safetensors", broken / "last.safetensors")


def test_a_run_is_resumed_only_as_it_was_begun_and_whole(cli, tmp_path: Path):
    run = tmp_path / "run"
    assert cli("train", RECIPE, *TINY, "--steps", "1", "--out", run).code == 0
    state = run / "state.safetensors"
    whole = state.read_bytes()
    for change, words, says in (
        (lambda: None, ["--rate", "0.5"], "optimizer.rate"),
        (lambda: None, ["--set", "model.dim=32"], "model.dim"),
        (lambda: state.write_bytes(whole[:2000]), [], "state.safetensors"),
        (lambda: shutil.copy(run / "last.safetensors", state), [], "not a training state"),
        (state.unlink, [], "no training state"),
    ):
        change()
        weights = (run / "last.safetensors").read_bytes()
        said = cli("train", "--resume", "--out", run, *words)
        assert said.code == 2
        assert len(said.err.splitlines()) == 1
        assert said.err.startswith("sleuth: error: ")
        assert says in said.err
        assert (run / "last.safetensors").read_bytes() == weights


def test_weights_of_other_classes_are_a_start(cli, tmp_path: Path, coco_data: Path, make_model, tiny_training):
    start = make_model(tmp_path / "start.safetensors", names=("cat", "dog"), frozen_norm=False)
    words = ["--data", coco_data, "--model", "detr-small", "--weights", start, "--steps", "1"]
    said = cli("train", *words, *tiny_training, "--set", "model.frozen_norm=false", "--out", tmp_path / "run")
    assert said.code == 0, said.err
    # Both splits are checked, and told.
    pictures = json.loads((coco_data / "annotations" / "instances_val.json").read_text())["images"]
    assert f"val: {len(pictures)} pictures, " in said.err
    before, after = load_file(start), load_file(tmp_path / "run" / "last.safetensors")
    assert before["class_head.weight"].shape == (3, 16)
    assert after["class_head.weight"].shape == (16, 16)
    assert torch.allclose(before["queries.weight"], after["queries.weight"], atol=0.05)


def test_a_length_in_steps_measures_about_twenty_times(coco_data: Path):
    from sleuth.cli.recipe_words import tables_for_data
    from sleuth.cli.train_words import TrainWords

    run = tables_for_data(TrainWords(data=str(coco_data), steps=400, batch_size=2))["run"]
    assert run["steps"] == 400
    assert run["evaluate_every"] == 20
    run = tables_for_data(TrainWords(data=str(coco_data), epochs=40, batch_size=2))["run"]
    assert (run["epochs"], run["evaluate_every"]) == (40, 2)


def test_crowded_pictures_get_queries_enough(tmp_path: Path, coco_data: Path):
    from sleuth.cli.recipe_words import tables_for_data
    from sleuth.cli.train_words import TrainWords

    crowded = tmp_path / "crowded"
    shutil.copytree(coco_data, crowded)
    answer = crowded / "annotations" / "instances_train.json"
    page = json.loads(answer.read_text())
    page["annotations"] = [
        {"id": n, "image_id": 1, "category_id": 5, "bbox": [n, n, 9, 9], "area": 81, "iscrowd": 0} for n in range(30)
    ]
    answer.write_text(json.dumps(page))
    assert tables_for_data(TrainWords(data=str(crowded), model="detr-small"))["model"]["num_queries"] == 45
    assert "num_queries" not in tables_for_data(TrainWords(data=str(coco_data), model="detr-small"))["model"]
    assert tables_for_data(TrainWords(data=str(crowded)))["model"]["num_queries"] == 50


def test_data_alone_says_what_is_chosen_and_is_trained_on(cli, tmp_path: Path, coco_data: Path, monkeypatch):
    from sleuth.cli import train

    monkeypatch.setattr(train, "WORTH_A_TRIAL", 1)
    run = tmp_path / "run"
    said = cli("train", "--data", coco_data, "--steps", "2", *SMALL_CHOICE, "--out", run)
    assert said.code == 0, said.err
    assert "sleuth-n: the smallest, as there is no GPU" in said.err
    assert "pixels: as asked for" in said.err
    assert "about a minute on this machine" in said.err
    recipe = load_recipe(run / "recipe.toml")
    assert (recipe.model.family, recipe.run.steps) == ("sleuth", 2)
    assert cli("evaluate", "--model", run / "best.safetensors", "--data", coco_data).code == 0
    said = cli("train", "--resume", "--out", run)
    assert said.code == 0, said.err


def test_data_in_one_split_is_learned_from_and_measured_on(cli, tmp_path: Path):
    data, run = tmp_path / "data", tmp_path / "run"
    words = ["--count", "40", "--size", "64x64", "--annotations", "boxes"]
    assert cli("data", "scenes", *words, "--out", data).code == 0
    held_out = len(open_data(data, split="held-out"))
    told = f"learns from {40 - held_out} of its pictures (--split rest) and measures on {held_out} (--split held-out)"
    assert told in cli("data", "check", data).err
    assert "held-out" not in cli("data", "check", data, "--split", "rest").err
    said = cli("train", "--data", data, "--steps", "2", *SMALL_CHOICE, "--out", run)
    assert said.code == 0, said.err
    assert "a fifth of it is held out to measure on" in said.err
    recipe = load_recipe(run / "recipe.toml")
    assert (recipe.data.train, recipe.data.val) == ("rest", "held-out")
    assert '"AP"' in (run / "metrics.jsonl").read_text()
    said = cli("evaluate", "--model", run / "best.safetensors", "--data", data, "--json")
    assert said.code == 0, said.err
    assert said.json["pictures"] == held_out < 40
    assert "--split held-out" in said.err
    whole = tmp_path / "whole"
    sets = ("--set", "data.train=", "--set", "data.val=")
    said = cli("train", "--data", data, "--steps", "1", *SMALL_CHOICE, *sets, "--out", whole)
    assert said.code == 0, said.err
    assert "held out" not in said.err
    assert "40 pictures" in said.err


@pytest.mark.slow
@pytest.mark.parametrize("program", ["console script", "module"])
def test_two_processes_by_one_option(program: str, tmp_path: Path):
    script = Path(sys.executable).with_name("sleuth")
    if program == "console script" and not script.exists():
        pytest.skip(f"the console script is not installed beside {sys.executable}")
    start = [script] if program == "console script" else [sys.executable, "-m", "sleuth"]
    run = tmp_path / "run"
    process = subprocess.Popen(
        [*start, "train", RECIPE, *TINY, "--steps", "2", "--devices", "2", "--out", run],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=900)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the second process too
        raise
    assert process.returncode == 0, said
    assert json.loads((run / "environment.json").read_text())["processes"] == 2
    assert [step for step, _ in losses(run)] == [1, 2]
    assert said.count("finished at step 2") == 1, "one process speaks"
