"""Which split is trained on, and which is measured on, where data comes in one."""

import json
from pathlib import Path

import pytest

from sleuth.cli.splits import detection_splits, has_learned_the_rest, splits
from sleuth.cli.train_words import TrainWords
from sleuth.data.open import open_data


def write_coco(folder: Path, pictures: int, objects: int) -> Path:
    """Data in one split, of which the first pictures have an object each."""
    page = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 60, "height": 40} for n in range(pictures)],
        "annotations": [{"id": n, "image_id": n, "category_id": 7, "bbox": [1, 1, 4, 4]} for n in range(objects)],
        "categories": [{"id": 7, "name": "dog"}],
    }
    (folder / "annotations.json").write_text(json.dumps(page))
    return folder


def chosen(folder: Path) -> dict:
    return detection_splits(TrainWords(data=str(folder)), str(folder))


def test_a_fifth_is_held_out_of_data_in_one_split(tmp_path):
    folder = write_coco(tmp_path, 40, 40)
    assert chosen(folder) == {"train": "rest", "val": "held-out"}
    assert len(open_data(folder, split="rest")) > len(open_data(folder, split="held-out")) > 0


@pytest.mark.parametrize(("pictures", "objects"), [(24, 24), (40, 1)])
def test_few_pictures_are_all_learned_from(tmp_path, pictures, objects):
    assert chosen(write_coco(tmp_path, pictures, objects)) == {"train": "all", "val": ""}


def test_splits_that_are_there_are_taken():
    assert splits(("train2017", "val2017", "test")) == {"train": "train2017", "val": "val2017"}
    assert splits(("train", "test")) == {"train": "train", "val": "test"}


def test_a_run_tells_what_it_has_learned_from(tmp_path):
    run, data = tmp_path / "run", tmp_path / "data"
    run.mkdir()
    assert not has_learned_the_rest(str(run / "best.safetensors"), data)
    assert not has_learned_the_rest(None, data)
    (run / "recipe.toml").write_text(f'[data]\npath = "{data.as_posix()}"\ntrain = "rest"\nval = "held-out"\n')
    assert has_learned_the_rest(str(run / "best.safetensors"), data)
    assert has_learned_the_rest(str(run), data)
    assert not has_learned_the_rest(str(run), tmp_path / "others")
    (run / "recipe.toml").write_text(f'[data]\npath = "{data.as_posix()}"\ntrain = "all"\n')
    assert not has_learned_the_rest(str(run), data)


def test_a_relative_path_counts_from_where_the_run_was_started(tmp_path, monkeypatch):
    run, data, elsewhere = tmp_path / "run", tmp_path / "data", tmp_path / "elsewhere"
    for folder in (run, elsewhere):
        folder.mkdir()
    (run / "recipe.toml").write_text('[data]\npath = "data"\ntrain = "rest"\nval = "held-out"\n')
    (run / "environment.json").write_text(json.dumps({"folder": str(tmp_path)}))
    monkeypatch.chdir(elsewhere)
    assert has_learned_the_rest(str(run), data)
    assert not has_learned_the_rest(str(run), elsewhere / "data")
