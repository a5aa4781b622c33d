"""Classes of pixels as a person uses them: check, train, evaluate, predict, and what is told of bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

TINY = [
    *("--set", "model.dim=16", "--set", "model.num_heads=2", "--set", "model.depth=1", "--set", "model.stem_dim=8"),
    *("--set", "model.feedforward_dim=32", "--set", "model.image_hw=[32,48]", "--set", "model.patch_size=4"),
    *("--set", "augmentation.crop_hw=[32,48]", "--set", "augmentation.scale=[1.0,1.2]", "--set", "run.log_every=5"),
    *("--batch-size", "4", "--device", "cpu", "--workers", "0", "--rate", "0.01"),
]


def write(root: Path, name: str, mask: np.ndarray, seed: int) -> None:
    """A picture whose colours follow from its mask, and the mask."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    colours = np.array([[30, 60, 200], [200, 60, 30], [60, 200, 60]])[np.minimum(mask, 2)]
    noise = np.random.default_rng(seed).integers(-20, 20, colours.shape)
    Image.fromarray((colours + noise).astype(np.uint8)).save(root / "images" / f"{name}.png")
    Image.fromarray(mask).save(root / "masks" / f"{name}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Blue sky above red ground, and green things on it; a row at the bottom is void. Sides are no multiples of 4."""
    root = tmp_path_factory.mktemp("semantic") / "data"
    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for number in range(count):
            mask = np.zeros((33, 50), dtype=np.uint8)
            mask[generator.integers(8, 20) :] = 1
            left = generator.integers(0, 34)
            mask[12:28, left : left + 16] = 2
            mask[-1] = 9
            write(root / split, str(number), mask, number)
    (root / "classes.txt").write_text("sky\nground\nthing\n")
    return root


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory) -> Path:
    """A run folder of a short training."""
    from sleuth.cli.main import run

    out = tmp_path_factory.mktemp("run") / "run"
    words = ["train", "--data", data, "--steps", "40", *TINY, "--set", "data.ignore=[9]", "--out", out]
    assert run([str(word) for word in [*words, "--set", "run.evaluate_every=20"]]) == 0
    return out


def test_training_leaves_scores_and_pictures(trained: Path):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    scores = [line["scores"] for line in lines if "scores" in line]
    assert len(scores) == 2
    assert {"mIoU", "pixel accuracy", "IoU thing"} <= scores[0].keys()
    assert len(list((trained / "samples").glob("step-*.png"))) == 2


def test_evaluation_prints_tables_and_writes_a_report(trained: Path, data: Path, cli, tmp_path: Path):
    words = ("evaluate", "--model", trained, "--data", data)
    said = cli(*words, "--out", tmp_path / "report")
    assert said.code == 0, said.err
    assert "3 pictures" in said.out
    assert "mIoU" in said.out
    for name in ("confusion.png", "iou.png", "pictures.png", "scores.json", "report.html"):
        assert (tmp_path / "report" / name).is_file()
    numbers = cli(*words, "--json").json
    assert numbers["mIoU"] > 0.7
    # The bottom row is void, as it was in training.
    assert numbers["pixels"] == 3 * 32 * 50
    assert numbers == json.loads((tmp_path / "report" / "scores.json").read_text())


def test_windows_sizes_and_mirrors_are_asked_for(trained: Path, data: Path, cli):
    words = ("evaluate", "--model", trained, "--data", data, "--json")
    whole = cli(*words).json
    assert cli(*words, "--window", "64").json == whole
    parts = cli(*words, "--window", "32x40", "--scales", "1,1.25", "--flip", "--batch-size", "2").json
    assert parts["mIoU"] > 0.7
    assert parts["confusion"] != whole["confusion"]


def test_predictions_are_drawn_written_as_numbers_and_told(trained: Path, data: Path, cli, tmp_path: Path):
    picture = data / "val" / "images" / "1.png"
    said = cli("predict", picture, "--model", trained, "--out", tmp_path / "found")
    assert said.code == 0, said.err
    assert "sky" in said.out
    with Image.open(tmp_path / "found" / "masks" / "1.png") as mask:
        assert (mask.mode, mask.size) == ("P", (50, 33))
        found = np.array(mask)
    truth = np.array(Image.open(data / "val" / "masks" / "1.png"))
    assert (found == truth)[truth != 9].mean() > 0.8
    with Image.open(tmp_path / "found" / "1.png") as drawn:
        assert drawn.size[0] == 400
    (listed,) = cli("predict", picture, "--model", trained, "--json", "-").json
    assert (listed["width"], listed["height"]) == (50, 33)
    assert {each["label"]: each["pixels"] for each in listed["classes"]} == {
        name: int((found == label).sum()) for label, name in enumerate(("sky", "ground", "thing"))
    }
    assert sum(each["share"] for each in listed["classes"]) == pytest.approx(1)


def test_a_loaded_model_answers_in_python(trained: Path, data: Path):
    import sleuth

    (found,) = sleuth.load(trained, "cpu").segment(data / "val" / "images" / "0.png")
    assert found.labels.shape == (33, 50)
    assert found.plot().size[0] == 50
    assert sum(found.shares.values()) == pytest.approx(1)


def test_a_run_resumes_and_a_model_is_a_start(trained: Path, data: Path, cli, tmp_path: Path):
    assert cli("train", "--resume", "--out", trained).code == 0
    words = ("--steps", "1", "--batch-size", "2", "--device", "cpu", "--workers", "0", "--set", "data.ignore=[9]")
    said = cli("train", "--data", data, "--model", trained, *words, "--freeze", "backbone", "--out", tmp_path / "run")
    assert said.code == 0, said.err
    assert "3 classes kept, 0 fresh" in said.err


def test_scenes_are_trained_on_by_word(cli, tmp_path: Path):
    words = ("--annotations", "semantic", "--steps", "1", *TINY, "--set", "data.val_limit=2", "--out", tmp_path / "run")
    said = cli("train", "--data", "scenes", *words)
    assert said.code == 0, said.err
    assert "22 classes" in said.err


def test_data_is_checked(data: Path, cli):
    said = cli("data", "check", data, "--ignore", "9")
    assert said.code == 0, said.out
    assert "3 pictures" in said.out
    assert "thing" in said.out
    said = cli("data", "check", data)
    assert said.code == 1
    assert "the value 9 in 50 pixels" in said.out
    assert cli("data", "check", data, "--json", "--ignore", "9").json[0]["pictures"] == 8


def bad(kind: str, root: Path) -> Path:
    for split in ("train", "val"):
        for number in range(3):
            mask = np.zeros((33, 50), dtype=np.uint8)
            mask[20:] = kind != "one"
            write(root / split, str(number), mask, number)
    mask = root / "train" / "masks" / "1.png"
    if kind == "one":
        (root / "classes.txt").write_text("ground\n")
    elif kind == "unknown":
        (root / "classes.txt").write_text("sky\nground\n")
        Image.fromarray(np.full((33, 50), 5, dtype=np.uint8)).save(mask)
    elif kind == "size":
        Image.fromarray(np.zeros((33, 51), dtype=np.uint8)).save(mask)
    elif kind == "missing":
        mask.unlink()
    elif kind == "colours":
        Image.fromarray(np.full((33, 50, 3), (1, 2, 3), dtype=np.uint8)).save(mask)
    elif kind == "list":
        (root / "classes.txt").write_text("sky\nsky\n")
    return root


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("one", "one class only, 'ground'"),
        ("unknown", "the value 5 in 1,650 pixels"),
        ("size", "the mask is 33x51, its picture 33x50"),
        ("missing", "there is no mask of this name"),
        ("colours", "no list says what they mean"),
        ("list", "two classes have the name 'sky'"),
    ],
)
def test_bad_folders_are_one_line(kind: str, line: str, cli, tmp_path: Path):
    said = cli("train", "--data", bad(kind, tmp_path / "bad"), *TINY, "--steps", "1", "--out", tmp_path / "run")
    assert said.code == 2
    assert line in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_faulty_pictures_are_left_out_where_asked(cli, tmp_path: Path):
    words = ("--steps", "1", "--skip-faulty", *TINY, "--out", tmp_path / "run")
    said = cli("train", "--data", bad("missing", tmp_path / "bad"), *words)
    assert said.code == 0, said.err
    assert "2 pictures" in said.err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--window", "1x1"), "too small"),
        (("--window", "wide"), "is not a size"),
        (("--scales", "1,two"), "are not numbers"),
        (("--scales", "100"), "out of range"),
        (("--tile", "64"), "give --window"),
        (("--top", "3"), "gives every pixel a class"),
    ],
)
def test_words_at_fault_are_one_line(words: tuple[str, ...], line: str, trained: Path, data: Path, cli):
    said = cli("predict", data / "val" / "images", "--model", trained, "--json", "-", *words)
    assert said.code == 2
    assert line in said.err


def test_other_models_have_no_use_for_windows(data: Path, cli):
    said = cli("predict", data / "val" / "images", "--model", "vit-digits", "--window", "64")
    assert (said.code, "--window is of a model that gives every pixel a class" in said.err) == (2, True)
    said = cli("evaluate", "--model", "vit-digits", "--flip")
    assert (said.code, "--flip is not of a model that names pictures" in said.err) == (2, True)


def test_pictures_of_a_line_are_refused_and_small_ones_enlarged(trained: Path, cli, tmp_path: Path):
    Image.new("RGB", (900, 1)).save(tmp_path / "line.png")
    said = cli("predict", tmp_path / "line.png", "--model", trained, "--json", "-")
    assert said.code == 2
    assert "smaller than a patch of 4x4" in said.err
    Image.new("RGB", (3, 2)).save(tmp_path / "small.png")
    (listed,) = cli("predict", tmp_path / "small.png", "--model", trained, "--json", "-").json
    assert (listed["width"], listed["height"]) == (3, 2)


def test_adapters_are_trained_beside_a_segmenter_and_merged(trained: Path, data: Path, cli, tmp_path: Path):
    words = ("train", "--model", trained, "--data", data, "--steps", "3", "--lora", "2", *TINY)
    said = cli(*words, "--set", "data.val=", "--set", "data.ignore=[9]", "--out", tmp_path / "adapted")
    assert said.code == 0, said.err
    assert "LoRA of rank 2 in 1 layers" in said.err
    before, after = (load_file(run / "best.safetensors") for run in (trained, tmp_path / "adapted"))
    assert after.keys() == before.keys()
    changed = {name for name in after if not name.startswith("head.") and not torch.equal(after[name], before[name])}
    assert changed == {"backbone.blocks.0.attention.qkv.weight"}
    steps = cli("trace", "--model", tmp_path / "adapted", "--json").json["steps"]
    assert steps[-1]["shape"] == [1, 3, 8, 12]


def test_commands_of_detectors_say_what_it_is_for(trained: Path, cli, tmp_path: Path):
    said = cli("convert", trained, "--to", "huggingface", "--out", tmp_path / "there")
    assert (said.code, "gives every pixel a class" in said.err) == (2, True)


def test_classes_that_the_model_lacks_are_told(trained: Path, cli, tmp_path: Path):
    root = bad("none", tmp_path / "other")
    (root / "classes.txt").write_text("sky\nwater\n")
    said = cli("evaluate", "--model", trained, "--data", root)
    assert said.code == 2
    assert "there is a class 'water'" in said.err
