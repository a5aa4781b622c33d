"""Videos through PyAV, frame by frame: no video is ever in memory as a whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from sleuth.errors import UserError
from sleuth.files import atomic_write

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp", ".ogv"}
)
_DEFAULT_RATE = Fraction(25)


def is_video(path: Path) -> bool:
    """Whether a file's name is that of a video; hidden files are none."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")


def video_frames(path: Path) -> Iterator[UInt8[Tensor, "3 height width"]]:
    """The frames of a video as RGB, the right way up, one at a time.

    Raises:
        UserError: PyAV is not installed, or the file is missing, broken or no video.
    """
    av = _pyav()
    with _readable(av, path), av.open(str(path)) as container:
        if not container.streams.video:
            raise UserError("this file holds no video", where=path, mend="name another")
        for frame in container.decode(video=0):
            yield _upright(frame.to_ndarray(format="rgb24"), frame.rotation)


def video_rate(path: Path) -> Fraction:
    """Frames per second, 25 where the file does not say.

    Raises:
        UserError: as for :func:`video_frames`.
    """
    av = _pyav()
    with _readable(av, path), av.open(str(path)) as container:
        streams = container.streams.video
        return Fraction(streams[0].average_rate or _DEFAULT_RATE) if streams else _DEFAULT_RATE


class VideoWriter:
    """Takes pictures of one size one after another; :func:`write_video` makes it."""

    def __init__(self, av: ModuleType, path: Path, rate: Fraction) -> None:
        self._av = av
        codecs = ("libx264", "mpeg4") if path.suffix.lower() != ".webm" else ("libvpx-vp9", "libvpx")
        self._container = av.open(str(path), "w")
        codec = next((name for name in codecs if name in av.codecs_available), "mpeg4")
        self._stream = self._container.add_stream(codec, rate=rate)
        self._stream.pix_fmt = "yuv420p"
        self._started = False

    def add(self, picture: UInt8[np.ndarray, "height width 3"]) -> None:
        """Add a frame. A last odd row or column, which the format has no room for, is left out."""
        height, width = (side - side % 2 for side in picture.shape[:2])
        if not self._started:
            self._stream.height, self._stream.width = height, width
            self._started = True
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        """Finish the file."""
        if self._started:
            for packet in self._stream.encode():
                self._container.mux(packet)
        self._container.close()


@contextmanager
def write_video(path: Path, rate: Fraction) -> Iterator[VideoWriter]:
    """Write a video; it appears under its name only when it is whole.

    Args:
        path: the file; its suffix chooses the container.
        rate: frames per second.

    Raises:
        UserError: PyAV is not installed, or the file cannot be written.
    """
    av = _pyav()
    with atomic_write(path) as temporary:
        writer = VideoWriter(av, temporary, rate)
        try:
            yield writer
        finally:
            writer.close()


def _pyav() -> ModuleType:
    try:
        import av
    except ImportError:
        raise UserError(
            "reading and writing video needs PyAV",
            mend="install it with `pip install 'sleuth-vision[video]'` or `uv sync --extra video`",
        ) from None
    return av


@contextmanager
def _readable(av: ModuleType, path: Path) -> Iterator[None]:
    """Turn whatever PyAV finds wrong with a file into one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError("there is no such video", where=path, mend="check the path") from error
    except (av.FFmpegError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"the video cannot be read: {reason.lower()}", where=path, mend="replace it, or convert it to MP4"
        ) from error


def _upright(pixels: UInt8[np.ndarray, "height width 3"], degrees: int) -> UInt8[Tensor, "3 _ _"]:
    """Turn a frame counter-clockwise by the rotation that its file asks for."""
    turned = np.rot90(pixels, round(degrees / 90) % 4)
    return torch.from_numpy(np.ascontiguousarray(turned.transpose(2, 0, 1)))
