"""From whatever a user names to a stream of pictures: files, folders, globs, videos, arrays."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from sleuth.data.pictures import is_picture, read_picture, to_rgb
from sleuth.errors import UserError
from sleuth.runtime.video import is_video, video_frames

Source = str | Path | Image.Image | np.ndarray | Tensor
"""A picture, folder, glob or video by its path, or a picture in memory."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture to look at.

    Args:
        image: RGB, 0 to 255.
        name: its path, the video's path and frame number, or what it is called.
        path: its file; None for frames and pictures in memory.
        video: the video that it is a frame of.
    """

    image: UInt8[Tensor, "3 height width"]
    name: str
    path: Path | None = None
    video: Path | None = None


@dataclass(frozen=True, eq=False)
class Item:
    """One thing that a user named, seen to exist but not opened yet."""

    path: Path | None = None
    memory: object = None
    name: str = ""

    @property
    def is_video(self) -> bool:
        """Whether this is a video, of which nobody knows yet how many frames it has."""
        return self.path is not None and is_video(self.path)

    def frames(self) -> Iterator[Frame]:
        """The picture, or the frames of the video one after another.

        Raises:
            UserError: it cannot be read.
        """
        if self.path is None:
            yield Frame(_from_memory(self.memory, self.name), self.name)
        elif is_video(self.path):
            for number, image in enumerate(video_frames(self.path)):
                yield Frame(image, f"{self.name}#{number}", video=self.path)
        else:
            yield Frame(read_picture(self.path), self.name, path=self.path)


def expand_sources(sources: Source | Iterable[Source]) -> list[Item]:
    """Everything that the user named, in order; pictures of a folder or glob by name.

    A path that exists is taken as it is, even with ``*`` or ``[`` in its name. Of a folder its pictures and
    videos are taken, not its subfolders: ``folder/**/*.jpg`` reaches into those.

    Raises:
        UserError: a path or pattern leads to nothing.
    """
    single = isinstance(sources, Source)
    every: Iterable[Source] = [sources] if single else sources  # type: ignore[list-item, assignment]
    items: list[Item] = []
    for number, source in enumerate(every):
        if isinstance(source, str | Path):
            items += [Item(path, name=str(path)) for path in _expand_path(source)]
        else:
            items.append(Item(memory=source, name=f"picture {number}"))
    return items


def frames_of(items: Sequence[Item]) -> Iterator[Frame]:
    """The pictures of all items, each read when its turn comes."""
    for item in items:
        yield from item.frames()


def _expand_path(source: str | Path) -> list[Path]:
    text, path = str(source), Path(source)
    if not text:
        raise UserError("a source is empty", mend="name a picture, folder, glob or video")
    if path.is_dir():
        found = _pictures_and_videos(path.iterdir())
        if not found:
            raise UserError("no picture or video in this folder", where=path, mend=f"for its subfolders: '{path}/**/*'")
        return found
    if path.exists():
        return [path]
    if glob.has_magic(text):
        found = _pictures_and_videos(Path(name) for name in glob.glob(text, recursive=True))
        if not found:
            raise UserError("no picture or video fits this pattern", where=text, mend="check the pattern")
        return found
    raise UserError("no such picture, folder or video", where=text, mend="check the path")


def _pictures_and_videos(files: Iterable[Path]) -> list[Path]:
    return sorted(file for file in files if (is_picture(file) or is_video(file)) and not file.is_dir())


def _from_memory(picture: object, name: str) -> UInt8[Tensor, "3 height width"]:
    """A picture in memory as RGB in 8 bits."""
    if isinstance(picture, Image.Image):
        return torch.from_numpy(to_rgb(picture)).permute(2, 0, 1).contiguous()
    if isinstance(picture, np.ndarray):
        # NumPy's own layout is [height, width, 3], PyTorch's [3, height, width].
        image = torch.from_numpy(np.array(picture))
        image = image.permute(2, 0, 1) if image.ndim == 3 else image
    elif isinstance(picture, Tensor):
        image = picture.detach().cpu()
    else:
        raise UserError(
            f"this is no picture but a {type(picture).__name__}",
            where=name,
            mend="give a path, PIL image, array or tensor",
        )
    if image.ndim == 2:
        image = image.expand(3, -1, -1)
    if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
        layout = "[height, width, 3]" if isinstance(picture, np.ndarray) else "[3, height, width]"
        raise UserError(f"an array of shape {list(picture.shape)} is no picture", where=name, mend=f"give {layout}")
    return _to_bytes(image, name).expand(3, -1, -1).contiguous()


def _to_bytes(image: Tensor, name: str) -> Tensor:
    if image.dtype == torch.uint8:
        return image
    if image.is_floating_point():
        low, high = (float(value) for value in image.aminmax())
        if low >= 0 and high <= 1:
            return (image * 255).round().to(torch.uint8)
        raise UserError(f"its values go from {low:g} to {high:g}", where=name, mend="give uint8, or floats from 0 to 1")
    raise UserError(
        f"an array of {str(image.dtype).removeprefix('torch.')} is no picture", where=name, mend="give uint8"
    )
