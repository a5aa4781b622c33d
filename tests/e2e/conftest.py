"""The command line called in this process, and small models and data sets for it to work on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

TINY_MODEL = {
    "backbone": "resnet10",
    "backbone_width": 8,
    "backbone_stages": 3,
    "dim": 16,
    "num_heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "feedforward_dim": 32,
    "num_queries": 8,
}
SIZE_HW = (48, 64)


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def cli(capsys) -> Callable[..., Said]:
    """Run one command: `cli("predict", picture, "--json", "-")`."""
    from sleuth.cli.main import run

    def call(*words: object) -> Said:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def size_of() -> Callable[[Path], tuple[int, int]]:
    """Width and height of a picture file that has to be sound."""
    from PIL import Image

    def read(path: Path) -> tuple[int, int]:
        with Image.open(path) as picture:
            picture.load()
            return picture.size

    return read


@pytest.fixture(scope="session")
def tiny_training() -> list[str]:
    """Options that make any training small and quick."""
    sets = [f"model.{key}={value}" for key, value in TINY_MODEL.items()]
    sets += ["run.workers=0", "run.threads=1", "run.log_every=1", "run.evaluate_every=0", "augmentation.color_jitter=0"]
    words = ["--batch-size", "2", "--scale", "48", "--device", "cpu", "--seed", "1"]
    return words + [word for value in sets for word in ("--set", value)]


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Path]:
    """Write a tiny model with fresh weights: `make_model(path, names=("cat", "dog"))`."""
    import torch

    from sleuth.models.detr import DetrConfig, build_detr
    from sleuth.tasks.detection import Preprocess
    from sleuth.weights.checkpoint import detector_card, save_model

    def make(path: Path, *, names: tuple[str, ...], category_ids: tuple[int, ...] | None = None, **changes) -> Path:
        torch.manual_seed(3)
        config = DetrConfig(num_classes=len(names), **{**TINY_MODEL, **changes})
        model = build_detr(config)
        # Fresh heads answer "nothing" or all alike: louder weights give every query its own answer.
        torch.nn.init.normal_(model.class_head.weight, std=1.0)
        ids = category_ids or tuple(range(1, len(names) + 1))
        preprocess = Preprocess(shortest=48, longest=80)
        save_model(path, model, detector_card(config, names=names, category_ids=ids, preprocess=preprocess))
        return path

    return make


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> Path:
    """Scenes as COCO: folder/{train,val}, each with annotations.json and images/; the category ids have gaps."""
    from sleuth.data.scenes import SceneConfig
    from sleuth.data.scenes.export import write_coco

    root = tmp_path_factory.mktemp("scenes")
    config = SceneConfig(size_hw=SIZE_HW, max_objects=3, min_size=10, max_size=24)
    for split, count in (("train", 6), ("val", 3)):
        answer = write_coco(root / split, count, split, 0, config)
        page = json.loads(answer.read_text())
        for entry in page["categories"]:
            entry["id"] = entry["id"] * 3 + 2
        for entry in page["annotations"]:
            entry["category_id"] = entry["category_id"] * 3 + 2
        answer.write_text(json.dumps(page))
    return root


@pytest.fixture(scope="session")
def coco_data(scenes: Path, tmp_path_factory) -> Path:
    """annotations/instances_train.json and train/, and the same for val."""
    root = tmp_path_factory.mktemp("coco")
    (root / "annotations").mkdir()
    for split in ("train", "val"):
        shutil.copy(scenes / split / "annotations.json", root / "annotations" / f"instances_{split}.json")
        shutil.copytree(scenes / split / "images", root / split)
    return root


@pytest.fixture(scope="session")
def voc_data(scenes: Path, tmp_path_factory) -> Path:
    """Annotations/, JPEGImages/ and ImageSets/Main/{train,val}.txt."""
    root = tmp_path_factory.mktemp("voc")
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split in ("train", "val"):
        stems = []
        for file, objects in _pictures(scenes / split):
            stem = f"{split}_{file.stem}"
            stems.append(stem)
            shutil.copy(file, root / "JPEGImages" / f"{stem}.png")
            body = "".join(
                f"<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax>"
                f"<ymax>{y + h}</ymax></bndbox></object>"
                for name, _, (x, y, w, h) in objects
            )
            height, width = SIZE_HW
            (root / "Annotations" / f"{stem}.xml").write_text(
                f"<annotation><filename>{stem}.png</filename><size><width>{width}</width><height>{height}</height>"
                f"<depth>3</depth></size>{body}</annotation>"
            )
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(stems) + "\n")
    return root


@pytest.fixture(scope="session")
def yolo_data(scenes: Path, tmp_path_factory) -> Path:
    """data.yaml, images/{train,val} and labels/{train,val}."""
    root = tmp_path_factory.mktemp("yolo")
    height, width = SIZE_HW
    for split in ("train", "val"):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for file, objects in _pictures(scenes / split):
            shutil.copy(file, root / "images" / split / file.name)
            lines = [
                f"{label} {(x + w / 2) / width:.6f} {(y + h / 2) / height:.6f} {w / width:.6f} {h / height:.6f}\n"
                for _, label, (x, y, w, h) in objects
            ]
            (root / "labels" / split / f"{file.stem}.txt").write_text("".join(lines))
    names = [entry["name"] for entry in _page(scenes / "train")["categories"]]
    listed = "".join(f"  {number}: '{name}'\n" for number, name in enumerate(names))
    (root / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\nnames:\n{listed}")
    return root


def _page(split: Path) -> dict:
    return json.loads((split / "annotations.json").read_text())


def _pictures(split: Path):
    """Each picture's file and its objects: name, place of the class in the list, and [x, y, width, height]."""
    page = _page(split)
    place = {entry["id"]: number for number, entry in enumerate(page["categories"])}
    for picture in page["images"]:
        yield (
            split / "images" / picture["file_name"],
            [
                (page["categories"][place[entry["category_id"]]]["name"], place[entry["category_id"]], entry["bbox"])
                for entry in page["annotations"]
                if entry["image_id"] == picture["id"]
            ],
        )
