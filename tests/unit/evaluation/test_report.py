"""Tables and the folder that an evaluation leaves behind."""

import csv
import json
from dataclasses import replace

import pytest
from PIL import Image

from sleuth.errors import UserError
from sleuth.evaluation.detection import measure
from sleuth.evaluation.layers import study_layers
from sleuth.evaluation.report import write_report
from sleuth.evaluation.tables import tables, text


@pytest.fixture
def evaluation(truth_of, found_of):
    truth = truth_of([(0, 0, 0, 0), (0, 1, 200, 0)], names=("cat", "dög [red]", "bird"))
    found = found_of([(0, 0, 0, 0, 0.9), (0, 0, 3, 0, 0.8), (0, 1, 220, 0, 0.7)])
    return replace(measure(truth, found), layers=study_layers(truth, [found, found]))


def test_tables_as_text(evaluation):
    shown = text(evaluation)
    assert "AP50     1.000         2   at IoU 0.50" in shown
    assert "APs          -         0   small objects" in shown
    assert "APl      0.700         2   large objects" in shown
    assert "dög [red]" in shown
    assert "Decoder layers (NMS within a class at IoU 0.5)" in shown
    assert "33.3%" in shown
    assert "\x1b" not in shown


def test_only_the_most_frequent_classes(evaluation):
    assert "Classes: the 1 most frequent of 3" in text(evaluation, most_classes=1)
    assert len(tables(evaluation)) == 3
    assert len(tables(replace(evaluation, layers=None))) == 2


def test_everything_as_json(evaluation):
    content = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert content["pictures"] == 1
    assert content["objects"] == 2
    assert content["objects_per_size"] == {"small": 0, "medium": 0, "large": 2}
    assert content["scores"]["AP"] == pytest.approx(0.7)
    assert content["scores"]["APs"] is None
    assert content["per_class"][2] == {
        "name": "bird",
        "category_id": 7,
        "objects": 0,
        "predictions": 0,
        "ap": None,
        "ap50": None,
        "ap75": None,
        "ar": None,
    }
    assert content["layers"]["layers"][1]["layer"] == 2


def test_the_folder(evaluation, tmp_path):
    folder = tmp_path / "runs" / "one"
    files = write_report(evaluation, folder)
    assert sorted(path.name for path in files) == sorted(path.name for path in folder.iterdir())
    assert {path.name for path in files} == {
        "scores.json",
        "per_class.json",
        "per_class.csv",
        "confusion.png",
        "precision_recall.png",
        "predictions.json",
        "layers.csv",
        "layers.png",
        "report.html",
    }
    assert json.loads((folder / "scores.json").read_text(encoding="utf-8")) == evaluation.to_json()
    assert json.loads((folder / "per_class.json").read_text(encoding="utf-8")) == evaluation.to_json()["per_class"]
    with (folder / "per_class.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["cat", "dög [red]", "bird"]
    assert (rows[1]["ap50"], rows[2]["ap50"]) == ("1.0", "")
    assert len(json.loads((folder / "predictions.json").read_text())) == 3
    for name in ("confusion.png", "precision_recall.png", "layers.png"):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 300
        assert f'<img src="{name}"' in (folder / "report.html").read_text(encoding="utf-8")


def test_the_same_files_twice(evaluation, tmp_path):
    first = [path.read_bytes() for path in write_report(evaluation, tmp_path / "a")]
    assert first == [path.read_bytes() for path in write_report(evaluation, tmp_path / "b")]


def test_a_place_that_cannot_be_written_to(evaluation, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError) as caught:
        write_report(evaluation, tmp_path / "file" / "out")
    assert caught.value.mend
