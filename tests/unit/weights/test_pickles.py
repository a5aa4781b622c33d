"""Reading pickles without running them."""

import os
import pickle
import tarfile
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sleuth.errors import UserError
from sleuth.weights.pickles import read_pickle

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.count": torch.tensor(3)}


class Bomb:
    """Runs a command of the shell when it is unpickled carelessly."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


class ImportBomb:
    """Asks for any function at all."""

    def __reduce__(self):
        return eval, ("__import__('os').getcwd()",)


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    def write(content: object, **options) -> Path:
        path = tmp_path / "weights.pth"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path, **options)
        return path

    return write


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_pickle(path)
    line = caught.value.line()
    assert str(path) in line
    assert len(line.splitlines()) == 1
    assert caught.value.mend
    return line


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
@pytest.mark.parametrize(
    ("content", "args"),
    [
        (STATE, {}),
        (OrderedDict(STATE), {}),
        ({"model": STATE}, {}),
        ({"state_dict": STATE, "epoch": 3}, {}),
        ({"model": STATE, "optimizer": {"lr": 1.0}, "args": Namespace(lr=0.1, masks=True)}, {"lr": 0.1, "masks": True}),
    ],
)
def test_state_dicts_are_found_wherever_they_lie(put, content: dict, args: dict, options: dict) -> None:
    read = read_pickle(put(content, **options))
    assert read.tensors.keys() == STATE.keys()
    assert all(torch.equal(read.tensors[key], value) for key, value in STATE.items())
    assert read.args == args


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
@pytest.mark.parametrize("place", ["alone", "beside", "in args"])
def test_hostile_pickles_do_not_run(put, tmp_path: Path, place: str, options: dict) -> None:
    mark = tmp_path / "it-ran"
    bomb = Bomb(mark)
    content = {"alone": bomb, "beside": {**STATE, "z": bomb}, "in args": {"model": STATE, "args": Namespace(x=bomb)}}
    path = put(content[place], **options)
    assert "posix.system" in refused(path) or "nt.system" in refused(path)
    assert not mark.exists()
    with open(path, "rb") as file:  # the bomb is real: reading carelessly sets it off
        torch.load(file, weights_only=False)
    assert mark.exists()


def test_a_bare_pickle_does_not_run(put, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    for protocol in (0, 2, 4):
        refused(put(pickle.dumps(Bomb(mark), protocol=protocol)))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"a": ImportBomb()}, "eval"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({"a": Path("x")}, "Path"),
    ],
)
def test_what_needs_more_is_named(put, content: object, told: str) -> None:
    line = refused(put(content))
    assert "would run code" in line
    assert told in line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([torch.ones(2)], "list"),
        (torch.ones(2), "Tensor"),
        ({}, "empty"),
        ({"model": {}}, "empty"),
        ({"a": [1.0]}, "'a' holds a list"),
        ({3: torch.ones(2)}, "key 3"),
        ({"a": torch.ones(2).to_sparse()}, "'a' is not a plain"),
        (b"", "empty"),
        (b"hello there, this is only text", "not a checkpoint"),
        (b"\x80\x02}q\x00.", "not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "not a checkpoint"),
        (bytes(range(256)) * 4, "not a checkpoint"),
    ],
)
def test_what_is_no_state_dict_is_refused(put, content: object, told: str) -> None:
    assert told in refused(put(content))


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_cut_off_files_are_refused(put, options: dict) -> None:
    whole = put({"model": STATE}, **options).read_bytes()
    for share in range(1, 10):
        line = refused(put(whole[: len(whole) * share // 10]))
        # Cut within the name of a class, it asks for one that does not exist.
        assert any(told in line for told in ("cut off", "broken", "not read"))


def test_the_tar_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pickle").write_bytes(pickle.dumps(Bomb(tmp_path / "it-ran")))
    with tarfile.open(tmp_path / "old.pth", "w") as tar:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            tar.add(tmp_path / "pickle", name)
    assert "tar" in refused(tmp_path / "old.pth")
    assert not (tmp_path / "it-ran").exists()


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as file:
        file.writestr("holiday/picture.txt", "a beach")
    refused(tmp_path / "other.pth")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "nothing.pth")
    assert "folder" in refused(tmp_path)
