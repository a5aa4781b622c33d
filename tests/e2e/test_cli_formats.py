"""Somebody's folder in each of the three formats: checked, trained on, measured and searched by commands alone."""

import json
from pathlib import Path

import pytest

from sleuth.cli.main import run as sleuth_command
from sleuth.weights.checkpoint import load_model

FORMATS = ("coco", "voc", "yolo")
STEPS = 4


@pytest.fixture(scope="module", params=FORMATS)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def data(name: str, request) -> Path:
    return request.getfixturevalue(f"{name}_data")


@pytest.fixture(scope="module")
def run(name: str, data: Path, tiny_training, tmp_path_factory) -> Path:
    """A run folder of four steps."""
    out = tmp_path_factory.mktemp(f"run_{name}") / "run"
    words = ["train", "--data", str(data), "--model", "detr-small", "--steps", str(STEPS), "--out", str(out)]
    assert sleuth_command([*words, *tiny_training]) == 0
    return out


def test_check_finds_no_error_and_counts_right(name: str, data: Path, cli):
    said = cli("data", "check", data, "--json")
    assert said.code == 0, said.out
    train, val = said.json
    assert (train["split"], train["format"], train["pictures"], val["pictures"]) == ("train", name, 6, 3)
    assert train["objects"] > 0


def test_check_draws_a_contact_sheet(data: Path, cli, size_of, tmp_path: Path):
    said = cli("data", "check", data, "--split", "val", "--sheet", tmp_path / "sheet.png")
    assert said.code == 0
    assert min(size_of(tmp_path / "sheet.png")) > 100


def test_training_leaves_a_readable_run_folder(run: Path):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "loss" in record] == list(range(1, STEPS + 1))
    scores = [record["scores"] for record in records if "scores" in record]
    assert len(scores) == 1, "measured once, at the end"
    assert "AP50" in scores[0]
    names = {path.name for path in run.iterdir()}
    assert {"recipe.toml", "environment.json", "curves.png", "best.safetensors", "last.safetensors"} <= names
    assert len(list((run / "samples").glob("*.png"))) == 1


def test_the_model_keeps_names_and_original_ids(name: str, run: Path):
    card = load_model(run / "best.safetensors").card
    first = {"coco": 5, "voc": None, "yolo": 0}[name]
    step = {"coco": 3, "voc": None, "yolo": 1}[name]
    if first is not None:
        assert card.category_ids == tuple(range(first, first + step * 15, step))
        assert card.names[1] == "1"
    assert len(card.names) == len(card.category_ids) == len(set(card.names))


def test_evaluate_measures_the_validation_split(run: Path, data: Path, cli, tmp_path: Path):
    said = cli("evaluate", "--model", run / "best.safetensors", "--data", data, "--out", tmp_path / "r", "--json")
    assert said.code == 0
    assert said.json["pictures"] == 3
    assert len(said.json["scores"]) == 12
    assert len(said.json["per_class"]) == len(load_model(run / "best.safetensors").card.names)
    assert {"scores.json", "per_class.csv", "confusion.png", "precision_recall.png", "predictions.json"} <= {
        path.name for path in (tmp_path / "r").iterdir()
    }
    assert json.loads((tmp_path / "r" / "scores.json").read_text()) == said.json


def test_predict_prints_the_schema_of_the_documentation(run: Path, data: Path, cli):
    picture = next(path for path in sorted(data.rglob("*.png")))
    said = cli("predict", picture, "--model", run / "best.safetensors", "--threshold", "0", "--json", "-")
    assert said.code == 0
    card = load_model(run / "best.safetensors").card
    ids = dict(zip(card.names, card.category_ids, strict=True))
    (entry,) = said.json
    assert list(entry) == ["image", "width", "height", "detections"]
    assert (entry["image"], entry["width"], entry["height"]) == (str(picture), 64, 48)
    assert len(entry["detections"]) == 8
    for found in entry["detections"]:
        assert list(found) == ["label", "category_id", "score", "bbox", "query"]
        assert found["category_id"] == ids[found["label"]]
        assert 0 <= found["score"] <= 1
        assert len(found["bbox"]) == 4
        assert min(found["bbox"][2:]) >= 0
    scores = [found["score"] for found in entry["detections"]]
    assert scores == sorted(scores, reverse=True)
