"""Every fault of a user's ends in one line on stderr and exit code 2, and leaves the folder as it was."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sleuth.data.scenes.classes import NAMES

RECIPE = Path(__file__).parent / "tiny.toml"


@pytest.fixture(scope="module")
def kit(scenes: Path, coco_data: Path, make_model, tmp_path_factory) -> dict[str, Path]:
    """Sound and broken files by name, for use in command lines as {name}."""
    root = tmp_path_factory.mktemp("kit")
    files = {
        "recipe": RECIPE,
        "data": coco_data,
        "picture": scenes / "val" / "images" / "000001.png",
        "truth": scenes / "val" / "annotations.json",
        "model": make_model(root / "scenes.safetensors", names=tuple(NAMES)),
        "cats": make_model(root / "cats.safetensors", names=("cat", "dog")),
    }

    def put(name: str, content: bytes | str, suffix: str) -> None:
        files[name] = root / f"{name}{suffix}"
        files[name].write_bytes(content if isinstance(content, bytes) else content.encode())

    whole = files["picture"].read_bytes()
    put("cut_picture", whole[: len(whole) // 2], ".png")
    put("no_picture", "only text", ".png")
    put("empty_picture", "", ".jpg")
    put("no_video", "only text", ".mp4")
    put("cut_json", files["truth"].read_text()[:200], ".json")
    put("list_json", "[]", ".json")
    put("binary", b"\xff\xfe\x00\x01\x80", ".json")
    truth = json.loads(files["truth"].read_text())
    found = {"image_id": 1, "category_id": truth["categories"][0]["id"], "bbox": [1, 2, 3, 4], "score": 0.5}
    put("found", json.dumps([found]), ".json")
    put("found_other_image", json.dumps([found, found | {"image_id": 99}]), ".json")
    put("found_other_class", json.dumps([found | {"category_id": 7777}]), ".json")
    put("found_no_score", json.dumps([{key: found[key] for key in ("image_id", "category_id", "bbox")}]), ".json")
    put("found_bad_box", json.dumps([found | {"bbox": [1, 2, 3]}]), ".json")
    lost = truth | {"annotations": [truth["annotations"][0] | {"image_id": 99}]}
    put("truth_lost", json.dumps(lost), ".json")
    put("truth_no_categories", json.dumps({"images": [], "annotations": []}), ".json")
    put("bad_toml", "[run\nsteps = 3", ".toml")
    put("not_text", b"\xff\xfe\x80", ".toml")
    put("typo_key", RECIPE.read_text().replace("batch_size", "batch_sise"), ".toml")
    put("typo_section", RECIPE.read_text().replace("[optimizer]", "[optimiser]"), ".toml")
    put("typo_model", RECIPE.read_text().replace('"detr-small"', '"detr-smal"'), ".toml")
    put("wrong_type", RECIPE.read_text().replace("steps = 30", 'steps = "many"'), ".toml")
    put("bad_dim", RECIPE.read_text().replace("dim = 16", "dim = 18"), ".toml")
    put("pickle", pickle.dumps({"weights": [1.0]}), ".pth")
    put("text_model", "only text", ".safetensors")
    put("cut_model", files["model"].read_bytes()[:5000], ".safetensors")
    for name, change in BROKEN_MODELS.items():
        files[name] = root / f"{name}.safetensors"
        tensors, card = load_file(files["model"]), _card(files["model"])
        card = change(tensors, card)
        save_file(tensors, files[name], metadata=None if card is None else {"sleuth": json.dumps(card)})
    (root / "empty").mkdir()
    files["empty"] = root / "empty"
    files["broken_data"] = _broken_data(coco_data, root / "broken data")
    return files


def _card(path: Path) -> dict:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["sleuth"])


def _missing(tensors, card):
    del tensors["box_head.layers.0.weight" if "box_head.layers.0.weight" in tensors else sorted(tensors)[0]]
    return card


def _surplus(tensors, card):
    tensors["extra.weight"] = torch.zeros(1)
    return card


def _reshaped(tensors, card):
    tensors["class_head.weight"] = torch.zeros(4, 16)
    return card


def _nan(tensors, card):
    tensors["class_head.weight"][0, 0] = torch.nan
    return card


BROKEN_MODELS = {
    "missing_tensor": _missing,
    "surplus_tensor": _surplus,
    "reshaped_tensor": _reshaped,
    "nan_tensor": _nan,
    "no_card": lambda tensors, card: None,
    "empty_card": lambda tensors, card: {},
    "other_architecture": lambda tensors, card: card | {"architecture": "yolo"},
    "unknown_option": lambda tensors, card: card | {"config": card["config"] | {"wheels": 4}},
    "impossible_card": lambda tensors, card: card | {"config": card["config"] | {"num_heads": 5}},
    "few_names": lambda tensors, card: card | {"names": card["names"][:3], "category_ids": card["category_ids"][:3]},
    "few_things": lambda tensors, card: card | {"is_thing": [True, False]},
    "more_classes": lambda tensors, card: (
        card
        | {"config": card["config"] | {"num_classes": 16}, "names": [*card["names"], "x"]}
        | {"category_ids": [*card["category_ids"], 99], "is_thing": [*card.get("is_thing", [True] * 15), True]}
    ),
}


def _broken_data(sound: Path, target: Path) -> Path:
    import shutil

    shutil.copytree(sound, target)
    picture = target / "train" / "000002.png"
    picture.write_bytes(picture.read_bytes()[:40])
    return target


def listing(folder: Path) -> list[tuple[str, int]]:
    """Everything in a folder, with sizes of files."""
    return sorted((str(path), path.stat().st_size if path.is_file() else -1) for path in folder.rglob("*"))


@pytest.fixture
def refused(cli, tmp_path: Path, monkeypatch, kit):
    """Run a command in an empty folder; it has to fail as a user's fault does. Gives the line."""
    monkeypatch.chdir(tmp_path)

    def call(words: str) -> str:
        before = listing(tmp_path)
        said = cli(*(word.format(**kit) for word in words.split()))
        assert said.code == 2, said.err
        lines = said.err.splitlines()
        assert len(lines) == 1, said.err
        assert lines[0].startswith("sleuth: error: ")
        assert "Traceback" not in said.err
        assert said.out == ""
        assert listing(tmp_path) == before, "something was left behind"
        return lines[0]

    return call


# What is typed, and what the one line has to hold: what is wrong, where, and how to mend it.
PREDICT = [
    ("predict nothing.jpg", "nothing.jpg", "check the path"),
    ("predict {picture} nothing.jpg --json -", "nothing.jpg"),
    ("predict {empty}", "empty", "no picture"),
    ("predict no*such*.png", "no*such*.png", "pattern"),
    ("predict {cut_picture}", "cut_picture.png", "cut short", "replace it"),
    ("predict {no_picture}", "no_picture.png", "no picture"),
    ("predict {empty_picture}", "empty_picture.jpg", "empty"),
    ("predict {no_video}", "no_video.mp4", "video"),
    ("predict {picture} --threshold 1.5", "1.5", "threshold"),
    ("predict {picture} --threshold -0.1", "threshold"),
    ("predict {picture} --threshold nan", "threshold"),
    ("predict {picture} --threshold much", "--threshold", "number"),
    ("predict {picture} --batch-size 0", "batch"),
    ("predict {picture} --tile 0", "tiles of 0 pixels", "32"),
    ("predict {picture} --tile 31", "tiles of 31 pixels", "32"),
    ("predict {picture} --tile 640x16", "640x16", "32"),
    ("predict {picture} --tile abc", "--tile", "abc", "640"),
    ("predict {picture} --tile -5", "--tile", "-5"),
    ("predict {picture} --tile 64 --tile-overlap 0.9", "overlap of 0.9"),
    ("predict {picture} --tile 64 --tile-overlap -0.1", "overlap of -0.1"),
    ("predict {picture} --tile 64 --tile-overlap nan", "overlap of nan"),
    ("predict {picture} --tile-overlap 0.3", "--tile-overlap", "--tile 640"),
    ("predict {picture} --model detr-scenes-panoptic --tile 64 --panoptic {empty}", "tiles give boxes and masks, not"),
    ("predict {picture} --model {model} --tile 64 --masks", "--masks", "no mask head"),
    ("predict {picture} --model {model} --tile 64 --panoptic {empty}", "--tile", "--panoptic"),
    ("predict {picture} --devise cpu", "--devise", "--device"),
    ("predict", "sources"),
]
MODELS = [
    ("predict {picture} --model detr-scene", "detr-scene", "'detr-scenes'"),
    ("predict {picture} --model zebra", "zebra", "unknown model"),
    ("predict {picture} --model detr-r50", "detr-r50", "without weights", "train"),
    ("predict {picture} --model nothing.safetensors", "nothing.safetensors"),
    ("predict {picture} --model {empty}", "empty"),
    ("predict {picture} --model {pickle}", "pickle.pth", ".safetensors"),
    ("predict {picture} --model {text_model}", "text_model.safetensors"),
    ("predict {picture} --model {cut_model}", "cut_model.safetensors"),
    ("predict {picture} --model {missing_tensor}", "another model", "is missing"),
    ("predict {picture} --model {surplus_tensor}", "another model", "extra.weight"),
    ("predict {picture} --model {reshaped_tensor}", "another model", "class_head.weight", "[4, 16]", "[16, 16]"),
    ("predict {picture} --model {nan_tensor}", "class_head.weight", "not finite"),
    ("predict {picture} --model {no_card}", "no_card.safetensors", "card"),
    ("predict {picture} --model {empty_card}", "card"),
    ("predict {picture} --model {other_architecture}", "yolo"),
    ("predict {picture} --model {unknown_option}", "wheels"),
    ("predict {picture} --model {impossible_card}", "num_heads"),
    ("predict {picture} --model {few_names}", "3", "15"),
    ("predict {picture} --model {few_things}", "few_things", "things", "2", "15"),
    ("predict {picture} --model {more_classes}", "class_head.weight", "[16, 16]", "[17, 16]"),
    ("trace --model detr-r5", "detr-r5", "detr-r50"),
    ("demo --model {cats} --scenes 1", "cats.safetensors"),
]
DEVICES = [
    ("predict {picture} --model {model} --device toaster", "toaster", "cpu"),
    ("predict {picture} --model {model} --device cuda:x", "cuda:x"),
    ("predict {picture} --model {model} --device meta", "meta"),
    ("evaluate --model {model} --data {data} --device toaster", "toaster"),
    ("train {recipe} --device toaster", "toaster", "cpu"),
    ("train {recipe} --set run.precision=8-mixed", "8-mixed", "32-true"),
]
EVALUATE = [
    ("evaluate", "--model", "--data"),
    ("evaluate --model {model}", "--data"),
    ("evaluate --data {data}", "--model"),
    ("evaluate --ground-truth {truth}", "--predictions"),
    ("evaluate --predictions {found}", "--ground-truth"),
    ("evaluate --ground-truth {truth} --predictions {found} --model {model}", "--model"),
    ("evaluate --ground-truth {truth} --predictions {found} --layers", "--layers"),
    ("evaluate --model {model} --data nowhere", "nowhere"),
    ("evaluate --model {model} --data {empty}", "empty", "coco", "voc", "yolo"),
    ("evaluate --model {model} --data {data} --split vall", "vall", "train, val"),
    ("evaluate --model {model} --data scenes --split vall", "vall", "val"),
    ("evaluate --model {model} --data {data} --format cocoa", "cocoa", "coco"),
    ("evaluate --model {model} --data {data} --limit -1", "-1", "--limit"),
    ("evaluate --model {model} --data {data} --threshold 2", "threshold", "2"),
    ("evaluate --model {model} --data {data} --batch-size 0", "batch"),
    ("evaluate --model {model} --data {data} --tile 0", "tiles of 0 pixels"),
    ("evaluate --model {model} --data {data} --tile abc", "--tile", "abc"),
    ("evaluate --model {model} --data {data} --tile 32 --layers", "--layers"),
    ("evaluate --model {model} --data {data} --tile 32 --panoptic", "--panoptic"),
    ("evaluate --model {model} --data {data} --tile 32 --annotations instances", "--annotations instances"),
    ("evaluate --ground-truth {truth} --predictions {found} --tile 32", "--tile", "--model"),
    ("evaluate --model {cats} --data {data}", "cat", "dog", "class"),
    ("evaluate --model {model} --data {cut_json}", "cut_json.json", "JSON"),
    ("evaluate --model {model} --data {broken_data} --split train", "000002.png"),
    ("evaluate --ground-truth nothing.json --predictions {found}", "nothing.json"),
    ("evaluate --ground-truth {truth} --predictions nothing.json", "nothing.json"),
    ("evaluate --ground-truth {empty} --predictions {found}", "folder"),
    ("evaluate --ground-truth {cut_json} --predictions {found}", "cut_json.json", "line"),
    ("evaluate --ground-truth {binary} --predictions {found}", "binary.json", "UTF-8"),
    ("evaluate --ground-truth {list_json} --predictions {found}", "list_json.json", "annotation file"),
    ("evaluate --ground-truth {found} --predictions {truth}", "found.json", "swapped"),
    ("evaluate --ground-truth {truth_lost} --predictions {found}", "annotations[0]", "99"),
    ("evaluate --ground-truth {truth_no_categories} --predictions {found}", "categories"),
    ("evaluate --ground-truth {truth} --predictions {cut_json}", "cut_json.json"),
    ("evaluate --ground-truth {truth} --predictions {found_other_image}", "entry 1", "99"),
    ("evaluate --ground-truth {truth} --predictions {found_other_class}", "entry 0", "7777"),
    ("evaluate --ground-truth {truth} --predictions {found_no_score}", "score"),
    ("evaluate --ground-truth {truth} --predictions {found_bad_box}", "bbox"),
]
TRAIN = [
    ("train", "--data"),
    ("train nothing.toml", "nothing.toml"),
    ("train {empty}", "empty"),
    ("train {bad_toml}", "bad_toml.toml", "line"),
    ("train {not_text}", "not_text.toml"),
    ("train {typo_key}", "batch_sise", "'batch_size'"),
    ("train {typo_section}", "optimiser", "'optimizer'"),
    ("train {typo_model}", "detr-smal", "'detr-small'"),
    ("train {wrong_type}", "run.steps", "many"),
    ("train {bad_dim}", "dim = 18"),
    ("train {recipe} --model detr-smal", "detr-smal", "'detr-small'"),
    ("train --data nowhere", "nowhere"),
    ("train --data {empty}", "empty"),
    ("train --data {data} --model detr-smal", "detr-smal", "'detr-small'"),
    ("train --data {data} --format cocoa", "cocoa", "coco"),
    ("train --data {cut_json}", "cut_json.json", "JSON"),
    ("train --data {broken_data}", "000002.png", "data check"),
    ("train {recipe} --set data.path={data} --set data.train=vall", "vall", "train, val"),
    ("train {recipe} --epochs 1 --steps 1", "--epochs", "--steps"),
    ("train {recipe} --steps 0", "steps"),
    ("train {recipe} --batch-size -1", "batch_size"),
    ("train {recipe} --tile 64", "scenes", "data.tile"),
    ("train {recipe} --tile 0", "tiles of 0 pixels"),
    ("train {recipe} --tile abc", "--tile", "abc"),
    ("train {recipe} --tile-overlap 0.5", "--tile-overlap", "--tile 640"),
    ("train --data {data} --tile 64 --tile-overlap 0.9", "overlap of 0.9"),
    ("train {recipe} --set data.tile=20", "tiles of 20 pixels"),
    ("train {recipe} --set data.tile=[64]", "data.tile"),
    ("train {recipe} --set data.tile_overlap=1", "overlap of 1"),
    ("train {recipe} --rate nan", "rate"),
    ("train {recipe} --devices 0", "devices"),
    ("train {recipe} --set steps", "--set", "section.key=value"),
    ("train {recipe} --set run.step=3", "step", "'steps'"),
    ("train {recipe} --set runn.steps=3", "runn", "'run'"),
    ("train {recipe} --set run.steps=many", "run.steps", "many"),
    ("train {recipe} --set model.num_classes=3", "num_classes"),
    ("train {recipe} --resume", "--resume", "--out"),
    ("train --resume --out nowhere", "nowhere", "--resume"),
    ("train {recipe} --resume --out nowhere", "nowhere", "--resume"),
    ("train --resume --out {empty}", "empty", "--resume"),
    ("train {recipe} --out {data}", "not empty"),
    ("train {recipe} --weights nothing.safetensors", "nothing.safetensors"),
    ("train {recipe} --weights {pickle}", "pickle.pth"),
    ("train {recipe} --weights {missing_tensor}", "another model"),
    ("train {recipe} --weights {model} --set model.dim=32", "another model"),
]
OTHERS = [
    ("trace --size big", "big", "800x600"),
    ("trace --size 800", "800"),
    ("trace --size 0x600", "0x600"),
    ("trace --size 99999x99999", "99999"),
    ("data check nowhere", "nowhere"),
    ("data check {data} --split vall", "vall", "train, val"),
    ("data check {data} --format cocoa", "cocoa"),
    ("data check {empty}", "empty"),
    ("data check {cut_json}", "cut_json.json"),
    ("data scenes --out {data}", "not empty"),
    ("data scenes --out new --count 0", "0"),
    ("data scenes --out new --split vall", "vall", "val"),
    ("data scenes --out new --size 3x3", "3x3"),
    ("data scenes --out new --seed -1", "-1"),
    ("demo --scenes 0", "--scenes"),
    ("demmo", "demmo", "demo"),
]


def named(case: tuple[str, ...]) -> str:
    return case[0].replace("{", "").replace("}", "").replace("/", "-")


@pytest.mark.parametrize("case", [*PREDICT, *MODELS, *DEVICES, *EVALUATE, *TRAIN, *OTHERS], ids=named)
def test_one_clear_line(case: tuple[str, ...], refused):
    words, *expected = case
    line = refused(words)
    for part in expected:
        assert part in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="here cuda is no fault")
@pytest.mark.parametrize("words", ["predict {picture} --model {model}", "evaluate --model {model} --data {data}"])
def test_a_gpu_that_is_not_there(words: str, refused):
    for device in ("cuda", "cuda:1"):
        assert "cuda" in refused(f"{words} --device {device}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="here cuda is no fault")
def test_training_on_a_gpu_that_is_not_there(refused):
    line = refused("train {recipe} --device cuda")
    assert "cuda" in line
    assert "cpu" in line


def test_videos_need_pyav(refused, kit, monkeypatch, tmp_path: Path):
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    line = refused("predict {no_video} --model {model}")
    assert "PyAV" in line
    assert "video" in line


def test_sources_are_looked_up_before_anything_is_written(refused):
    refused("predict {picture} nothing.jpg --model {model} --out found --json found.json")
