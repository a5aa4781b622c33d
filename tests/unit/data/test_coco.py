"""COCO JSON as it is found in the wild: layouts, ids, faults."""

import json

import pytest

from sleuth.data.checks import check_data
from sleuth.data.open import available_splits, open_data
from sleuth.errors import UserError


def test_labels_are_contiguous_and_ids_are_kept(tmp_path, make_coco, kinds):
    make_coco(tmp_path / "annotations" / "instances_train2017.json", tmp_path / "train2017")
    data = open_data(tmp_path, split="train")
    assert (data.format, data.split, data.names, data.category_ids) == ("coco", "train2017", ("cat", "dog"), (3, 7))
    first, second = data.records
    assert (first.id, first.name, first.size_hw, first.path) == (
        11,
        "a.jpg",
        (40, 60),
        tmp_path / "train2017" / "a.jpg",
    )
    assert first.labels.tolist() == [1, 0]
    assert first.boxes_xyxy_px.tolist() == [[5, 6, 15, 18], [20, 10, 50, 30]]
    assert first.areas.tolist() == [77, 600]
    assert first.annotation_ids.tolist() == [1, 2]
    assert len(second) == 0
    assert kinds(data) == [("category-gap", None)]


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("annotations/instances_val.json", "val"),
        ("annotations/instances_val.json", "images/val"),
        ("annotations/val.json", "images"),
        ("annotations.json", "images"),
        ("annotations.json", "."),
        ("train/_annotations.coco.json", "train"),
        ("result.json", "data"),
        ("labels.json", "data"),
    ],
)
def test_layouts(tmp_path, make_coco, file, folder):
    make_coco(tmp_path / file, tmp_path / folder)
    for path in (tmp_path, tmp_path / file):
        data = open_data(path)
        assert [record.path for record in data.records] == [tmp_path / folder / name for name in ("a.jpg", "b.jpg")]


def test_several_splits(tmp_path, make_coco):
    for split in ("train", "valid", "test"):
        make_coco(tmp_path / split / "_annotations.coco.json", tmp_path / split)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "captions_train.json").write_text("{}")
    (tmp_path / "results.json").write_text("[]")
    assert available_splits(tmp_path) == ("train", "valid", "test")
    assert open_data(tmp_path, split="val").split == "valid"
    with pytest.raises(UserError, match="several splits: train, valid, test"):
        open_data(tmp_path)
    with pytest.raises(UserError, match=r"no split 'dev2'.*train, valid, test"):
        open_data(tmp_path, split="dev2")


def test_pictures_named_apart(tmp_path, make_coco):
    file = make_coco(tmp_path / "a" / "x.json", tmp_path / "elsewhere")
    assert open_data(file, images=tmp_path / "elsewhere").records[0].path == tmp_path / "elsewhere" / "a.jpg"
    with pytest.raises(UserError, match="no such folder of pictures"):
        open_data(file, images=tmp_path / "nowhere")


def test_names_with_folders_and_backslashes(tmp_path, make_coco, make_picture):
    make_picture(tmp_path / "images" / "sub" / "a.jpg")
    make_picture(tmp_path / "images" / "b.jpg")
    images = [
        {"id": 1, "file_name": "sub\\a.jpg", "height": 40, "width": 60},
        {"id": 2, "file_name": "C:/old/place/b.jpg", "height": 40, "width": 60},
    ]
    make_coco(tmp_path / "annotations.json", None, images=images, annotations=[])
    data = open_data(tmp_path)
    assert [record.path.relative_to(tmp_path).as_posix() for record in data.records] == [
        "images/sub/a.jpg",
        "images/b.jpg",
    ]


def annotation(id, box, image_id=11, category_id=7, **more):
    return {"id": id, "image_id": image_id, "category_id": category_id, "bbox": box, **more}


def test_each_fault_of_an_annotation_is_told_and_the_rest_is_kept(tmp_path, make_coco, kinds):
    annotations = [
        annotation(1, [5, 5, 10, 10]),
        annotation(2, [5, 5, 10, 10], image_id=99),
        annotation(3, [5, 5, 10, 10], category_id=99),
        annotation(4, [5, 5, 10]),
        annotation(5, [5, float("nan"), 10, 10]),
        annotation(6, [30, 5, -10, 10]),
        annotation(7, [30, 5, 0, 10]),
        annotation(8, [70, 5, 10, 10]),
        annotation(9, [50, 30, 20, 20]),
        annotation(10, [50.5, 30, 10, 10]),
        annotation(1, [15, 15, 10, 10]),
        annotation(12, [5, 5, 10, 10]),
        annotation(13, [0, 0, 60, 40], iscrowd=1),
        annotation(14, None, segmentation=[[1, 2, 11, 2, 11, 22]]),
        annotation(15, [1, 2, 10**400, 3]),
        annotation(16, "box"),
    ]
    del annotations[13]["bbox"]
    file = make_coco(tmp_path / "annotations.json", tmp_path / "images", annotations=annotations)
    data = open_data(file)
    assert kinds(data) == [
        ("category-gap", None),
        ("unknown-picture", 2),
        ("unknown-category", 3),
        ("no-box", 4),
        ("duplicate-annotation-id", 1),
        ("crowd", 13),
        ("no-box", 15),
        ("no-box", 16),
        ("non-finite-box", 5),
        ("inverted-box", 6),
        ("empty-box", 7),
        ("box-outside", 8),
        ("box-over-edge", 9),
        ("duplicate-box", 12),
    ]
    record = data.records[0]
    assert record.annotation_ids.tolist() == [1, 9, 10, 17, 12, 13, 14]
    assert record.boxes_xyxy_px[1].tolist() == [50, 30, 60, 40]
    assert record.boxes_xyxy_px[2].tolist() == [50.5, 30, 60, 40]
    assert record.boxes_xyxy_px[6].tolist() == [1, 2, 11, 22]
    assert record.crowd.tolist() == [False] * 5 + [True, False]
    assert all("annotations.json" in fault.line() for fault in data.faults)


def test_ids_used_twice_and_names_used_twice(tmp_path, make_coco, kinds):
    images = [
        {"id": 1, "file_name": "a.jpg", "height": 40, "width": 60},
        {"id": 1, "file_name": "b.jpg", "height": 40, "width": 60},
        {"id": 2, "file_name": "a.jpg", "height": 40, "width": 60},
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]
    file = make_coco(
        tmp_path / "x.json",
        tmp_path,
        images=images,
        categories=categories,
        annotations=[annotation(1, [1, 1, 5, 5], 1, 1)],
    )
    data = open_data(file)
    assert kinds(data)[:3] == [("duplicate-category", 2), ("duplicate-picture-id", 1), ("duplicate-name", 2)]
    assert [record.id for record in data.records] == [1, 2]


def test_ids_that_are_words(tmp_path, make_coco, kinds):
    images = [{"id": "x", "file_name": "a.jpg", "height": 40, "width": 60}]
    file = make_coco(
        tmp_path / "x.json",
        tmp_path,
        images=images,
        categories=[{"id": "c", "name": "cat"}],
        annotations=[annotation("k", [1, 1, 5, 5], "x", "c")],
    )
    data = open_data(file)
    assert (data.records[0].id, data.category_ids, data.records[0].annotation_ids.tolist()) == (1, (1,), [1])
    assert ("renumbered", None) in kinds(data)


def test_a_missing_size_is_read_from_the_picture(tmp_path, make_coco, kinds):
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "gone.jpg", "height": 0, "width": 60}]
    file = make_coco(tmp_path / "x.json", tmp_path, images=images, annotations=[])
    data = open_data(file)
    assert [record.size_hw for record in data.records] == [(40, 60)]
    assert kinds(data)[1:] == [("no-size", 1), ("no-size", 2), ("missing-picture", 2), ("unlisted-picture", None)]


@pytest.mark.parametrize("name", ["x" * 5000 + ".jpg", "a\0b.jpg", "", "../../.."])
def test_impossible_file_names_are_missing_pictures(tmp_path, make_coco, name):
    file = make_coco(
        tmp_path / "x.json",
        None,
        images=[{"id": 1, "file_name": name, "height": 4, "width": 6}],
        annotations=[],
    )
    report = check_data(open_data(file))
    assert [fault.kind for fault in report.errors] in (["missing-picture"], ["unreadable-picture"])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "not valid JSON.*line 1"),
        ("\xff\xfe", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('[{"image_id": 1}]', "a list, as of results"),
        ("3", "no object"),
        ('{"images": []}', '"annotations" is missing'),
        ('{"images": {}, "annotations": [], "categories": []}', '"images" is missing'),
        ('{"images": [1], "annotations": [], "categories": []}', "something else than objects"),
        ('{"images": [], "annotations": [], "categories": []}', "no categories"),
        ('{"images": [], "annotations": [], "categories": [{"name": "a"}]}', "category has no id"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}, {"id": 1}]}', "shares it"),
        (
            '{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1}]}',
            "picture 0 has no id or no file_name",
        ),
    ],
)
def test_what_is_no_coco_file_is_told_in_one_line(tmp_path, text, what):
    file = tmp_path / "x.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=what) as caught:
        open_data(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_microscope_pictures(shared_data):
    folder = shared_data("dsb2018")
    counts = {split: open_data(folder, split=split) for split in ("train", "val")}
    assert {split: len(data) for split, data in counts.items()} == {"train": 240, "val": 60}
    assert {split: sum(map(len, data.records)) for split, data in counts.items()} == {"train": 8844, "val": 2347}
    assert all(record.path.is_file() for data in counts.values() for record in data.records)


def test_coco_reference(shared_data):
    file = shared_data("coco_ap_reference") / "ground_truth.json"
    data = open_data(file)
    page = json.loads(file.read_text())
    assert (len(data), sum(map(len, data.records)), len(data.names)) == (100, 830, 80)
    wanted = {entry["id"]: entry for entry in page["annotations"]}
    for record in data.records:
        for row, id in enumerate(record.annotation_ids.tolist()):
            entry = wanted[id]
            left, top, width, height = entry["bbox"]
            assert record.boxes_xyxy_px[row] == pytest.approx([left, top, left + width, top + height], abs=1)
            assert data.category_ids[record.labels[row]] == entry["category_id"]
            assert record.areas[row] == entry["area"]
