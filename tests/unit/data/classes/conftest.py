"""Small folders of classes."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def make_classes(tmp_path: Path) -> Callable[..., Path]:
    """Write pictures by class: `make_classes("data", {"cat": 3, "dog": 2})`; classes may have a split before them."""

    def make(name: str, counts: dict[str, int], side: int = 6, suffix: str = ".png") -> Path:
        root = tmp_path / name
        for number, (label, count) in enumerate(counts.items()):
            (root / label).mkdir(parents=True)
            for picture in range(count):
                pixels = np.full((side, side + 2, 3), 40 * number + picture, dtype=np.uint8)
                Image.fromarray(pixels).save(root / label / f"{picture}{suffix}")
        return root

    return make


@pytest.fixture
def zipped() -> Callable[[Path], Path]:
    """A zip of a folder beside it, its empty folders included."""

    def pack(folder: Path) -> Path:
        target = folder.with_suffix(".zip")
        with zipfile.ZipFile(target, "w") as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder.parent).as_posix())
        return target

    return pack
