"""Videos read and written frame by frame."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sleuth.errors import UserError
from sleuth.runtime.annotate import Annotator
from sleuth.runtime.detections import Detections
from sleuth.runtime.video import is_video, video_frames, video_rate, write_video

pytest.importorskip("av", reason="PyAV is not installed")


def write(path: Path, frames: int = 4, size_hw: tuple[int, int] = (32, 48), rate: Fraction = Fraction(12)) -> Path:
    with write_video(path, rate) as writer:
        for number in range(frames):
            writer.add(np.full((*size_hw, 3), 50 * number + 20, dtype=np.uint8))
    return path


def test_what_is_written_is_read(tmp_path: Path):
    path = write(tmp_path / "a.mp4")
    frames = list(video_frames(path))
    assert [tuple(frame.shape) for frame in frames] == [(3, 32, 48)] * 4
    means = [frame.float().mean().item() for frame in frames]
    assert means == pytest.approx([20, 70, 120, 170], abs=4)
    assert video_rate(path) == 12
    assert list(tmp_path.iterdir()) == [path]


def test_odd_sides_lose_a_row(tmp_path: Path):
    frame = next(video_frames(write(tmp_path / "a.mp4", size_hw=(33, 49))))
    assert frame.shape == (3, 32, 48)


def test_frames_come_one_at_a_time(tmp_path: Path):
    frames = video_frames(write(tmp_path / "a.mp4", frames=3))
    next(frames)
    frames.close()


@pytest.mark.parametrize("name", ["a.MP4", "b.webm", "c.mov"])
def test_videos_by_name(name: str):
    assert is_video(Path(name))
    assert not is_video(Path(f".{name}"))
    assert not is_video(Path("a.png"))


def test_a_video_that_fails_on_the_way_is_not_left_behind(tmp_path: Path):
    def stopped() -> None:
        with write_video(tmp_path / "a.mp4", Fraction(5)) as writer:
            writer.add(np.zeros((32, 48, 3), np.uint8))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_videos(tmp_path: Path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"text\.mp4"):
        next(video_frames(tmp_path / "text.mp4"))
    with pytest.raises(UserError, match="no such video"):
        next(video_frames(tmp_path / "gone.mp4"))
    with pytest.raises(UserError, match=r"text\.mp4"):
        video_rate(tmp_path / "text.mp4")


def found(source: str, size_hw: tuple[int, int] = (32, 48), **more) -> Detections:
    return Detections(
        boxes_xyxy_px=torch.tensor([[4.0, 4.0, 20.0, 20.0]]),
        scores=torch.tensor([0.9]),
        labels=torch.tensor([0]),
        names=("cat",),
        category_ids=(1,),
        size_hw=size_hw,
        source=source,
        pixels=np.full((*size_hw, 3), 128, np.uint8),
        **more,
    )


def test_annotated_pictures_and_videos_have_names_of_their_own(tmp_path: Path):
    clip = write(tmp_path / "clip.mp4")
    with Annotator(tmp_path / "out") as annotator:
        annotator.draw(found("a/x.jpg", (500, 600)))
        for number in range(3):
            annotator.draw(found(f"clip.mp4#{number}", video=clip))
        annotator.draw(found("b/x.jpg", (500, 600)))
        annotator.draw(found("picture 0", (500, 600)))
        annotator.draw(found("scan.tif", (500, 600)))
    names = ["x.jpg", "clip.mp4", "x-2.jpg", "picture 0.png", "scan.png"]
    assert [path.name for path in annotator.written] == names
    assert len(list(video_frames(tmp_path / "out" / "clip.mp4"))) == 3
    assert video_rate(tmp_path / "out" / "clip.mp4") == 12
    with Image.open(tmp_path / "out" / "x.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (600, 500))


def test_the_original_is_never_written_over(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.new("RGB", (500, 500)).save(path)
    before = path.read_bytes()
    with pytest.raises(UserError, match="over the original"), Annotator(tmp_path) as annotator:
        annotator.draw(found(str(path), (500, 500), path=path))
    assert path.read_bytes() == before
