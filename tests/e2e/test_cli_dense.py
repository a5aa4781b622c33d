"""Dense detectors, as a person uses them: the same commands as for DETR."""

import json
from pathlib import Path

RECIPE = Path(__file__).parents[2] / "recipes" / "dense-scenes.toml"
SETS = {
    "model.backbone": "resnet10",
    "model.backbone_width": "8",
    "model.dim": "64",
    "model.tower_layers": "1",
    "model.num_queries": "6",
    "scenes.size_hw": "[64, 64]",
    "preprocess.shortest": "64",
    "preprocess.longest": "64",
    "data.train_limit": "8",
    "data.val_limit": "2",
    "run.minutes": "0",
    "run.steps": "3",
    "run.log_every": "1",
    "run.precision": "32-true",
    "optimizer.batch_size": "2",
}


def test_train_evaluate_predict_and_trace(cli, tmp_path: Path) -> None:
    from PIL import Image

    sets = [word for key, value in SETS.items() for word in ("--set", f"{key}={value}")]
    said = cli("train", RECIPE, *sets, "--out", tmp_path / "run")
    assert said.code == 0, said.err
    losses = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert set(losses[0]["parts"]) == {"class", "giou", "centre", "missed"}
    model = tmp_path / "run" / "last.safetensors"
    said = cli("evaluate", "--model", model, "--data", "scenes", "--limit", "2", "--layers", "--json")
    assert said.code == 0, said.err
    assert (said.json["pictures"], said.json["predictions_not_finite"]) == (2, 0)
    assert said.json["predictions"] <= 12
    Image.new("RGB", (41, 30), "grey").save(tmp_path / "picture.png")
    said = cli("predict", tmp_path / "picture.png", "--model", model, "--threshold", "0", "--json", "-")
    assert said.code == 0, said.err
    assert 1 <= len(said.json[0]["detections"]) <= 6
    said = cli("trace", "--model", model, "--size", "64x64", "--layers")
    assert said.code == 0, said.err
    for told in ("memory", "[1,84,64]", "class tower", "box tower", "centre head", "[1,84,15]"):
        assert told in said.out
    assert "queries" not in said.out
    said = cli("convert", model, "--to", "huggingface", "--out", tmp_path / "hf")
    assert said.code == 2
    assert "fcos" in said.err
    said = cli("train", RECIPE, *sets, "--set", "loss.classes=softmax", "--out", tmp_path / "wrong")
    assert said.code == 2
    assert "points learn classes by the focal loss" in said.err
