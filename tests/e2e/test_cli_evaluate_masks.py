"""Masks and panoptic quality as a user measures them: models on data, and files of results."""

import json

import pytest
import torch

from sleuth.data.scenes import SceneSource
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.checkpoint import detector_card, save_model

TINY = {
    "backbone": "resnet10",
    "backbone_width": 8,
    "dim": 16,
    "num_heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "feedforward_dim": 16,
    "num_queries": 12,
    "masks": True,
}


def write_model(path, source, seed=3):
    torch.manual_seed(seed)
    config = DetrConfig(num_classes=len(source.names), **TINY)
    model = build_detr(config)
    # Fresh heads answer "nothing": these are sure of themselves.
    torch.nn.init.normal_(model.class_head.weight, std=3.0)
    card = detector_card(
        config,
        names=source.names,
        category_ids=source.category_ids,
        preprocess=Preprocess(shortest=64, longest=64),
        is_thing=source.is_thing,
    )
    save_model(path, model, card)
    return path


@pytest.fixture(scope="module")
def panoptic_model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "p.safetensors", SceneSource(annotations="panoptic"))


@pytest.fixture
def data(cli, tmp_path):
    """Three panoptic scenes as COCO files."""
    assert cli("data", "scenes", "--out", tmp_path / "set", "--count", 3, "--annotations", "panoptic").code == 0
    return tmp_path / "set"


def test_a_panoptic_model_on_scenes(cli, panoptic_model, tmp_path):
    words = ["evaluate", "--model", panoptic_model, "--data", "scenes", "--limit", 2]
    said = cli(*words, "--out", tmp_path / "report")
    assert said.code == 0, said.err
    for part in (
        "boxes",
        "masks",
        "Panoptic quality",
        "things",
        "stuff",
        "Classes, by masks",
        "at most 100 predictions",
    ):
        assert part in said.out
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names >= {
        *("scores.json", "report.html", "pictures.png", "predictions.json", "per_class.csv", "mask_per_class.csv"),
        *("panoptic.csv", "panoptic.png", "mask_precision_recall.png"),
    }
    page = (tmp_path / "report" / "report.html").read_text()
    assert 'src="pictures.png"' in page
    assert "Panoptic quality" in page
    numbers = cli(*words, "--json").json
    assert json.loads((tmp_path / "report" / "scores.json").read_text()) == numbers
    assert numbers["panoptic"]["pictures"] == 2
    assert set(numbers["panoptic"]) == {"all", "things", "stuff", "per_class", "pictures"}


def test_files_and_scenes_give_the_same(cli, panoptic_model, data):
    """The scenes of `data scenes` are those of the train split; nothing is lost on the way through the files."""
    words = ["evaluate", "--model", panoptic_model, "--json"]
    of_files = cli(*words, "--data", data, "--annotations", "panoptic").json
    of_scenes = cli(*words, "--data", "scenes", "--split", "train", "--limit", 3).json
    assert of_files["panoptic"] == of_scenes["panoptic"]
    assert of_files["masks"]["scores"] == pytest.approx(of_scenes["masks"]["scores"], abs=1e-9)


def test_what_is_read_of_the_data(cli, panoptic_model, data):
    words = ["evaluate", "--model", panoptic_model, "--data", data, "--json"]
    boxes = cli(*words, "--annotations", "boxes").json
    assert (boxes["masks"], boxes["panoptic"]) == (None, None)
    things = cli(*words, "--annotations", "instances").json
    assert things["masks"] is not None
    assert things["panoptic"] is None
    assert cli(*words, "--annotations", "instances", "--panoptic").json["panoptic"]["stuff"]["pq"] is None


def test_a_truth_against_itself_is_perfect(cli, data):
    said = cli("evaluate", "--ground-truth", data / "panoptic.json", "--predictions", data / "panoptic.json", "--json")
    assert said.code == 0, said.err
    assert said.json["all"]["pq"] == said.json["things"]["pq"] == said.json["stuff"]["pq"] == 1.0


def test_panoptic_files_with_a_report(cli, golden, tmp_path):
    folder = golden / "panoptic_quality"
    words = ["--ground-truth-folder", folder / "ground_truth", "--predictions-folder", folder / "predictions"]
    files = ["--ground-truth", folder / "ground_truth.json", "--predictions", folder / "predictions.json"]
    said = cli("evaluate", *files, *words, "--out", tmp_path / "r")
    assert said.code == 0, said.err
    assert "0.406" in said.out
    assert {path.name for path in (tmp_path / "r").iterdir()} == {
        *("scores.json", "report.html", "panoptic.csv", "panoptic.png")
    }


def test_results_with_masks_are_measured_again_from_their_file(cli, panoptic_model, data, tmp_path):
    of_model = cli(
        *("evaluate", "--model", panoptic_model, "--data", data, "--annotations", "instances", "--json"),
        *("--out", tmp_path / "r", "--max-detections", 11),
    ).json
    assert "AR11" in of_model["masks"]["scores"]
    found = tmp_path / "r" / "predictions.json"
    assert "segmentation" in json.loads(found.read_text())[0]
    words = ["evaluate", "--ground-truth", data / "annotations.json", "--predictions", found, "--json"]
    of_file = cli(*words, "--max-detections", 11).json
    assert of_file["masks"]["scores"] == pytest.approx(of_model["masks"]["scores"], abs=1e-9)
    assert of_file["max_detections"] == 11


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("--model {model} --data {data} --annotations masks", ("masks", "boxes, instances, panoptic")),
        ("--model {model} --data {data} --annotations boxes --panoptic", ("without masks", "--annotations")),
        ("--model {model} --data {data} --max-detections 3", ("--max-detections", "10 or more")),
        ("--model {model} --data {data} --predictions-folder {data}", ("--ground-truth",)),
        ("--ground-truth {data}/panoptic.json --predictions nowhere.json", ("nowhere", "no such")),
        ("--ground-truth {data}/panoptic.json --predictions {data}/annotations.json", ("annotations",)),
        (
            "--ground-truth {data}/panoptic.json --predictions {data}/panoptic.json --predictions-folder {data}",
            ("no such picture", ".png"),
        ),
        (
            "--ground-truth {data}/annotations.json --predictions {data}/annotations.json --predictions-folder {data}",
            ("panoptic files only",),
        ),
        ("--ground-truth {data}/panoptic.json --predictions {data}/panoptic.json --panoptic", ("--panoptic",)),
    ],
)
def test_what_cannot_be_measured_ends_in_one_line(cli, panoptic_model, data, words, parts):
    said = cli("evaluate", *(word.format(model=panoptic_model, data=data) for word in words.split()))
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert all(part in said.err for part in parts), said.err


@pytest.mark.parametrize("score", ["PQ", "mask AP50"])
def test_a_training_keeps_its_best_by_masks(cli, tmp_path, score):
    sets = {
        **{f"model.{key}": str(value).lower() if value is True else value for key, value in TINY.items()},
        "data.annotations": "panoptic",
        "data.train_limit": 4,
        "data.val_limit": 2,
        "run.score": score,
        "run.workers": 0,
        "run.threads": 1,
        "augmentation.scales": "[64]",
        "augmentation.color_jitter": 0,
    }
    words = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    more = ["--steps", 1, "--batch-size", 2, "--device", "cpu", "--out", tmp_path / "run"]
    said = cli("train", "--data", "scenes", "--model", "detr-scenes", "--scratch", *more, *words)
    assert said.code == 0, said.err
    assert f"best {score} " in said.err
    log = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    (scores,) = [entry["scores"] for entry in log if "scores" in entry]
    assert {"AP", "mask AP", "PQ", "SQ", "RQ", "PQ things", "PQ stuff"} <= set(scores)
