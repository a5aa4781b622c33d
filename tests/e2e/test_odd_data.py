"""Odd pictures and annotations: training takes two steps, or says before the first one why it cannot."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Picture = tuple[tuple[int, int], list[tuple[float, float, float, float]]]
"""Width and height, and boxes as left, top, width and height."""

AUGMENTED = [
    "augmentation.fit=[48, 64]",
    "augmentation.turn=true",
    "augmentation.mosaic=0.5",
    "augmentation.mixup=0.3",
    "augmentation.copy_paste=0.5",
    "augmentation.safe_crop=0.5",
    "augmentation.zoom_out=0.3",
    "augmentation.multi_scale=[0.5, 1.5]",
    "run.close_augmentation=0.5",
    "data.cache=auto",
]


@pytest.fixture
def write(tmp_path: Path):
    """Write a COCO data set of a split `train`: `write(pictures, names)`; each box is of the next class."""

    def make(pictures: list[Picture], names: tuple[str, ...] = ("cell",)) -> Path:
        root = tmp_path / "data"
        (root / "annotations").mkdir(parents=True)
        (root / "train").mkdir()
        images, boxes = [], []
        random = np.random.default_rng(0)
        for number, ((width, height), places) in enumerate(pictures, start=1):
            name = f"{number}.png"
            pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "train" / name)
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            for place in places:
                boxes.append(
                    {
                        "id": len(boxes) + 1,
                        "image_id": number,
                        "category_id": 1 + len(boxes) % len(names),
                        "bbox": list(place),
                        "area": place[2] * place[3],
                        "iscrowd": 0,
                    }
                )
        page = {
            "images": images,
            "annotations": boxes,
            "categories": [{"id": id, "name": name} for id, name in enumerate(names, start=1)],
        }
        (root / "annotations" / "instances_train.json").write_text(json.dumps(page))
        return root

    return make


CHOSEN = [
    "model.backbone=resnet10",
    "model.backbone_width=8",
    "model.dim=16",
    "model.num_heads=2",
    "model.decoder_layers=1",
    "model.feedforward_dim=16",
    "run.workers=0",
    "run.precision=32-true",
    "run.log_every=1",
]
"""A small one of Sleuth's own detectors."""


@pytest.fixture(params=["paper", "small data", "chosen"])
def trained(request, cli, tiny_training, tmp_path: Path):
    """Train two steps on a data set, as the paper, with all that small data may ask for, and as chosen for it."""

    def run(data: Path, *more: str):
        sets = [word for value in (*AUGMENTED, *more) for word in ("--set", value)]
        words = list(tiny_training)
        if request.param == "chosen":
            sets = [word for value in (*CHOSEN, *more) for word in ("--set", value)]
            return cli("train", "--data", data, "--steps", "2", "--device", "cpu", *sets, "--out", tmp_path / "run")
        if request.param == "paper":
            sets = [word for value in more for word in ("--set", value)]
            words += ["--model", "detr-small"]
        else:
            place = words.index("--scale")
            words[place : place + 2] = ["--set", "augmentation.scales=[]", "--set", "augmentation.crop_prob=0"]
            recipe = tmp_path / "recipe.toml"
            recipe.write_text(f'[model]\nname = "detr-small"\n[data]\npath = "{data}"\nval = ""\n[run]\nsteps = 2\n')
            return cli("train", recipe, *words, *sets, "--out", tmp_path / "run")
        return cli("train", "--data", data, "--steps", "2", *words, *sets, "--out", tmp_path / "run")

    return run


def steps(run: Path) -> list[int]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(record["loss"]) for record in records if "loss" in record)
    return [record["step"] for record in records if "loss" in record]


ODD = {
    "a single class": [((60, 40), [(5, 5, 20, 20), (30, 10, 20, 25)])] * 3,
    "one picture": [((60, 40), [(5, 5, 20, 20)])],
    "one picture with objects among many": [((50, 50), [])] * 5 + [((50, 50), [(10, 10, 20, 20)])],
    "long and thin, both ways": [((400, 20), [(100, 2, 60, 15)]), ((20, 400), [(2, 100, 15, 60)])],
    "boxes of a pixel": [((60, 40), [(5, 5, 1, 1), (59, 39, 1, 1), (30, 20, 0.5, 0.5)])] * 2,
    "a picture of a pixel": [((1, 1), [(0, 0, 1, 1)]), ((40, 40), [(3, 3, 20, 20)])],
    "boxes as large as the picture": [((60, 40), [(0, 0, 60, 40)] * 3)] * 2,
    "more objects than queries": [((60, 40), [(2 * place, place, 10, 10) for place in range(25)])] * 2,
    "sizes far apart": [((12, 9), [(1, 1, 6, 6)]), ((900, 600), [(100, 100, 500, 400)])],
}


@pytest.mark.parametrize("name", ODD)
def test_training_goes_on(write, trained, tmp_path: Path, name: str):
    said = trained(write(ODD[name]), "model.num_queries=8")
    assert said.code == 0, said.err
    assert steps(tmp_path / "run") == [1, 2]


def test_more_objects_than_queries_are_told(write, trained):
    said = trained(write(ODD["more objects than queries"]), "model.num_queries=8")
    assert "a picture has 25 objects, the model finds 8 at most" in said.err


def test_many_classes_of_which_few_occur(write, trained, tmp_path: Path):
    names = tuple(f"class {number}" for number in range(30))
    said = trained(write(ODD["a single class"], names))
    assert said.code == 0, said.err
    assert steps(tmp_path / "run") == [1, 2]


@pytest.mark.parametrize(
    ("pictures", "says"),
    [([((60, 40), [])] * 3, "there are no objects in any picture"), ([], "no pictures")],
)
def test_nothing_to_learn_is_said_before_the_first_step(write, trained, tmp_path: Path, pictures, says):
    said = trained(write(pictures))
    assert said.code == 2
    *_, last = said.err.splitlines()
    assert last.startswith("sleuth: error: ")
    assert says in last
    assert "Traceback" not in said.err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
