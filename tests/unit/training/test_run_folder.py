"""The run folder: what it refuses, what it keeps, what it drops on resuming."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from sleuth.errors import UserError
from sleuth.training.run_folder import RunFolder, next_run_folder
from sleuth.training.tensorboard import Board


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.begin("[run]\nsteps = 3\n", {"cores": 2})
    return folder


def training(step: int) -> dict:
    return {"step": step, "rate": 1e-4, "loss": 3.0 / step, "parts": {"class": 1.0, "l1": 0.5, "class_0": 2.0}}


def test_a_fresh_run_wants_an_empty_folder(tmp_path: Path):
    RunFolder(tmp_path / "new").check(resume=False)
    RunFolder(tmp_path).check(resume=False)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"not empty. choose another folder with --out"):
        RunFolder(tmp_path).check(resume=False)
    (tmp_path / "state.safetensors").touch()
    with pytest.raises(UserError, match=r"not empty. continue it with --resume"):
        RunFolder(tmp_path).check(resume=False)


def test_resuming_wants_a_state(tmp_path: Path):
    with pytest.raises(UserError, match="no training state to resume"):
        RunFolder(tmp_path).check(resume=True)
    (tmp_path / "state.safetensors").touch()
    RunFolder(tmp_path).check(resume=True)


def test_an_impossible_place_is_a_user_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        RunFolder(tmp_path / "file" / "run").begin("", {})


def test_it_says_what_is_known_before_the_first_step(folder: RunFolder):
    assert folder.recipe.read_text() == "[run]\nsteps = 3\n"
    assert json.loads(folder.environment.read_text()) == {"cores": 2}
    assert folder.records() == []


def test_records_after_the_step_are_dropped_on_resuming(folder: RunFolder):
    for step in range(1, 6):
        folder.log(training(step))
    folder.log({"step": 5, "scores": {"AP": 0.1}})
    with folder.metrics.open("a") as file:
        file.write('{"step": 6, "lo')
    folder.continue_at(3)
    assert [record["step"] for record in folder.records()] == [1, 2, 3]
    folder.log(training(4))
    assert [record["step"] for record in folder.records()] == [1, 2, 3, 4]


@pytest.mark.parametrize("evaluated", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_curves_are_a_picture_whatever_there_is_to_draw(folder: RunFolder, steps: int, evaluated: bool):
    for step in range(1, steps + 1):
        folder.log(training(step))
    folder.log({"step": 2, "skipped": ["scene train 5"]})
    if evaluated:
        folder.log({"step": 3, "scores": {"AP": 0.1, "AP50": 0.2, "APs": 0.3}})
    folder.draw()
    with Image.open(folder.curves) as picture:
        # Nothing measured: an empty panel of scores would look like a fault.
        assert picture.size == ((1300, 400) if evaluated else (866, 400))


def test_tensorboard_gets_the_same_numbers(folder: RunFolder):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder.open_board(0)
    for step in (1, 2):
        folder.log(training(step))
    folder.log({"step": 2, "scores": {"AP": 0.25}})
    folder.log({"step": 2, "skipped": ["a.jpg"]})
    folder.close()
    events = event_accumulator.EventAccumulator(str(folder.tensorboard)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 3.0), (2, 1.5)]
    assert events.Scalars("scores/AP")[0].value == 0.25
    assert "parts/l1" in events.Tags()["scalars"]
    assert "step" not in events.Tags()["scalars"]


def test_tensorboard_that_is_not_there_is_a_user_error(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="uv sync --extra tensorboard"):
        Board(tmp_path)


def test_run_folders_are_numbered(tmp_path: Path):
    assert next_run_folder(tmp_path, "detr") == tmp_path / "detr-1"
    (tmp_path / "detr-1").mkdir()
    assert next_run_folder(tmp_path, "detr") == tmp_path / "detr-2"


def test_only_the_latest_checkpoints_are_kept(folder: RunFolder):
    for step in (5, 50, 1000, 20000):
        folder.checkpoint(step).touch()
        folder.keep_latest(2)
    assert sorted(folder.checkpoints.iterdir()) == [folder.checkpoint(1000), folder.checkpoint(20000)]
