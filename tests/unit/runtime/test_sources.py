"""From what a user names to pictures: paths, folders, globs, and pictures in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sleuth.errors import UserError
from sleuth.runtime.sources import expand_sources, frames_of

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def image_of(source) -> torch.Tensor:
    (frame,) = frames_of(expand_sources(source))
    return frame.image


def names(source) -> list[str]:
    return [item.name for item in expand_sources(source)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "a.JPG", ".hidden.png", "deep/c.png"):
        Image.fromarray(PIXELS).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "folder.png").mkdir()
    return tmp_path


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_one_source_or_any_number(kind, folder: Path):
    assert names(folder / "b.png") == names(str(folder / "b.png")) == [str(folder / "b.png")]
    assert names(kind([folder / "b.png", str(folder / "a.JPG")])) == [str(folder / "b.png"), str(folder / "a.JPG")]


def test_a_folder_gives_its_pictures_and_videos_by_name(folder: Path):
    assert [Path(name).name for name in names(folder)] == ["a.JPG", "b.png", "clip.mp4"]


def test_a_glob_reaches_into_subfolders(folder: Path):
    assert [Path(name).name for name in names(f"{folder}/**/*.png")] == ["b.png", "c.png"]
    assert [Path(name).name for name in names(f"{folder}/[ab].*")] == ["a.JPG", "b.png"]


def test_a_file_is_taken_whatever_it_is_called(folder: Path):
    Image.fromarray(PIXELS).save(folder / "odd[1]?.png")
    assert names(folder / "odd[1]?.png") == [str(folder / "odd[1]?.png")]
    Image.fromarray(PIXELS).save(folder / "no_suffix", format="PNG")
    assert image_of(folder / "no_suffix").shape == (3, 6, 8)


@pytest.mark.parametrize(
    ("source", "says"),
    [("", "empty"), ("nothing.png", "no such"), ("deep/*.gif", "pattern"), ("bare", "no picture")],
)
def test_nothing_there_is_said_before_anything_is_read(source: str, says: str, folder: Path, monkeypatch):
    (folder / "bare").mkdir()
    (folder / "cut.png").write_bytes(b"\x89PNG")
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=says):
        expand_sources(["cut.png", source])


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(PIXELS),
        PIXELS,
        PIXELS[:, ::-1][:, ::-1],
        PIXELS.astype(np.float64) / 255,
        torch.from_numpy(PIXELS).movedim(-1, 0),
        torch.from_numpy(PIXELS).movedim(-1, 0).float() / 255,
    ],
    ids=["PIL", "array", "view", "floats", "tensor", "float tensor"],
)
def test_pictures_in_memory(picture):
    assert torch.equal(image_of(picture), torch.from_numpy(PIXELS).movedim(-1, 0))


@pytest.mark.parametrize(
    "picture",
    [Image.fromarray(PIXELS[:, :, 0]), PIXELS[:, :, 0], PIXELS[:, :, :1], torch.from_numpy(PIXELS[:, :, 0].copy())],
    ids=["PIL", "array", "one channel", "tensor"],
)
def test_grey_pictures_in_memory(picture):
    grey = torch.from_numpy(PIXELS[:, :, 0].copy())
    assert torch.equal(image_of(picture), grey.expand(3, -1, -1))


def test_memory_is_named_by_its_place_and_left_alone():
    array = PIXELS.copy()
    frames = list(frames_of(expand_sources([array, Image.fromarray(PIXELS)])))
    assert [frame.name for frame in frames] == ["picture 0", "picture 1"]
    frames[0].image.zero_()
    assert (array == PIXELS).all()


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (np.zeros((6, 8, 4), np.uint8), r"\[height, width, 3\]"),
        (np.zeros((2, 6, 8, 3), np.uint8), r"\[2, 6, 8, 3\]"),
        (np.zeros((0, 8, 3), np.uint8), r"\[0, 8, 3\]"),
        (torch.zeros(6, 8, 3, dtype=torch.uint8), r"\[3, height, width\]"),
        (PIXELS.astype(np.float32), "0 to 1"),
        (PIXELS.astype(np.int32), "uint8"),
        (np.full((6, 8, 3), np.nan), "0 to 1"),
    ],
)
def test_arrays_that_are_no_pictures(picture, says: str):
    with pytest.raises(UserError, match=says):
        image_of(picture)
