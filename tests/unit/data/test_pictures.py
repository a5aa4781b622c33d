"""Pictures of every mode come out as upright 8-bit RGB; broken ones are named."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from sleuth.data.pictures import LIMIT_VARIABLE, is_picture, picture_size, read_picture
from sleuth.errors import UserError

ORIENTATION = 0x0112


def corners(image) -> list[tuple[int, ...]]:
    """Colours near the four corners: top left, top right, bottom left, bottom right."""
    height, width = image.shape[1:]
    places = [(2, 2), (2, width - 3), (height - 3, 2), (height - 3, width - 3)]
    return [tuple(int(value) for value in image[:, y, x]) for y, x in places]


def quarters(mode="RGB") -> Image.Image:
    """20 high, 30 wide: black, red, green, blue from the top left to the bottom right."""
    picture = Image.new("RGB", (30, 20))
    picture.paste((255, 0, 0), (15, 0, 30, 10))
    picture.paste((0, 255, 0), (0, 10, 15, 20))
    picture.paste((0, 0, 255), (15, 10, 30, 20))
    return picture.convert(mode)


# How a camera stores an upright picture for each orientation, so that the viewer's turn undoes it.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_all_eight_orientations_come_out_upright(tmp_path, orientation, suffix):
    turn = STORED[orientation]
    stored = quarters() if turn is None else quarters().transpose(turn)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"turned.{suffix}"
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    if suffix == "tif":
        stored.save(path, tiffinfo={ORIENTATION: orientation})
    else:
        stored.save(path, exif=exif, **options)
    image = read_picture(path)
    assert image.shape == (3, 20, 30)
    assert picture_size(path) == (20, 30)
    expected = np.array(corners(torch.from_numpy(np.array(quarters())).permute(2, 0, 1)))
    assert np.abs(np.array(corners(image)) - expected).max() <= (30 if suffix == "jpg" else 0)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("RGB", "png"), ("RGB", "bmp"), ("P", "png"), ("P", "gif"), ("RGBA", "png"), ("CMYK", "tif"), ("YCbCr", "tif")],
)
def test_colour_modes(tmp_path, mode, suffix):
    path = tmp_path / f"picture.{suffix}"
    quarters(mode).save(path)
    image = read_picture(path)
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
    expected = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)])
    assert np.abs(np.array(corners(image)) - expected).max() <= 3


def test_cmyk_jpeg(tmp_path):
    path = tmp_path / "print.jpg"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path, quality=100)
    red, green, blue = read_picture(path)[:, 8, 8].tolist()
    assert red > 250
    assert green < 5
    assert blue < 5


def test_grey_and_bits(tmp_path):
    Image.new("L", (4, 3), 77).save(tmp_path / "grey.png")
    assert read_picture(tmp_path / "grey.png").unique().tolist() == [77]
    bits = Image.new("1", (4, 3), 0)
    bits.putpixel((2, 1), 1)
    bits.save(tmp_path / "bits.png")
    image = read_picture(tmp_path / "bits.png")
    assert image[:, 1, 2].tolist() == [255, 255, 255]
    assert int(image.sum()) == 3 * 255


def test_transparent_parts_show_white(tmp_path):
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    picture.putpixel((1, 1), (0, 0, 200, 255))
    picture.putpixel((2, 2), (0, 0, 0, 128))
    picture.save(tmp_path / "clear.png")
    image = read_picture(tmp_path / "clear.png")
    assert image[:, 0, 0].tolist() == [255, 255, 255]
    assert image[:, 1, 1].tolist() == [0, 0, 200]
    assert image[:, 2, 2].tolist() == [127, 127, 127]
    Image.new("LA", (4, 4), (10, 0)).save(tmp_path / "la.png")
    assert read_picture(tmp_path / "la.png").unique().tolist() == [255]


def test_transparent_palette(tmp_path):
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([9, 9, 9, 200, 0, 0])
    picture.putpixel((1, 1), 1)
    picture.save(tmp_path / "palette.png", transparency=b"\x00\xff")
    image = read_picture(tmp_path / "palette.png")
    assert image[:, 0, 0].tolist() == [255, 255, 255]
    assert image[:, 1, 1].tolist() == [200, 0, 0]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled(tmp_path, suffix):
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
    assert read_picture(tmp_path / f"deep.{suffix}")[0].tolist() == [[0, 1, 128, 255]]


def test_floats_and_long_integers(tmp_path):
    Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32)).save(tmp_path / "float.tif")
    assert read_picture(tmp_path / "float.tif")[0].tolist() == [[0, 128, 255]]
    Image.fromarray(np.array([[0, 65535]], dtype=np.int32)).save(tmp_path / "long.tif")
    assert read_picture(tmp_path / "long.tif")[0].tolist() == [[0, 255]]


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert read_picture(tmp_path / "moving.gif")[:, 4, 4].tolist() == [255, 0, 0]


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 30_000])
def test_bombs_are_refused(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(side, side))
    for read in (read_picture, picture_size):
        with pytest.raises(UserError, match=r"bomb\.png.*limit is 89,478,485.*SLEUTH_MAX_PIXELS"):
            read(path)


def test_the_limit_can_be_set(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    path = tmp_path / "wide.png"
    path.write_bytes(png_of(10_000, 10_000))
    monkeypatch.setenv(LIMIT_VARIABLE, "200000000")
    assert picture_size(path) == (10_000, 10_000)
    monkeypatch.setenv(LIMIT_VARIABLE, "100")
    quarters().save(tmp_path / "small.png")
    with pytest.raises(UserError, match="the limit is 100"):
        read_picture(tmp_path / "small.png")
    monkeypatch.setenv(LIMIT_VARIABLE, "many")
    with pytest.raises(UserError, match="SLEUTH_MAX_PIXELS: 'many' is no number"):
        picture_size(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tif", "webp", "bmp"])
def test_truncated_files_are_named(tmp_path, suffix):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix))
    path = tmp_path / f"short.{suffix}"
    for share in (0.6, 0.02):
        path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * share)])
        with pytest.raises(UserError, match=rf"short\.{suffix}") as caught:
            read_picture(path)
        assert "\n" not in str(caught.value)


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name, what in (("text.jpg", "no picture"), ("empty.jpg", "empty"), ("none.jpg", "no such picture")):
        for read in (read_picture, picture_size):
            with pytest.raises(UserError, match=what) as caught:
                read(tmp_path / name)
            assert name in str(caught.value)
    with pytest.raises(UserError, match="folder"):
        read_picture(tmp_path)


def test_picture_names():
    from pathlib import Path

    assert is_picture(Path("a/B.JPG"))
    assert not is_picture(Path("a/b.txt"))
    assert not is_picture(Path("a/._b.jpg"))
