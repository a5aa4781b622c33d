"""`--tile`: small objects in a large picture, with the bundled model."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sleuth
from sleuth.data.scenes import SceneSource
from sleuth.data.scenes.classes import NAMES
from sleuth.geometry.boxes import pairwise_iou
from sleuth.geometry.rle import mask_from_coco
from sleuth.training.recipe import load_recipe

ROWS, COLUMNS, SIDE = 3, 4, 128


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> tuple[Path, torch.Tensor]:
    """Twelve held-out scenes as one picture of 384 x 512, with its annotations as COCO's; and the boxes."""
    root = tmp_path_factory.mktemp("large")
    source = SceneSource("val", ROWS * COLUMNS)
    canvas = np.zeros((ROWS * SIDE, COLUMNS * SIDE, 3), dtype=np.uint8)
    annotations, boxes = [], []
    for number in range(ROWS * COLUMNS):
        sample = source.load(number)
        row, column = divmod(number, COLUMNS)
        place = slice(row * SIDE, (row + 1) * SIDE), slice(column * SIDE, (column + 1) * SIDE)
        canvas[place] = sample.image.movedim(0, -1).numpy()
        moved = sample.boxes_xyxy_px + torch.tensor([column, row, column, row]) * SIDE
        boxes.append(moved)
        for (left, top, right, bottom), label in zip(moved.tolist(), sample.labels.tolist(), strict=True):
            box = [left, top, right - left, bottom - top]
            entry = {"image_id": 1, "category_id": label + 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1} | entry)
    Image.fromarray(canvas).save(root / "large.png")
    height, width = canvas.shape[:2]
    page = {
        "images": [{"id": 1, "file_name": "large.png", "height": height, "width": width}],
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(NAMES)],
        "annotations": annotations,
    }
    (root / "annotations.json").write_text(json.dumps(page))
    return root, torch.cat(boxes)


def found_of(boxes: torch.Tensor, entry: dict) -> float:
    """The share of the objects that an answer overlaps by half or more."""
    xywh = torch.tensor([found["bbox"] for found in entry["detections"]]).reshape(-1, 4)
    corners = torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1)
    return float((pairwise_iou(boxes, corners) >= 0.5).any(1).float().mean())


def test_small_objects_are_found_in_tiles(large, cli, tmp_path: Path):
    root, boxes = large
    plain = cli("predict", root / "large.png", "--model", "detr-scenes", "--json", "-")
    tiled = cli(
        "predict", root / "large.png", "--json", "-", "--tile", "128", "--tile-overlap", "0.4", "--out", tmp_path
    )
    assert tiled.code == 0
    (entry,) = tiled.json
    assert (entry["width"], entry["height"]) == (COLUMNS * SIDE, ROWS * SIDE)
    assert found_of(boxes, entry) > 0.9
    assert found_of(boxes, plain.json[0]) < 0.6
    assert len(entry["detections"]) < 1.5 * len(boxes), "no object comes out again and again"
    assert (tmp_path / "large.png").is_file()


def test_masks_of_tiles_fit_the_objects(large, cli, tmp_path: Path):
    root, _ = large
    Image.open(root / "large.png").crop((0, 0, 200, SIDE)).save(tmp_path / "wide.png")
    words = ["predict", tmp_path / "wide.png", "--model", "detr-scenes-panoptic", "--json", "-", "--tile", SIDE]
    (entry,) = cli(*words).json
    assert "segments" not in entry
    fits = []
    for found in entry["detections"]:
        mask = torch.from_numpy(mask_from_coco(found["segmentation"]))
        assert mask.shape == (SIDE, 200)
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        tight = torch.tensor([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]).float()
        left, top, width, height = found["bbox"]
        box = torch.tensor([[left, top, left + width, top + height]])
        fits.append(float(pairwise_iou(tight, box)))
    assert len(fits) > 3
    assert sum(fits) / len(fits) > 0.6


def test_python_and_the_command_line_agree(large, cli):
    root, _ = large
    said = cli(
        "predict", root / "large.png", "--model", "detr-scenes", "--json", "-", "--tile", "192x256", "--batch-size", "4"
    ).json
    (found,) = sleuth.load("detr-scenes").predict(root / "large.png", tile=(192, 256), batch_size=4)
    assert [found.to_json()] == said


def test_evaluation_on_tiles(large, cli, tmp_path: Path):
    root, boxes = large
    words = ("evaluate", "--model", "detr-scenes", "--data", root, "--json")
    plain = cli(*words).json
    tiled = cli(*words, "--tile", "128", "--tile-overlap", "0.4", "--out", tmp_path)
    assert tiled.code == 0
    assert tiled.json["objects"] == len(boxes) == plain["objects"]
    assert tiled.json["scores"]["AP50"] > plain["scores"]["AP50"] + 0.2
    assert (tmp_path / "pictures.png").is_file()


def test_training_on_tiles(coco_data: Path, cli, tiny_training, tmp_path: Path):
    """Pictures of 48 x 64 in tiles of 32: they are counted, trained on, measured and drawn in tiles."""
    out = tmp_path / "run"
    words = ["--data", coco_data, "--model", "detr-small", "--steps", "2", "--tile", "32", "--tile-overlap", "0.25"]
    words += ["--out", out]
    said = cli("train", *words, *tiny_training, "--set", "run.evaluate_every=2")
    assert said.code == 0, said.err
    assert re.search(r"\d+ tiles of them as well, \d+ without an object", said.err)
    assert "APs" in said.err
    assert f"sleuth predict PICTURE --model {out}/best.safetensors --tile 32x32 --tile-overlap 0.25" in said.err
    settings = load_recipe(out / "recipe.toml").data
    assert (settings.tile, settings.tile_overlap) == ((32, 32), 0.25)
    assert list((out / "samples").glob("*.png"))
    resumed = cli("train", "--resume", "--out", out, "--steps", "2")
    assert resumed.code == 0, resumed.err


def test_training_on_tiles_with_masks(cli, tiny_training, tmp_path: Path):
    """Masks are cut with their boxes, and stuff with its edges."""
    data = tmp_path / "set"
    assert cli("data", "scenes", "--out", data, "--count", "3", "--annotations", "panoptic").code == 0
    words = ["--data", data, "--annotations", "panoptic", "--steps", "1", "--tile", "64", "--out", tmp_path / "run"]
    said = cli("train", *words, *tiny_training, "--set", "model.backbone_stages=4")
    assert said.code == 0, said.err
    assert "tiles of them as well" in said.err
    assert "--tile" not in said.err, "prediction with masks is of whole pictures"
