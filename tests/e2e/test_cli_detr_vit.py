"""DETR on a vision Transformer, as a person uses it."""

from pathlib import Path

RECIPE = Path(__file__).parent / "tiny.toml"
WORDS = ["--workers", "0", "--device", "cpu", "--steps", "2", "--batch-size", "2"]
SETS = {
    "model.backbone": "vit-digits",
    "model.backbone_weights": "vit-digits",
    "model.dilation": "false",
    "model.frozen_norm": "false",
    "scenes.size_hw": "[32, 32]",
    "augmentation.crop_prob": "0",
    "preprocess.shortest": "32",
    "preprocess.longest": "32",
    "data.train_limit": "4",
    "data.val_limit": "2",
}


def test_train_evaluate_predict_and_trace(cli, tmp_path: Path) -> None:
    from PIL import Image

    sets = [word for key, value in SETS.items() for word in ("--set", f"{key}={value}")]
    said = cli("train", RECIPE, *WORDS, *sets, "--out", tmp_path / "run")
    assert said.code == 0, said.err
    assert "backbone of vit-digits" in said.out + said.err
    model = tmp_path / "run" / "last.safetensors"
    said = cli("evaluate", "--model", model, "--data", "scenes", "--limit", "2", "--json")
    assert said.code == 0, said.err
    assert said.json["pictures"] == 2
    Image.new("RGB", (41, 30), "grey").save(tmp_path / "picture.png")
    said = cli("predict", tmp_path / "picture.png", "--model", model, "--threshold", "0", "--json", "-")
    assert said.code == 0, said.err
    assert len(said.json[0]["detections"]) == 8
    said = cli("trace", "--model", model, "--size", "32x41")
    assert said.code == 0, said.err
    assert "2 pixels to a cell" in said.out
    Image.new("RGB", (400, 3), "grey").save(tmp_path / "strip.png")
    said = cli("predict", tmp_path / "strip.png", "--model", model, "--json", "-")
    assert said.code == 2
    assert "a picture of 1x32 pixels is smaller than a patch of 2x2" in said.err
