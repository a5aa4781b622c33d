"""Writing the classes of pixels: a drawing of each picture, and a PNG whose pixels are the numbers of classes."""

from pathlib import Path

from sleuth.errors import UserError
from sleuth.files import atomic_write
from sleuth.runtime.file_names import FileNames
from sleuth.runtime.segmenter import Segmented

_READABLE_SIDE = 400
_JPEG_QUALITY = 92
_KEPT_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class SegmentedWriter:
    """Takes pictures with the classes of their pixels, and writes drawings and masks.

    A picture keeps its name and, where it can, its format; a mask has the same name, in ``masks/``. Frames of a video
    have their numbers behind its name.

    Args:
        folder: where to write; files of an earlier run are written over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.masks = folder, folder / "masks"
        self.count = 0
        self._names, self._mask_names = FileNames(), FileNames()

    def add(self, found: Segmented) -> Path:
        """Write one picture; the path of its drawing.

        Raises:
            UserError: a file cannot be written, or would be written over the original.
        """
        source = found.path or Path(found.source)
        suffix = source.suffix if source.suffix.lower() in _KEPT_SUFFIXES and found.video is None else ".png"
        path = self.folder / self._names.take(_stem_of(found), suffix)
        if path.exists() and source.exists() and path.samefile(source):
            raise UserError("this would be written over the original", where=path, mend="choose another --out")
        with atomic_write(path) as temporary:
            found.plot(enlarge=max(1, _READABLE_SIDE // max(found.size_hw))).save(temporary, quality=_JPEG_QUALITY)
        with atomic_write(self.masks / self._mask_names.take(_stem_of(found), ".png")) as temporary:
            found.mask().save(temporary)
        self.count += 1
        return path


def _stem_of(found: Segmented) -> str:
    if found.video is not None:
        return f"{found.video.stem}-{int(found.source.rpartition('#')[2]):06d}"
    return (found.path or Path(found.source)).stem
