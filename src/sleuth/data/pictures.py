"""Reading picture files of every kind into 8-bit RGB, the right way up."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from sleuth.errors import UserError

PICTURE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".ppm",
        ".pgm",
        ".mpo",
        ".avif",
    }
)
LIMIT_VARIABLE = "SLEUTH_MAX_PIXELS"

_ORIENTATION_TAG = 0x0112
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})

# A picture beyond the limit is refused below with a clear message; Pillow's own warning would only come before it.
warnings.simplefilter("error", Image.DecompressionBombWarning)


def read_picture(path: Path | str) -> UInt8[Tensor, "3 height width"]:
    """A picture file as RGB, turned as its EXIF orientation says.

    Transparent parts show white. 16-bit pictures are scaled, not clipped. Of several frames the first is taken.

    Args:
        path: a file in any format that Pillow reads.

    Returns:
        RGB, 0 to 255.

    Raises:
        UserError: the file is missing, broken, cut short, no picture, or larger than the limit in pixels.
    """
    with _opened(Path(path)) as picture:
        return _upright_rgb(picture)


def decode_picture(content: bytes, where: Path) -> UInt8[Tensor, "3 height width"]:
    """The same of a picture that is in memory, such as a member of an archive.

    Args:
        content: the bytes of the file.
        where: what messages call it.

    Raises:
        UserError: as in `read_picture`.
    """
    with _opened(where, content) as picture:
        return _upright_rgb(picture)


def check_picture(content: bytes, where: Path) -> tuple[int, int]:
    """Height and width that a picture in memory has by its header, not turned.

    Raises:
        UserError: as in `read_picture`, for faults that show in the header.
    """
    with _opened(where, content) as picture:
        return picture.size[1], picture.size[0]


def _upright_rgb(picture: Image.Image) -> UInt8[Tensor, "3 height width"]:
    picture.load()
    # Read after loading: some formats turn themselves while loading and drop the tag.
    turn = _TURN.get(picture.getexif().get(_ORIENTATION_TAG, 1))
    upright = picture if turn is None else picture.transpose(turn)
    return torch.from_numpy(to_rgb(upright)).permute(2, 0, 1).contiguous()


def read_colours(path: Path | str) -> UInt8[np.ndarray, "height width 3"]:
    """The three channels of a PNG whose colours are numbers: never turned, blended or rescaled.

    Raises:
        UserError: as in `read_picture`; or the picture is grey.
    """
    path = Path(path)
    with _opened(path) as picture:
        if picture.mode not in ("RGB", "RGBA", "P"):
            raise UserError(
                f"the picture has no colours (mode {picture.mode})",
                where=path,
                mend="write ids as red + 256 green + 65536 blue",
            )
        return np.array(picture.convert("RGB"))


def decode_values(content: bytes, where: Path) -> tuple[np.ndarray, UInt8[np.ndarray, "colours 3"] | None]:
    """A picture in memory whose pixels are numbers: never turned, blended or rescaled.

    Args:
        content: the bytes of the file.
        where: what messages call it.

    Returns:
        Whole numbers [height, width], or colours [height, width, 3]; and the palette, where numbers are places in one.

    Raises:
        UserError: as in `read_picture`; or the pixels are no whole numbers.
    """
    with _opened(where, content) as picture:
        if picture.mode in ("RGB", "RGBA", "CMYK", "YCbCr"):
            return np.array(picture.convert("RGB")), None
        if picture.mode in ("LA", "PA"):
            picture = picture.getchannel(0)
        values = np.array(picture)
        palette = picture.getpalette("RGB") if picture.mode == "P" else None
    if values.ndim != 2 or values.dtype.kind not in "biu":
        raise UserError(
            f"its pixels are no whole numbers (mode {picture.mode})", where=where, mend="write it in 8 bits"
        )
    return values, None if palette is None else np.array(palette, dtype=np.uint8).reshape(-1, 3)


def picture_size(path: Path | str, content: bytes | None = None) -> tuple[int, int]:
    """Height and width in pixels after EXIF rotation, read from the file's header.

    Args:
        path: the file, or what messages call it.
        content: the bytes of the file, where they are in memory.

    Raises:
        UserError: as in `read_picture`, for faults that show in the header.
    """
    path = Path(path)
    with _opened(path, content) as picture:
        width, height = picture.size
        # The base method: the one of PNG would decode the whole picture. TIFF swaps the size by itself.
        orientation = 1 if picture.format == "TIFF" else Image.Image.getexif(picture).get(_ORIENTATION_TAG, 1)
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)


def is_picture(path: Path) -> bool:
    """Whether a file's name is that of a picture; hidden files are none."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def pixel_limit() -> int | None:
    """Most pixels that a picture may have: from the environment, or else Pillow's limit; None for no limit."""
    text = os.environ.get(LIMIT_VARIABLE)
    if text is None:
        return Image.MAX_IMAGE_PIXELS
    if not text.isdigit() or int(text) == 0:
        raise UserError(f"{text!r} is no number of pixels", where=LIMIT_VARIABLE, mend="give a whole number above 0")
    return int(text)


@contextmanager
def _opened(path: Path, content: bytes | None = None) -> Iterator[Image.Image]:
    """Open a picture, of a file or of bytes, and turn whatever goes wrong inside into a message that names it."""
    limit = pixel_limit()
    if LIMIT_VARIABLE in os.environ:
        Image.MAX_IMAGE_PIXELS = limit
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as picture:
            _refuse_bomb(path, picture.size, limit)
            yield picture
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError("there is no such picture", where=path, mend="check the name and the folder") from error
    except IsADirectoryError as error:
        raise UserError("this is a folder, not a picture", where=path, mend="name a picture in it") from error
    except PermissionError as error:
        raise UserError("no permission to read the picture", where=path, mend="change its permissions") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bomb(path, limit, None) from error
    except UnidentifiedImageError as error:
        size = path.stat().st_size if content is None else len(content)
        what = "the file is empty" if size == 0 else "this is no picture that Pillow can read"
        raise UserError(what, where=path, mend="replace it, or convert it to JPEG or PNG") from error
    except MemoryError as error:
        raise UserError("not enough memory for this picture", where=path, mend="make it smaller") from error
    except Exception as error:  # A broken file makes decoders raise nearly anything.
        what = "the picture is cut short" if "truncated" in str(error).lower() else f"the picture is broken ({error})"
        raise UserError(what, where=path, mend="replace it, or remove it from the data") from error


def _refuse_bomb(path: Path, size: tuple[int, int], limit: int | None) -> None:
    pixels = size[0] * size[1]
    if limit is not None and pixels > limit:
        raise _bomb(path, limit, pixels)


def _bomb(path: Path, limit: int | None, pixels: int | None) -> UserError:
    held = "too many pixels" if pixels is None else f"{pixels:,} pixels"
    return UserError(
        f"the picture has {held}, the limit is {limit:,}",
        where=path,
        mend=f"make it smaller, or raise the limit with {LIMIT_VARIABLE}=<pixels> if you trust the file",
    )


def to_rgb(picture: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """RGB in 8 bits from any of Pillow's modes; transparent parts show white."""
    if picture.mode.startswith("I") or picture.mode == "F":
        grey = _to_8_bits(np.asarray(picture), picture.mode)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return np.array(Image.alpha_composite(white, layer).convert("RGB"))
    return np.array(picture.convert("RGB"))


def _to_8_bits(values: np.ndarray, mode: str) -> UInt8[np.ndarray, "height width"]:
    """Deep grey values scaled to 0 to 255: 16-bit ones by their range, others by the range that they show."""
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0)
    top = values.max(initial=0)
    ranges = (1.0, 255.0) if mode == "F" else (65535.0,)
    full = next((full for full in ranges if top <= full), top)
    return np.rint(values * (255 / full)).astype(np.uint8)
