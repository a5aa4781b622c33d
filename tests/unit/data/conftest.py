"""Small data sets written into a temporary folder, one function for each format."""

import json
from pathlib import Path

import pytest
from PIL import Image


def picture(path: Path, size_hw=(40, 60), colour=(90, 120, 150)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size_hw[1], size_hw[0]), colour).save(path)
    return path


@pytest.fixture
def make_picture():
    return picture


@pytest.fixture
def make_coco():
    """Write a COCO file; the parts given replace the sound ones."""

    def write(file: Path, folder: Path | None, **parts) -> Path:
        page = {
            "images": [
                {"id": 11, "file_name": "a.jpg", "height": 40, "width": 60},
                {"id": 12, "file_name": "b.jpg", "height": 40, "width": 60},
            ],
            "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
            "annotations": [
                {"id": 1, "image_id": 11, "category_id": 7, "bbox": [5, 6, 10, 12], "area": 77.0, "iscrowd": 0},
                {"id": 2, "image_id": 11, "category_id": 3, "bbox": [20, 10, 30, 20], "area": 600, "iscrowd": 0},
            ],
            **parts,
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(page))
        if folder is not None:
            for name in ("a.jpg", "b.jpg"):
                picture(folder / name)
        return file

    return write


@pytest.fixture
def make_voc():
    """Write one VOC XML file and its picture."""

    def write(xml: Path, image: Path | None, objects=(("cat", (5, 6, 15, 18)),), size="40,60", extra="") -> Path:
        body = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin><xmax>{b[2]}</xmax>"
            f"<ymax>{b[3]}</ymax></bndbox></object>"
            for name, b in objects
        )
        height, width = size.split(",") if size else ("", "")
        sizes = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>" if size else ""
        name = image.name if image is not None else f"{xml.stem}.jpg"
        xml.parent.mkdir(parents=True, exist_ok=True)
        xml.write_text(f"<annotation><filename>{name}</filename>{extra}{sizes}{body}</annotation>")
        if image is not None:
            picture(image)
        return xml

    return write


@pytest.fixture
def make_yolo():
    """Write pictures and label files below a folder: {name: lines or None for no file}."""

    def write(images: Path, labels: Path, lines: dict[str, str | None]) -> None:
        labels.mkdir(parents=True, exist_ok=True)
        for name, text in lines.items():
            picture(images / f"{name}.jpg")
            if text is not None:
                (labels / f"{name}.txt").write_text(text)

    return write


@pytest.fixture
def kinds():
    """Kind and id of each fault."""

    def of(thing):
        return [(fault.kind, fault.id) for fault in thing.faults]

    return of
