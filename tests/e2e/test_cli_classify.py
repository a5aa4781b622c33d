"""Classes as a person uses them: train, evaluate, predict, convert, and what is told of bad input."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = [
    *("--set", "model.dim=16", "--set", "model.num_heads=2", "--set", "model.depth=1"),
    *("--set", "model.feedforward_dim=32", "--set", "model.image_hw=[8,8]", "--set", "model.patch_size=4"),
    *("--set", "run.log_every=5", "--batch-size", "8", "--device", "cpu", "--workers", "0", "--rate", "0.01"),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Dark and light pictures, in two splits."""
    root = tmp_path_factory.mktemp("classes") / "data"
    generator = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 6)):
        for low, label in ((0, "dark"), (150, "light"), (70, "middling")):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(low, low + 40, size=(10, 9, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / label / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory) -> Path:
    """A run folder of a short training."""
    from sleuth.cli.main import run

    out = tmp_path_factory.mktemp("run") / "run"
    words = ["train", "--data", pictures, "--model", "vit-cifar", "--steps", "40", *TINY, "--out", out]
    # Of the parts that other libraries' forms have.
    words += ["--set", "model.stem=patch", "--set", "model.activation=gelu"]
    assert run([str(word) for word in [*words, "--set", "run.evaluate_every=20"]]) == 0
    return out


def test_training_leaves_scores_pictures_and_a_recipe_that_resumes(trained: Path, cli):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    scores = [line["scores"] for line in lines if "scores" in line]
    assert len(scores) == 2
    assert {"top-1", "top-5", "ECE"} <= scores[0].keys()
    assert len(list((trained / "samples").glob("step-*.png"))) == 2
    said = cli("train", "--resume", "--out", trained)
    assert said.code == 0, said.err


def test_evaluation_prints_tables_and_writes_a_report(trained: Path, pictures: Path, cli, tmp_path: Path):
    words = ("evaluate", "--model", trained, "--data", pictures)
    said = cli(*words, "--out", tmp_path / "report")
    assert said.code == 0, said.err
    assert "18 pictures" in said.out
    assert "top-1" in said.out
    assert (tmp_path / "report" / "confusion.png").is_file()
    numbers = cli(*words, "--json").json
    assert numbers["pictures"] == 18
    assert numbers["top-1"] > 0.9
    assert np.asarray(numbers["confusion"]).trace() == round(18 * numbers["top-1"])
    assert cli(*words, "--json", "--limit", "5").json["pictures"] == 5


@pytest.mark.parametrize("probe", ["knn", "linear"])
def test_frozen_features_are_probed(trained: Path, pictures: Path, cli, probe: str):
    numbers = cli("evaluate", "--model", trained, "--data", pictures, "--probe", probe, "--json").json
    assert numbers["top-1"] > 0.9


def test_predictions_name_the_likeliest_classes(trained: Path, pictures: Path, cli, tmp_path: Path):
    folder = pictures / "val" / "light"
    said = cli("predict", folder, "--model", trained)
    assert said.code == 0, said.err
    assert len(said.out.splitlines()) == 6
    assert all("light" in line.split(": ")[1].split(",")[0] for line in said.out.splitlines())
    found = cli("predict", folder / "0.png", "--model", trained, "--json", "-", "--top", "2").json
    assert found[0]["classes"][0]["label"] == "light"
    assert len(found[0]["classes"]) == 2
    assert (found[0]["width"], found[0]["height"]) == (9, 10)
    assert cli("predict", folder, "--model", trained, "--json", tmp_path / "found.json", "--batch-size", "4").code == 0
    several = json.loads((tmp_path / "found.json").read_text())
    assert [each["image"] for each in several] == [str(folder / f"{number}.png") for number in range(6)]
    assert len(several[0]["classes"]) == 3
    assert sum(each["score"] for each in several[0]["classes"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("form", ["timm", "sleuth"])
def test_conversion_keeps_the_answers(trained: Path, pictures: Path, cli, tmp_path: Path, form: str):
    said = cli("convert", trained, "--to", form, "--out", tmp_path / "there")
    assert said.code == 0, said.err
    picture = pictures / "val" / "dark" / "1.png"
    ours, theirs = (
        cli("predict", picture, "--model", model, "--json", "-").json[0]["classes"]
        for model in (trained, tmp_path / "there")
    )
    assert [each["label"] for each in ours] == [each["label"] for each in theirs]
    assert [each["score"] for each in ours] == pytest.approx([each["score"] for each in theirs], abs=1e-4)


def test_a_zip_is_recognised_and_a_model_fine_tuned_on_it(trained: Path, pictures: Path, cli, tmp_path: Path):
    packed = tmp_path / "data.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(pictures.rglob("*.png")):
            archive.write(path, path.relative_to(pictures).as_posix())
    words = ("--steps", "3", "--batch-size", "4", "--device", "cpu", "--workers", "0", "--set", "run.evaluate_every=0")
    said = cli("train", "--data", packed, "--model", trained, *words, "--freeze", "backbone", "--out", tmp_path / "run")
    assert said.code == 0, said.err
    assert "3 classes kept, 0 fresh" in said.err
    assert "frozen: backbone" in said.err
    said = cli("evaluate", "--model", tmp_path / "run", "--data", packed, "--json")
    assert said.json["top-1"] > 0.9


def test_digits_are_built_in(cli, tmp_path: Path):
    words = ("--steps", "2", "--batch-size", "8", "--device", "cpu", "--workers", "0", "--set", "data.val_limit=20")
    said = cli("train", "--data", "digits", *words, "--set", "run.evaluate_every=0", "--out", tmp_path / "run")
    assert said.code == 0, said.err
    assert cli("evaluate", "--model", tmp_path / "run", "--data", "digits", "--limit", "10", "--json").code == 0


def bad_folder(kind: str, root: Path) -> Path:
    for label in ("cat", "dog") if kind != "one" else ("cat",):
        (root / "train" / label).mkdir(parents=True)
        if kind != "empty" or label == "cat":
            for number in range(10):
                Image.new("RGB", (9, 9)).save(root / "train" / label / f"{number}.png")
    if kind == "broken":
        (root / "train" / "dog" / "x0.jpg").write_bytes(b"\xff\xd8\xff cut")
    return root


@pytest.mark.parametrize(
    ("kind", "line"),
    [("one", "one class only, 'cat'"), ("empty", "one class only, 'cat'"), ("broken", "x0.jpg")],
)
def test_bad_folders_are_one_line(kind: str, line: str, cli, tmp_path: Path):
    said = cli("train", "--data", bad_folder(kind, tmp_path / "bad"), *TINY, "--out", tmp_path / "run")
    assert said.code == 2
    assert line in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "run").exists()


def test_broken_pictures_are_left_out_where_asked(cli, tmp_path: Path):
    words = ("--steps", "1", "--skip-faulty", *TINY, "--out", tmp_path / "run", "--set", "optimizer.batch_size=2")
    said = cli("train", "--data", bad_folder("broken", tmp_path / "bad"), *words)
    assert said.code == 0, said.err
    assert "left out: 1" in said.err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("predict", "PICTURE", "--model", "MODEL", "--masks"), "--masks is of a model that finds objects"),
        (("predict", "PICTURE", "--model", "MODEL", "--top", "0"), "0 classes are none"),
        (("predict", "PICTURE", "--top", "3"), "--top is of classifiers"),
        (("predict", "PICTURE", "--model", "vit-s16"), "architecture without weights"),
        (("evaluate", "--model", "MODEL", "--data", "DATA", "--layers"), "--layers is not of a model that names"),
        (("evaluate", "--model", "MODEL", "--data", "DATA", "--probe", "cubic"), "no probe 'cubic'"),
        (("evaluate", "--model", "MODEL", "--data", "digits"), "not the ten digits"),
        (("evaluate", "--model", "MODEL"), "what to measure on is not said"),
        (("convert", "MODEL", "--to", "original", "--out", "x"), "no form of a classifier"),
        (("train", "--data", "DATA", "--model", "MODEL", "--tile", "64"), "--tile is not of classes"),
        (("train", "--data", "DATA", "--model", "MODEL", "--scratch"), "--scratch takes an architecture"),
    ],
)
def test_words_that_do_not_fit_are_one_line(words, line: str, trained: Path, pictures: Path, cli):
    places = {"PICTURE": pictures / "val" / "dark" / "0.png", "MODEL": trained, "DATA": pictures}
    said = cli(*(places.get(word, word) for word in words))
    assert said.code == 2
    assert line in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_the_demo_shows_what_the_class_token_looked_at(cli, tmp_path: Path, size_of):
    said = cli("demo", "classify", "--out", tmp_path / "demo", "--scenes", "60")
    assert said.code == 0, said.err
    assert "4 x 4 = 16 words" in said.out
    assert "On 60 held-out digits" in said.out
    assert said.out.count("looked most at") == 6
    assert min(size_of(tmp_path / "demo" / "classify.png")) > 500
    assert "nothing to show called 'dance'" in cli("demo", "dance").err


def test_the_bundled_model_is_as_good_as_is_said(cli):
    numbers = cli("evaluate", "--model", "vit-digits", "--json").json
    assert numbers["pictures"] == 355
    assert numbers["top-1"] >= 0.985
