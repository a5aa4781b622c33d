"""Which file a name or path means."""

from pathlib import Path

import pytest

from sleuth.errors import UserError
from sleuth.weights.resolve import find_weights, is_path
from sleuth.weights.catalog import CATALOG


def test_names_and_paths_are_told_apart(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not is_path("detr-r50")
    assert not is_path("detr-r5")
    for path in ("runs/a", "a.safetensors", "a.pth", Path("detr-r50"), "C:\\models\\a"):
        assert is_path(path)
    (tmp_path / "mine").mkdir()
    assert is_path("mine"), "a folder here"
    (tmp_path / "detr-r50").mkdir()
    assert not is_path("detr-r50"), "a known name goes before a folder of that name"
    assert is_path("./detr-r50")


def test_the_bundled_weights_are_there_and_small():
    path = find_weights("detr-scenes")
    assert path == CATALOG["detr-scenes"].weights
    assert path.stat().st_size <= 10_000_000


def test_missing_bundled_weights_are_the_installation_s_fault(tmp_path: Path, monkeypatch):
    from dataclasses import replace

    from sleuth.weights import resolve

    gone = replace(CATALOG["detr-scenes"], weights=tmp_path / "gone.safetensors")
    monkeypatch.setattr(resolve, "entry", lambda name: gone)
    with pytest.raises(UserError, match="install Sleuth again"):
        find_weights("detr-scenes")


def test_a_run_folder_stands_for_its_best_weights(tmp_path: Path):
    with pytest.raises(UserError, match=r"best\.safetensors"):
        find_weights(tmp_path)
    (tmp_path / "best.safetensors").touch()
    assert find_weights(tmp_path) == tmp_path / "best.safetensors"


def test_the_nearest_name_is_proposed(tmp_path: Path):
    (tmp_path / "cats-and-dogs.safetensors").touch()
    with pytest.raises(UserError, match=r"did you mean .*cats-and-dogs\.safetensors"):
        find_weights(tmp_path / "cats-and-dog.safetensors")
    with pytest.raises(UserError, match="did you mean 'detr-scenes'"):
        find_weights("detr-scene")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".onnx"])
def test_weights_of_other_kinds_are_not_read(suffix: str, tmp_path: Path):
    (tmp_path / f"model{suffix}").write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match=r"\.safetensors"):
        find_weights(tmp_path / f"model{suffix}")
