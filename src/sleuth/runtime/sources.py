"""Where pictures come from: files, folders, globs, videos, arrays. Read one at a time."""

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from sleuth.data.pictures import is_picture, read_picture
from sleuth.errors import UserError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg"})

Source = str | Path | Image.Image | np.ndarray | Tensor


@dataclass(frozen=True)
class Frame:
    """One picture to look at.

    Args:
        image: RGB, 0 to 255.
        name: its path, or for a frame of a video ``path#frame``.
        path: the file it came from, or None for an array.
        number: the frame's number in a video, from 0; None for a picture.
    """

    image: UInt8[Tensor, "3 height width"]
    name: str
    path: Path | None = None
    number: int | None = None


def is_video(path: Path) -> bool:
    """Whether a file's name is a video's."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def expand(source: str | Path) -> list[Path]:
    """The files that a path, folder or glob stands for, sorted by name.

    Raises:
        UserError: nothing is there, or nothing in it is a picture or video.
    """
    path = Path(source)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.is_file() and (is_picture(p) or is_video(p)))
        if not found:
            raise UserError("no picture or video in this folder", where=path, mend="name a folder that holds some")
        return found
    if path.exists():
        return [path]
    if any(sign in str(source) for sign in "*?["):
        found = sorted(p for p in map(Path, glob.glob(str(source), recursive=True)) if p.is_file())
        found = [p for p in found if is_picture(p) or is_video(p)]
        if not found:
            raise UserError("no picture or video fits this pattern", where=source, mend="check the pattern")
        return found
    raise UserError("no such picture, folder or video", where=source, mend="check the path")


def frames(sources: Source | Iterable[Source]) -> Iterator[Frame]:
    """Every picture of the sources, one after another.

    Raises:
        UserError: a source that is not there or cannot be read.
    """
    if isinstance(sources, str | Path | Image.Image | np.ndarray | Tensor):
        sources = [sources]
    # Paths are looked up before the first picture is read, so that a typing error at the end is known at once.
    expanded = [expand(source) if isinstance(source, str | Path) else [source] for source in sources]
    number = 0
    for group in expanded:
        for item in group:
            if isinstance(item, Path):
                yield from video_frames(item) if is_video(item) else [Frame(read_picture(item), str(item), item)]
            else:
                yield Frame(to_image(item), f"picture {number}")
                number += 1


def to_image(value: Image.Image | np.ndarray | Tensor) -> UInt8[Tensor, "3 height width"]:
    """An RGB tensor from a PIL picture, an array [height, width, 3] or a tensor [3, height, width], 0 to 255.

    Raises:
        UserError: another shape or type.
    """
    if isinstance(value, Image.Image):
        value = np.asarray(value.convert("RGB"))
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.array(value)).movedim(-1, 0) if value.ndim == 3 else torch.from_numpy(value)
    if value.ndim != 3 or value.shape[0] != 3 or value.dtype != torch.uint8:
        raise UserError(
            f"an array of shape {list(value.shape)} and type {value.dtype} is not a picture",
            mend="give uint8 values from 0 to 255: an array [height, width, 3] or a tensor [3, height, width]",
        )
    return value.contiguous()


def video_frames(path: Path) -> Iterator[Frame]:
    """The frames of a video, decoded one at a time.

    Raises:
        UserError: PyAV is not installed, or the file is no video that it can read.
    """
    av = _av()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError("the file holds no video", where=path, mend="name a video file")
            for number, frame in enumerate(container.decode(video=0)):
                image = torch.from_numpy(frame.to_ndarray(format="rgb24")).movedim(-1, 0).contiguous()
                yield Frame(image, f"{path}#{number}", path, number)
    except av.error.FFmpegError as error:
        raise UserError(f"cannot read the video ({error})", where=path, mend="convert it to MP4 (H.264)") from error


def video_rate(path: Path) -> float:
    """Frames per second of a video; 25 where the file does not say."""
    with _av().open(str(path)) as container:
        rate = container.streams.video[0].average_rate
    return float(rate) if rate else 25.0


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise UserError("videos need PyAV, which is not installed", mend="install it: uv sync --extra video") from error
    return av
