"""A disk that is full and places that nobody may write to: one line, exit code 2, and no half-written file."""

import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sleuth.data.scenes.classes import NAMES

RECIPE = Path(__file__).parent / "tiny.toml"
TINY = "--workers 0 --device cpu --set data.train_limit=8 --set data.val_limit=2"

# Every command that writes, with {out} for where.
WRITERS = {
    "pictures": "predict {picture} --model {model} --threshold 0 --out {out}",
    "json": "predict {picture} --model {model} --threshold 0 --json {out}/found.json",
    "report": "evaluate --model {model} --data {data} --json --out {out}",
    "scenes": "data scenes --count 2 --size 48x48 --out {out}",
    "sheet": "data check {data} --split val --sheet {out}/sheet.png",
    "demo": "demo --scenes 1 --model {model} --out {out}",
    "training": "train {recipe} --steps 2 " + TINY + " --out {out}",
}


@pytest.fixture(scope="module")
def kit(scenes: Path, coco_data: Path, make_model, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("kit")
    return {
        "recipe": RECIPE,
        "data": coco_data,
        "picture": scenes / "val" / "images" / "000001.png",
        "model": make_model(root / "scenes.safetensors", names=tuple(NAMES)),
    }


@pytest.fixture
def refused(cli, kit):
    """Run a command that has to fail as a user's fault does. Gives the line."""

    def call(words: str, out: Path) -> str:
        said = cli(*(word.format(**kit, out=out) for word in words.split()))
        assert said.code == 2, said.err
        assert "Traceback" not in said.err
        errors = [line for line in said.err.splitlines() if line.startswith("sleuth: error: ")]
        assert len(errors) == 1, said.err
        assert said.err.splitlines()[-1] == errors[0]
        return errors[0]

    return call


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The operating system cuts off every write beyond so many bytes of a file."""
    resource = pytest.importorskip("resource", reason="limits on file size are a POSIX matter")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", WRITERS)
def test_full_disk(name: str, refused, tmp_path: Path, monkeypatch):
    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    line = refused(WRITERS[name], tmp_path / "new")
    assert "disk is full" in line
    assert str(tmp_path / "new") in line
    assert "free some space" in line
    assert files(tmp_path) == []


@pytest.mark.parametrize("name", WRITERS)
def test_no_file_may_grow(name: str, refused, tmp_path: Path):
    with largest_file(100):
        line = refused(WRITERS[name], tmp_path / "new")
    assert str(tmp_path / "new") in line
    assert files(tmp_path) == []


def test_weights_that_do_not_fit(refused, tmp_path: Path):
    with largest_file(30_000):
        line = refused(WRITERS["training"], tmp_path / "run")
    assert "state.safetensors" in line
    assert {path.name for path in files(tmp_path)} <= {"recipe.toml", "environment.json", "metrics.jsonl"}


def test_a_disk_that_fills_up_in_training_leaves_a_run_to_resume(refused, cli, kit, tmp_path: Path, monkeypatch):
    words = "train {recipe} --steps 5 --set run.checkpoint_every=1 " + TINY + " --out {out}"
    whole, filled = tmp_path / "whole", tmp_path / "filled"
    assert cli(*(word.format(**kit, out=whole) for word in words.split())).code == 0

    saves, real = [], os.fsync

    def space_for_some(handle: int) -> None:
        saves.append(handle)
        if len(saves) > 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", space_for_some)
        assert "disk is full" in refused(words, filled)
    assert not [path for path in files(filled) if path.name.startswith(".")], "a temporary file was left"
    assert not (filled / "last.safetensors").exists()

    said = cli("train", "--resume", "--out", filled)
    assert said.code == 0, said.err
    left, right = load_file(whole / "last.safetensors"), load_file(filled / "last.safetensors")
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_a_former_file_stays_as_it_was(refused, tmp_path: Path):
    old = tmp_path / "found.json"
    old.write_text("[]")
    with largest_file(100):
        refused(WRITERS["json"], tmp_path)
    assert old.read_text() == "[]"
    assert files(tmp_path) == [old]


@pytest.mark.parametrize("name", WRITERS)
def test_a_part_of_the_path_is_a_file(name: str, refused, tmp_path: Path):
    (tmp_path / "file").write_text("here first")
    line = refused(WRITERS[name], tmp_path / "file" / "new")
    assert str(tmp_path / "file") in line
    assert [path.read_text() for path in files(tmp_path)] == ["here first"]


@pytest.mark.parametrize("name", ["pictures", "report", "scenes", "demo", "training"])
def test_a_file_where_the_folder_would_be(name: str, refused, tmp_path: Path):
    (tmp_path / "file").write_text("here first")
    assert str(tmp_path / "file") in refused(WRITERS[name], tmp_path / "file")
    assert [path.read_text() for path in files(tmp_path)] == ["here first"]


@pytest.mark.parametrize("name", ["json", "sheet"])
def test_a_folder_where_the_file_would_be(name: str, refused, tmp_path: Path):
    target = "found.json" if name == "json" else "sheet.png"
    (tmp_path / target).mkdir()
    assert "folder" in refused(WRITERS[name], tmp_path)
    assert files(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("name", WRITERS)
def test_no_permission_to_write(name: str, refused, tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    line = refused(WRITERS[name], closed / "new")
    assert "no permission" in line
    assert files(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
@pytest.mark.parametrize("words", ["predict {out}", "train {out}", "predict {picture} --model {out}"])
def test_no_permission_to_read(words: str, refused, tmp_path: Path):
    closed = tmp_path / "closed.safetensors"
    closed.touch(mode=0o000)
    assert "permission" in refused(words, closed).lower()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_standard_output_on_a_full_disk(cli, kit, monkeypatch, capsys):
    with open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        said = cli("predict", kit["picture"], "--model", kit["model"], "--threshold", "0", "--json", "-")
    assert said.code == 2
    assert said.err.startswith("sleuth: error: ")
    assert len(said.err.splitlines()) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_or_device_is_written_to_not_replaced(cli, kit, tmp_path: Path):
    """`--json /dev/null` must not turn the device into a file, which root could do."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        said = cli("predict", kit["picture"], "--model", kit["model"], "--json", pipe)
        assert said.code == 0, said.err
        assert json.loads(os.read(reader, 100_000))[0]["width"] == 64
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_the_sound_commands_do_work(cli, kit, size_of, tmp_path: Path):
    """Otherwise the refusals above would prove nothing."""
    for name, words in WRITERS.items():
        if name != "demo":
            said = cli(*(word.format(**kit, out=tmp_path / name) for word in words.split()))
            assert said.code == 0, said.err
            assert files(tmp_path / name)
    assert size_of(tmp_path / "pictures" / "000001.png") == (384, 288), "tiny pictures are enlarged to be readable"
