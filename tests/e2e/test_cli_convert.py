"""`sleuth convert`: a trained model in another form says the same; what cannot be written is one line."""

from pathlib import Path

import pytest
import torch

NAMES, IDS = ("cat", "dog", "bird"), (4, 9, 17)


@pytest.fixture(scope="module")
def trained(make_model, tmp_path_factory) -> Path:
    """A model as training from scratch leaves it: live batch norm, its own category ids."""
    path = tmp_path_factory.mktemp("model") / "trained.safetensors"
    return make_model(path, names=NAMES, category_ids=IDS, frozen_norm=False)


@pytest.fixture(scope="module")
def of_their_width(make_model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "wide.safetensors"
    return make_model(path, names=NAMES, category_ids=IDS, backbone="resnet18", backbone_width=64, backbone_stages=4)


def found(cli, model: Path, pictures: Path) -> list[dict]:
    said = cli("predict", pictures, "--model", model, "--threshold", 0, "--json", "-", "--device", "cpu")
    assert said.code == 0, said.err
    return said.json


def assert_same(before: list[dict], after: list[dict]) -> None:
    assert len(before) == len(after) > 0
    for one, other in zip(before, after, strict=True):
        assert len(one["detections"]) == len(other["detections"]) == 8
        for mine, theirs in zip(one["detections"], other["detections"], strict=True):
            assert (mine["label"], mine["category_id"]) == (theirs["label"], theirs["category_id"])
            assert mine["score"] == pytest.approx(theirs["score"], abs=1e-4)
            assert mine["bbox"] == pytest.approx(theirs["bbox"], abs=0.1)


def test_to_huggingface_and_back(cli, trained: Path, scenes: Path, tmp_path: Path):
    pictures = scenes / "val" / "images"
    before = found(cli, trained, pictures)
    said = cli("convert", trained, "--to", "huggingface", "--out", tmp_path / "hf")
    assert said.code == 0, said.err
    assert str(tmp_path / "hf") in said.out
    assert "batch norm is frozen there" in said.err
    files = {"config.json", "preprocessor_config.json", "model.safetensors"}
    assert {file.name for file in (tmp_path / "hf").iterdir()} == files
    assert_same(before, found(cli, tmp_path / "hf", pictures))
    said = cli("convert", tmp_path / "hf", "--to", "sleuth", "--out", tmp_path / "back.safetensors")
    assert said.code == 0, said.err
    assert_same(before, found(cli, tmp_path / "back.safetensors", pictures))


def test_huggingface_s_own_loader_and_processor_say_the_same(cli, trained: Path, scenes: Path, tmp_path: Path):
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    assert cli("convert", trained, "--to", "huggingface", "--out", tmp_path / "hf").code == 0
    processor = AutoImageProcessor.from_pretrained(tmp_path / "hf")
    model = AutoModelForObjectDetection.from_pretrained(tmp_path / "hf").eval()
    pictures = sorted((scenes / "val" / "images").iterdir())
    for ours, file in zip(found(cli, trained, scenes / "val" / "images"), pictures, strict=True):
        with Image.open(file) as picture:
            inputs = processor(picture.convert("RGB"), return_tensors="pt")
            size = picture.size[::-1]
        with torch.no_grad():
            theirs = processor.post_process_object_detection(model(**inputs), threshold=0, target_sizes=[size])[0]
        best = theirs["scores"].argsort(descending=True, stable=True)
        assert [each["label"] for each in ours["detections"]] == [
            model.config.id2label[label] for label in theirs["labels"][best].tolist()
        ]
        scores = torch.tensor([each["score"] for each in ours["detections"]])
        torch.testing.assert_close(scores, theirs["scores"][best], rtol=0, atol=1e-4)


def test_to_the_original_and_back(cli, of_their_width: Path, scenes: Path, tmp_path: Path):
    pictures = scenes / "val" / "images"
    before = found(cli, of_their_width, pictures)
    for place, file in (("folder", "folder/checkpoint.pth"), ("named.pth", "named.pth")):
        said = cli("convert", of_their_width, "--to", "original", "--out", tmp_path / place)
        assert said.code == 0, said.err
        assert "a shorter side of 48" in said.err
        assert_same(before, found(cli, tmp_path / file, pictures))
    content = torch.load(tmp_path / "named.pth", weights_only=True)
    assert "transformer.decoder.layers.0.multihead_attn.in_proj_weight" in content["model"]


def test_to_sleuth_as_a_folder(cli, trained: Path, scenes: Path, tmp_path: Path):
    assert cli("convert", trained, "--to", "sleuth", "--out", tmp_path / "mine").code == 0
    pictures = scenes / "val" / "images"
    assert_same(found(cli, trained, pictures), found(cli, tmp_path / "mine", pictures))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("detr-scenes", "--to", "huggingface"), "Hugging Face's DETR cannot express this model: a dilated resnet18"),
        (
            ("detr-scenes", "--to", "original"),
            "the original DETR cannot express this model: its backbone is a resnet18",
        ),
        (("detr-scenes", "--to", "onnx"), "--to onnx is none of the forms. known: huggingface, original, sleuth"),
        (("detr-r50", "--to", "original"), "'detr-r50' is an architecture without weights"),
        (("nowhere.safetensors", "--to", "sleuth"), "there is no such model file"),
    ],
)
def test_what_cannot_be_done_is_one_line(cli, words: tuple[str, ...], message: str, tmp_path: Path):
    said = cli("convert", *words, "--out", tmp_path / "out")
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_taken_stays_as_it_was(cli, trained: Path, tmp_path: Path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    for place, message in ((full, "the folder is not empty"), (full / "mine.txt", "there is a file of this name")):
        said = cli("convert", trained, "--to", "huggingface", "--out", place)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert message in said.err
    said = cli("convert", trained, "--to", "huggingface", "--out", tmp_path / "model.pth")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "writes a folder, not a .pth file" in said.err
    assert [file.name for file in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_a_write_that_fails_leaves_nothing(cli, trained: Path, tmp_path: Path, monkeypatch):
    from sleuth.weights.origins import huggingface_export

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface_export, "_write_json", full_disk)
    said = cli("convert", trained, "--to", "huggingface", "--out", tmp_path / "hf")
    assert said.code == 2
    assert "the disk is full" in said.err
    assert not list(tmp_path.iterdir())
