"""A video that a telephone filmed upright: stored lying, with a matrix that says how to turn it."""

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from sleuth.runtime.video import video_frames, write_video

pytest.importorskip("av", reason="PyAV is not installed")

# Rows of the matrix in the track header, by the angle that a player turns the picture clockwise.
MATRICES = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def write_turned(path: Path, clockwise: int) -> np.ndarray:
    """A video whose stored frames are brightest at the top left corner; the stored frame."""
    stored = np.full((48, 64, 3), 40, dtype=np.uint8)
    stored[:24, :32] = 220
    with write_video(path, Fraction(10)) as writer:
        writer.add(stored)
        writer.add(stored)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = MATRICES[clockwise]
    content[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(content))
    return stored


@pytest.mark.parametrize("clockwise", MATRICES)
def test_frames_are_turned_as_a_player_would(clockwise: int, tmp_path: Path):
    stored = write_turned(tmp_path / "clip.mp4", clockwise)
    expected = np.rot90(stored, -clockwise // 90)
    frame = next(video_frames(tmp_path / "clip.mp4")).permute(1, 2, 0).numpy()
    assert frame.shape == expected.shape
    assert np.abs(frame.astype(int) - expected.astype(int)).mean() < 12
