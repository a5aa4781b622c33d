"""Scenes written as a COCO data set."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sleuth.data.checks import check_data
from sleuth.data.open import open_data
from sleuth.data.scenes import SceneSource
from sleuth.data.scenes.export import run_lengths, segments_of, write_coco
from sleuth.data.source import PictureSource
from sleuth.errors import UserError


def unpack(code):
    values = np.concatenate([np.full(length, number % 2) for number, length in enumerate(code["counts"])])
    return values.reshape(code["size"], order="F").astype(bool)


def test_the_written_set_is_what_was_composed(tmp_path):
    done = []
    path = write_coco(tmp_path / "set", 5, "val", seed=2, progress=done.append)
    assert done == [1, 2, 3, 4, 5]
    content = json.loads(path.read_text())
    source = SceneSource("val", 5, 2)
    assert [category["name"] for category in content["categories"]] == list(source.names)
    assert [category["id"] for category in content["categories"]] == list(source.category_ids)
    assert {category["supercategory"] for category in content["categories"]} == {"digit", "shape"}
    assert [annotation["id"] for annotation in content["annotations"]] == list(
        range(1, len(content["annotations"]) + 1)
    )
    for index, picture in enumerate(content["images"]):
        scene = source.render(index)
        with Image.open(tmp_path / "set" / "images" / picture["file_name"]) as image:
            assert np.array_equal(np.asarray(image), scene.image)
            assert image.size == (picture["width"], picture["height"])
        mine = [annotation for annotation in content["annotations"] if annotation["image_id"] == picture["id"]]
        assert len(mine) == len(scene.objects)
        for annotation, thing in zip(mine, scene.objects, strict=True):
            x, y, width, height = annotation["bbox"]
            assert (x, y, x + width, y + height) == thing.box_xyxy_px
            assert annotation["category_id"] == thing.label + 1
            assert annotation["area"] == thing.visible_mask.sum()
            assert annotation["iscrowd"] == 0
            assert len(annotation["keypoints"]) == 15
            assert np.array_equal(unpack(annotation["segmentation"]), thing.visible_mask)
    assert sorted(file.name for file in (tmp_path / "set").iterdir()) == ["annotations.json", "images"]


def test_panoptic_scenes_come_back_as_they_were(tmp_path):
    count = 6
    write_coco(tmp_path / "set", count, "val", annotations="panoptic")
    assert sorted(file.name for file in (tmp_path / "set").iterdir()) == [
        "annotations.json",
        "images",
        "panoptic",
        "panoptic.json",
    ]
    for annotations in ("panoptic", "instances"):
        data = open_data(tmp_path / "set", annotations=annotations)
        assert not check_data(data, deep=True).errors
        read, made = PictureSource(data), SceneSource("val", count, annotations=annotations)
        assert (read.names, read.category_ids, read.is_thing) == (made.names, made.category_ids, made.is_thing)
        for index in range(count):
            one, other = read.load(index), made.load(index)
            for part in ("image", "boxes_xyxy_px", "labels", "masks"):
                assert torch.equal(getattr(one, part), getattr(other, part)), part
            assert data.records[index].areas.tolist() == other.masks.sum((1, 2)).tolist()


def test_stuff_of_one_kind_is_written_as_one_segment():
    scene = next(found for index in range(50) if len((found := SceneSource().render(index)).regions) == 3)
    twins = tuple(replace(region, label=2) for region in scene.regions)
    ids, listed = segments_of(replace(scene, regions=twins))
    (stuff,) = listed[len(scene.objects) :]
    assert (stuff["id"], stuff["category_id"]) == (1, 18)
    assert np.array_equal(ids == 1, (scene.segments > 0) & (scene.segments < 100))


def test_boxes_alone_have_no_masks(tmp_path):
    content = json.loads(write_coco(tmp_path / "set", 1, annotations="boxes").read_text())
    assert all("segmentation" not in annotation for annotation in content["annotations"])


def test_run_lengths_begin_outside():
    mask = np.array([[True, False], [True, True]])
    assert run_lengths(mask) == {"size": [2, 2], "counts": [0, 2, 1, 1]}
    assert run_lengths(~mask) == {"size": [2, 2], "counts": [2, 1, 1]}
    assert run_lengths(np.zeros((2, 3), bool)) == {"size": [2, 3], "counts": [6]}


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not empty"):
        write_coco(tmp_path, 1)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="out"):
        write_coco(tmp_path / "out", 1)
