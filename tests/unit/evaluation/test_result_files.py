"""COCO files: what is accepted, and that each fault is named with file, entry and mend."""

import json
import os

import numpy as np
import pytest

from sleuth.errors import UserError
from sleuth.evaluation.result_files import (
    read_files,
    read_ground_truth,
    read_predictions,
    to_results,
    write_results,
)

BOX = [1, 2, 30, 40]


def annotation(**changes):
    return {"id": 1, "image_id": 7, "category_id": 3, "bbox": BOX, "area": 900.5, "iscrowd": 0} | changes


def annotations(**changes):
    return {
        "images": [{"id": 9}, {"id": 7, "file_name": "a.jpg"}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 1, "name": "dog"}],
        "annotations": [annotation()],
    } | changes


def result(**changes):
    return {"image_id": 7, "category_id": 3, "bbox": BOX, "score": 0.5} | changes


def without(entry, key):
    return {name: value for name, value in entry.items() if name != key}


@pytest.fixture
def gt(tmp_path):
    def write(content):
        path = tmp_path / "gt.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.fixture
def truth(gt):
    return read_ground_truth(gt(annotations()))


@pytest.fixture
def dt(tmp_path):
    def write(content):
        path = tmp_path / "dt.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def fails(call, *words):
    with pytest.raises(UserError) as caught:
        call()
    line = caught.value.line()
    for word in words:
        assert word in line
    assert caught.value.mend
    assert "\n" not in line


def test_ground_truth_in_columns(truth):
    assert truth.image_ids == (9, 7)
    assert truth.category_ids == (3, 1)
    assert truth.names == ("cat", "dog")
    assert truth.pictures.tolist() == [1]
    assert truth.labels.tolist() == [0]
    assert truth.boxes_xywh_px.tolist() == [[1, 2, 30, 40]]
    assert truth.areas.tolist() == [900.5]
    assert truth.num_objects == 1


def test_area_and_crowd_may_be_missing(gt):
    entry = without(without(annotation(), "area"), "iscrowd")
    truth = read_ground_truth(gt(annotations(annotations=[entry, annotation(iscrowd=1)])))
    assert truth.areas.tolist() == [1200, 900.5]
    assert truth.crowd.tolist() == [False, True]
    assert truth.objects_per_class().tolist() == [1, 0]


def test_a_category_without_name_goes_by_its_id(gt):
    assert read_ground_truth(gt(annotations(categories=[{"id": 3}]))).names == ("3",)


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"images": [], "annotations": rows}])
def test_predictions_as_list_and_as_object(dt, truth, wrap):
    rows = [result(), result(image_id=9.0, category_id=1, score=1)]
    found = read_predictions(dt(wrap(rows)), truth)
    assert found.pictures.tolist() == [1, 0]
    assert found.labels.tolist() == [0, 1]
    assert found.scores.tolist() == [0.5, 1.0]


def test_no_predictions_are_no_fault(dt, truth):
    assert len(read_predictions(dt([]), truth)) == 0


def test_what_is_written_is_read_back(tmp_path, dt, truth):
    found = read_predictions(dt([result(bbox=[0.1, 0.2, 0.3, 1 / 3], score=1 / 7), result(image_id=9)]), truth)
    again = read_predictions(write_results(tmp_path / "out" / "p.json", truth, found), truth)
    for column in ("pictures", "labels", "boxes_xywh_px", "scores"):
        assert np.array_equal(getattr(found, column), getattr(again, column))
    assert to_results(truth, again)[1] == result(image_id=9)


def test_an_utf8_mark_is_no_fault(gt):
    assert read_ground_truth(gt("\ufeff" + json.dumps(annotations()))).num_objects == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["not JSON", "line 1"]),
        ('{"images": [', ["not JSON", "cut short"]),
        ("[" * 100_000, ["cannot be read"]),
        ([], ["not a COCO annotation file"]),
        ([result()], ["swapped"]),
        (without(annotations(), "images"), ['"images" is missing']),
        (without(annotations(), "annotations"), ['"annotations" is missing']),
        (without(annotations(), "categories"), ['"categories" is missing']),
        (annotations(images={}), ['"images" is not a list']),
        (annotations(categories=[]), ["at least one category"]),
        (annotations(images=[{"id": 7}, {"id": 7}]), ["images[1]", "id 7", "images[0]"]),
        (annotations(categories=[{"id": 3}, {"id": 3}]), ["categories[1]", "id 3"]),
        (annotations(images=[{"id": "7"}]), ["images[0]", '"id" is "7"', "whole number"]),
        (annotations(images=[7]), ["images[0]", "JSON object"]),
        (annotations(annotations=[annotation(), annotation(image_id=8)]), ["annotations[1]", "8", "images", "9, 7"]),
        (annotations(annotations=[annotation(category_id=2)]), ["annotations[0]", "2", "categories"]),
        (annotations(annotations=[without(annotation(), "bbox")]), ["annotations[0]", '"bbox" is missing']),
        (annotations(annotations=[annotation(bbox=[1, 2, 3])]), ["annotations[0]", "[1, 2, 3]", "four"]),
        (annotations(annotations=[annotation(bbox=[1, 2, -3, 4])]), ["annotations[0]", "negative"]),
        (annotations(annotations=[annotation(area=float("nan"))]), ["annotations[0]", '"area" is NaN']),
        (annotations(annotations=[annotation(iscrowd="0")]), ["annotations[0]", "iscrowd"]),
    ],
)
def test_faults_of_ground_truth(gt, content, words):
    path = gt(content)
    fails(lambda: read_ground_truth(path), "gt.json", *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", ["not JSON"]),
        ("3", ["not a COCO result file", "list"]),
        ({"images": []}, ['"annotations" is missing', "score"]),
        ({"annotations": [annotation()]}, ["annotations[0]", '"score" is missing', "ground truth"]),
        ([{"image": "a.jpg", "detections": []}], ["sleuth predict", "predictions.json"]),
        ([result(), 3], ["entry 1", "JSON object"]),
        ([without(result(), "image_id")], ["entry 0", '"image_id" is missing']),
        ([without(result(), "score")], ["entry 0", '"score" is missing']),
        ([result(), result(image_id=1)], ["entry 1", '"image_id" is 1', "ground truth", "9, 7"]),
        ([result(category_id=17)], ["entry 0", '"category_id" is 17', "3, 1"]),
        ([result(category_id=None)], ["entry 0", '"category_id" is null']),
        ([result(score=float("nan"))], ["entry 0", '"score" is NaN', "finite"]),
        ([result(score="0.5")], ["entry 0", '"score" is "0.5"']),
        ([result(score=True)], ["entry 0", '"score" is true']),
        ([result(bbox=[0, 0, float("inf"), 1])], ["entry 0", "bbox", "finite"]),
        ([result(bbox=[0, 0, 10**400, 1])], ["entry 0", "bbox", "finite"]),
        ([result(bbox=[50, 50, 10, -40])], ["entry 0", "negative", "[x, y, width, height]"]),
    ],
)
def test_faults_of_predictions(dt, truth, content, words):
    path = dt(content)
    fails(lambda: read_predictions(path, truth), "dt.json", *words)


def test_faults_of_the_file_itself(tmp_path):
    fails(lambda: read_ground_truth(tmp_path / "none.json"), "none.json", "no such file")
    fails(lambda: read_ground_truth(tmp_path), "folder")
    binary = tmp_path / "weights.json"
    binary.write_bytes(b"\x80\x02\xff")
    fails(lambda: read_ground_truth(binary), "weights.json", "UTF-8")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(gt):
    path = gt(annotations())
    path.chmod(0)
    fails(lambda: read_ground_truth(path), "permission")


SIZES = [{"id": 9, "height": 10, "width": 20}, {"id": 7, "height": 10, "width": 20}]
SQUARE = [[2, 2, 6, 2, 6, 6, 2, 6]]
RUNS = {"size": [10, 20], "counts": [22, 4, 6, 4, 6, 4, 6, 4, 144]}


def with_masks(**changes):
    entry = without(annotation(segmentation=SQUARE), "area")
    return annotations(images=SIZES, annotations=[entry]) | changes


def test_masks_of_both_files(gt, dt):
    """The same square three times: as outline, as runs, and as runs written by this program."""
    rows = [without(result(segmentation=RUNS), "bbox"), result(segmentation=SQUARE)]
    truth, found = read_files(gt(with_masks()), dt(rows))
    assert truth.areas.tolist() == [16]
    assert truth.sizes_hw == ((10, 20), (10, 20))
    assert truth.masks[0] == found.masks[0] == found.masks[1]
    assert found.boxes_xywh_px.tolist() == [[2, 2, 4, 4], BOX]
    text = to_results(truth, found)[0]["segmentation"]
    assert text["size"] == [10, 20]
    again = read_predictions(dt([result(segmentation=text)]), truth)
    assert again.masks[0] == truth.masks[0]


def test_masks_are_read_only_where_both_files_have_them(gt, dt):
    truth, found = read_files(gt(with_masks()), dt([result()]))
    assert (truth.masks, found.masks) == (None, None)
    truth, found = read_files(gt(annotations()), dt([result(segmentation=SQUARE)]))
    assert (truth.masks, found.masks) == (None, None)


@pytest.mark.parametrize(
    ("truth_changes", "rows", "words"),
    [
        ({}, [result(segmentation=RUNS), result()], ["dt.json", "entry 1", '"segmentation" is missing']),
        ({}, [result(segmentation=[[1, 2]])], ["entry 0", '"segmentation"', "1 points"]),
        ({}, [result(segmentation={"size": [9, 9], "counts": [81]})], ["entry 0", "smaller than the picture", "9x9"]),
        ({}, [result(segmentation={"size": [10, 20], "counts": [3, 4]})], ["entry 0", "7 pixels of 200"]),
        ({}, [result(segmentation={"size": [10, 20], "counts": "\u00e9"})], ["entry 0", "cannot be read"]),
        ({"images": [{"id": 9}, {"id": 7}]}, [result(segmentation=RUNS)], ["gt.json", "images[0]", '"height"']),
        (
            {"images": [SIZES[0], {"id": 7, "height": 0, "width": 4}]},
            [result(segmentation=RUNS)],
            ["gt.json", "images[1]", "4x0"],
        ),
        (
            {"annotations": [annotation(segmentation=SQUARE), annotation()]},
            [result(segmentation=RUNS)],
            ["gt.json", "annotations[1]", '"segmentation" is missing'],
        ),
    ],
)
def test_faults_of_masks(gt, dt, truth_changes, rows, words):
    files = gt(with_masks(**truth_changes)), dt(rows)
    fails(lambda: read_files(*files), *words)
