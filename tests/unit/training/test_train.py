"""The training loop: what it leaves behind, and what it does when things go wrong."""

import io
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from sleuth.data.samples import Sample
from sleuth.errors import UserError
from sleuth.training.checkpoint import load_state
from sleuth.training.detection_work import DetectionWork
from sleuth.training.length import Stopwatch
from sleuth.training.run import open_run
from sleuth.training.sources import open_source
from sleuth.training.train import train
from sleuth.weights.checkpoint import load_model

QUIET = Console(quiet=True)


def records(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


class Poisoned:
    """Scenes of which some have a box that is not a number."""

    def __init__(self, source, bad) -> None:
        self.source, self.bad = source, bad
        self.names, self.category_ids, self.is_thing = source.names, source.category_ids, source.is_thing

    def __len__(self) -> int:
        return len(self.source)

    def load(self, index: int) -> Sample:
        sample = self.source.load(index)
        boxes = torch.full_like(sample.boxes_xyxy_px, torch.nan)
        return replace(sample, boxes_xyxy_px=boxes) if self.bad(index) else sample


def test_sizes_of_objects_are_always_told(tiny, tmp_path: Path):
    said = io.StringIO()
    recipe = tiny("run.steps=1")
    scores = {"AP": 0.5, "AP50": 0.9, "AP75": 0.2, "APs": 0.25, "APl": 0.75}
    train(recipe, tmp_path / "run", evaluate=lambda model: scores, console=Console(file=said, width=200))
    assert "step 1: AP 0.5000, AP50 0.9000, APs 0.2500, APm -, APl 0.7500\n" in said.getvalue()


def test_run_folder_holds_what_is_promised(tiny, tmp_path: Path):
    scores = iter([0.1, 0.5, 0.3])
    modes = []

    def evaluate(model) -> dict[str, float]:
        modes.append(model.training)
        torch.rand(5)
        return {"AP": next(scores), "AP50": 0.9}

    def render(model, folder: Path, step: int) -> None:
        folder.mkdir(exist_ok=True)
        (folder / f"{step}.png").touch()

    out = tmp_path / "run"
    recipe = tiny("run.steps=6", "run.evaluate_every=2")
    result = train(recipe, out, evaluate=evaluate, render=render, console=QUIET)
    assert (result.step, result.finished, result.best_score, result.best_step) == (6, True, 0.5, 4)
    assert modes == [False] * 3
    assert sorted(path.name for path in out.iterdir()) == [
        "best.safetensors",
        "curves.png",
        "environment.json",
        "last.safetensors",
        "metrics.jsonl",
        "recipe.toml",
        "samples",
        "state.safetensors",
    ]
    assert sorted(path.name for path in (out / "samples").iterdir()) == ["2.png", "4.png", "6.png"]
    best, last = load_model(out / "best.safetensors"), load_model(out / "last.safetensors")
    assert (best.card.notes["step"], best.card.notes["scores"]["AP"], last.card.notes["step"]) == (4, 0.5, 6)
    assert best.card.names == open_source(recipe, "train").names
    assert best.preprocess == recipe.preprocess
    assert [record["scores"]["AP"] for record in records(out) if "scores" in record] == [0.1, 0.5, 0.3]
    training = [record for record in records(out) if "loss" in record]
    assert [record["step"] for record in training] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "parts", "rate", "grad_norm", "pictures_per_s", "waiting", "epoch"} <= training[0].keys()


def test_best_and_last_hold_the_average(tiny, tmp_path: Path):
    from safetensors.torch import load_file

    train(tiny("run.steps=3"), tmp_path / "run", console=QUIET)
    state, last = load_file(tmp_path / "run/state.safetensors"), load_file(tmp_path / "run/last.safetensors")
    assert torch.equal(last["class_head.weight"], state["average/class_head.weight"])
    assert not torch.equal(last["class_head.weight"], state["weights/class_head.weight"])


def test_an_evaluation_changes_nothing_in_the_training(tiny, tmp_path: Path):
    def evaluate(model) -> dict[str, float]:
        return {"AP": float(torch.rand(()))}

    train(tiny("run.steps=4"), tmp_path / "without", console=QUIET)
    train(tiny("run.steps=4", "run.evaluate_every=1"), tmp_path / "with", evaluate=evaluate, console=QUIET)
    losses = [[r["loss"] for r in records(tmp_path / name) if "loss" in r] for name in ("without", "with")]
    assert losses[0] == losses[1]


def test_it_learns(tiny, tmp_path: Path):
    recipe = tiny(
        "run.steps=60", "data.train_limit=4", "optimizer.rate=3e-3", "optimizer.clip=1.0", "model.dropout=0.0"
    )
    train(recipe, tmp_path / "run", console=QUIET)
    losses = [record["loss"] for record in records(tmp_path / "run")]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_bfloat16_stays_close_to_float32(tiny, tmp_path: Path):
    first = []
    for precision in ("32-true", "bf16-mixed"):
        train(tiny("run.steps=1", f"run.precision={precision}"), tmp_path / precision, console=QUIET)
        first.append(records(tmp_path / precision)[0]["loss"])
    assert first[0] != first[1]
    assert first[0] == pytest.approx(first[1], rel=0.05)


def test_a_bad_step_is_skipped_counted_and_named(tiny, tmp_path: Path):
    recipe = tiny("run.steps=13", "augmentation.crop_prob=0.0")
    source = Poisoned(open_source(recipe, "train"), lambda index: index == 7)
    out = io.StringIO()
    result = train(recipe, tmp_path / "run", source=source, console=Console(file=out, width=200))
    skipped = [record for record in records(tmp_path / "run") if "skipped" in record]
    assert result.skipped == len(skipped) > 0
    assert {name for record in skipped for name in record["skipped"]} == {"scene train 7"}
    assert "skipped, its loss is not finite: scene train 7" in out.getvalue()
    last = load_model(tmp_path / "run" / "last.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in last.model.state_dict().values())


def test_too_many_bad_steps_in_a_row_stop_the_training(tiny, tmp_path: Path):
    recipe = tiny("run.steps=100", "run.max_bad_steps=3", "augmentation.crop_prob=0.0")
    source = Poisoned(open_source(recipe, "train"), lambda index: True)
    with pytest.raises(UserError, match=r"step 3: the loss was not finite in 3 steps in a row, the last with scene"):
        train(recipe, tmp_path / "run", source=source, console=QUIET)


def test_an_unknown_score_is_a_user_error(tiny, tmp_path: Path):
    with pytest.raises(UserError, match=r"there is no score 'AP51'. choose from: AP, AP50"):
        train(
            tiny("run.steps=1", "run.score=AP51"),
            tmp_path / "run",
            evaluate=lambda model: {"AP": 0.1, "AP50": 0.2},
            console=QUIET,
        )


def test_float16_and_absent_devices_are_user_errors(tiny, tmp_path: Path):
    with pytest.raises(UserError, match="float16 training needs a CUDA GPU"):
        train(tiny("run.precision=16-mixed"), tmp_path / "run", console=QUIET)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"no cuda device on this machine. choose from: .*cpu"):
            train(tiny("run.device=cuda"), tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run").exists()


def test_a_run_that_broke_before_its_first_checkpoint_begins_again(tiny, tmp_path: Path):
    def fail(model) -> dict[str, float]:
        raise RuntimeError("power cut")

    recipe = tiny("run.steps=4", "run.evaluate_every=2", "run.checkpoint_every=0")
    with pytest.raises(RuntimeError, match="power cut"):
        train(recipe, tmp_path / "run", evaluate=fail, console=QUIET)
    assert len(records(tmp_path / "run")) == 2
    train(recipe, tmp_path / "run", resume=True, console=QUIET)
    assert [record["step"] for record in records(tmp_path / "run")] == [1, 2, 3, 4]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_run_with_strong_augmentation_resumes_in_the_middle_of_an_epoch(tiny, tmp_path: Path):
    words = ["augmentation.scales=[]", "augmentation.crop_prob=0", "augmentation.fit=[48, 64]", "data.cache=auto"]
    words += [
        "augmentation.mosaic=0.6",
        "augmentation.mixup=0.3",
        "augmentation.copy_paste=0.5",
        "augmentation.hue=0.1",
    ]
    words += ["augmentation.turn=true", "augmentation.multi_scale=[0.5, 1.5]", "run.close_augmentation=0.4"]
    words += [
        "schedule.kind=flat_cosine",
        "schedule.flat=0.3",
        "schedule.floor=0.1",
        "run.checkpoint_every=0",
        "data.train_limit=14",
    ]
    recipe = tiny("run.steps=8", *words, "run.evaluate_every=4", "optimizer.decay_norms=false")

    def interrupt(model) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return {"AP": 0.1}

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(recipe, whole, evaluate=lambda model: {"AP": 0.1}, console=QUIET)
    # Three steps make an epoch, and the last three close: it stops in the second epoch, and goes on into the end.
    assert train(recipe, broken, evaluate=interrupt, console=QUIET).step == 5
    train(recipe, broken, evaluate=lambda model: {"AP": 0.1}, resume=True, console=QUIET)
    ours, theirs = load_state(whole / "state.safetensors"), load_state(broken / "state.safetensors")
    assert ours.tensors.keys() == theirs.tensors.keys()
    assert all(torch.equal(ours.tensors[name], theirs.tensors[name]) for name in ours.tensors)
    losses = [[record["loss"] for record in records(out) if "loss" in record] for out in (whole, broken)]
    assert losses[0] == losses[1]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_ends_after_the_step_and_the_run_goes_on_later(tiny, tmp_path: Path):
    def interrupt(model) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return {"AP": 0.1}

    recipe = tiny("run.steps=8", "run.evaluate_every=2", "run.checkpoint_every=0")
    before = signal.getsignal(signal.SIGINT)
    stopped = train(recipe, tmp_path / "run", evaluate=interrupt, console=QUIET)
    assert signal.getsignal(signal.SIGINT) is before
    assert (stopped.step, stopped.finished) == (3, False)
    finished = train(recipe, tmp_path / "run", evaluate=lambda model: {"AP": 0.1}, resume=True, console=QUIET)
    assert (finished.step, finished.finished) == (8, True)
    assert [record["step"] for record in records(tmp_path / "run") if "loss" in record] == list(range(1, 9))


def test_patience_ends_a_run_and_is_kept_by_its_state(tiny, tmp_path: Path):
    said = io.StringIO()
    scores = iter([0.1, 0.5, 0.4, 0.5, 0.3, 0.6, 0.1])

    def evaluate(model) -> dict[str, float]:
        return {"AP": next(scores)}

    words = ["run.steps=20", "run.evaluate_every=1", "schedule.kind=constant"]
    recipe = tiny(*words, "run.patience=3")
    result = train(recipe, tmp_path / "run", evaluate=evaluate, console=Console(file=said, width=200))
    assert (result.step, result.finished, result.best_score, result.best_step) == (5, True, 0.5, 2)
    assert "ended at step 5: AP has not risen in 3 evaluations" in said.getvalue()
    assert (tmp_path / "run" / "curves.png").is_file()
    # It has ended: resuming takes no step, unless one is more patient.
    assert train(recipe, tmp_path / "run", evaluate=evaluate, resume=True, console=QUIET).step == 5
    longer = tiny(*words, "run.patience=4", "run.steps=7")
    result = train(longer, tmp_path / "run", evaluate=evaluate, resume=True, console=QUIET)
    assert (result.step, result.best_score, result.best_step) == (7, 0.6, 6)


def test_patience_wants_evaluations(tiny):
    with pytest.raises(UserError, match="patience counts evaluations"):
        tiny("run.patience=3", "run.evaluate_every=0")


def test_minutes_become_steps_once(tiny, tmp_path: Path, monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(Stopwatch, "steps", lambda self, step, seconds: 9 if step == 3 else None)
    words = ["run.steps=0", "run.minutes=5", "run.close_augmentation=0.34", "run.checkpoint_every=0"]
    recipe = tiny(*words, "schedule.kind=flat_cosine", "schedule.floor=0.1", "run.evaluate_every=2")
    stopped = []

    def evaluate(model) -> dict[str, float]:
        stopped.append(1)
        if len(stopped) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return {"AP": 0.5}

    out = tmp_path / "run"
    result = train(recipe, out, evaluate=evaluate, console=Console(file=said, width=200))
    assert not result.finished
    assert "5 minutes are 9 steps on this machine" in said.getvalue()
    assert load_state(out / "state.safetensors").counters.total_steps == 9
    # What another machine, or another hour, would measure no longer matters.
    monkeypatch.setattr(Stopwatch, "steps", lambda self, step, seconds: 1)
    with open_run(DetectionWork(recipe), out, resume=True, console=QUIET) as run:
        assert (run.length.total_steps, run.length.closing_batch, run.stream.close_at) == (9, 6, 6)
    result = train(recipe, out, evaluate=evaluate, resume=True, console=QUIET)
    assert (result.step, result.finished) == (9, True)
    assert [record["step"] for record in records(out) if "loss" in record] == list(range(1, 10))


def test_a_run_of_real_minutes_ends_about_then(tiny, tmp_path: Path):
    recipe = tiny("run.steps=0", "run.minutes=0.03", "run.log_every=1000")
    result = train(recipe, tmp_path / "run", console=QUIET)
    assert result.finished
    assert result.step > 3
    assert result.seconds < 30
