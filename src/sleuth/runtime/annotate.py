"""Writing what was found as annotated pictures and videos into a folder."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from sleuth.errors import UserError
from sleuth.files import atomic_write
from sleuth.runtime.detections import Detections
from sleuth.runtime.file_names import FileNames
from sleuth.runtime.video import VideoWriter, video_rate, write_video

_JPEG_QUALITY = 92
_READABLE_SIDE = 400
_KEPT_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class Annotator:
    """Takes detections in the order of their pictures and draws each into a folder; a context manager.

    A picture keeps its name and, where it can, its format and size; a tiny one is enlarged, and masks have a legend
    below. The frames of a video become a video of the same name. A file appears under its name only when it is whole.

    Args:
        folder: where to write; files of an earlier run are written over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []
        self._names = FileNames()
        self._video: Path | None = None
        self._writer: VideoWriter | None = None
        self._open = ExitStack()

    def __enter__(self) -> "Annotator":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def draw(self, found: Detections) -> Path:
        """Draw one picture, or add one frame to its video; the path of the file.

        Raises:
            UserError: the file cannot be written, or would be written over the original.
        """
        if found.video is not None:
            return self._draw_frame(found, found.video)
        self._finish_video()
        path = self._path_for(found.path or Path(found.source), _KEPT_SUFFIXES, ".png")
        # Names beside the boxes would hide a picture the size of a stamp.
        image = found.plot(enlarge=max(1, _READABLE_SIDE // max(found.size_hw)))
        with atomic_write(path) as temporary:
            image.save(temporary, quality=_JPEG_QUALITY)
        self.written.append(path)
        return path

    def _draw_frame(self, found: Detections, video: Path) -> Path:
        if self._writer is None or video != self._video:
            self._finish_video()
            path = self._path_for(video, (".mp4",), ".mp4")
            self._writer = self._open.enter_context(write_video(path, video_rate(video)))
            self._video = video
            self.written.append(path)
        # All frames of a video are of one size: there is no room for a legend that grows.
        self._writer.add(np.asarray(found.plot(legend=False)))
        return self.written[-1]

    def _finish_video(self) -> None:
        self._writer, self._video = None, None
        self._open.close()

    def _path_for(self, source: Path, kept: tuple[str, ...], otherwise: str) -> Path:
        """A name in the folder that no other picture of this run has."""
        suffix = source.suffix if source.suffix.lower() in kept else otherwise
        path = self.folder / self._names.take(source.stem, suffix)
        if path.exists() and source.exists() and path.samefile(source):
            raise UserError("this would be written over the original", where=path, mend="choose another --out")
        return path
