"""Pascal VOC as it is found in the wild."""

import pytest

from sleuth.data.open import available_splits, open_data
from sleuth.errors import UserError


def test_the_layout_of_the_challenge(tmp_path, make_voc, kinds):
    for stem, objects in (("p1", [("dog", (5, 6, 15, 18))]), ("p2", [("cat", (1, 1, 9, 9)), ("dog", (2, 2, 8, 8))])):
        make_voc(tmp_path / "Annotations" / f"{stem}.xml", tmp_path / "JPEGImages" / f"{stem}.jpg", objects)
    sets = tmp_path / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("p1\n")
    (sets / "val.txt").write_text("p2\np2\n\n")
    (sets / "dog_train.txt").write_text("p1  1\np2 -1\n")
    assert available_splits(tmp_path) == ("train", "val")
    train, val = (open_data(tmp_path, split=split) for split in ("train", "val"))
    assert train.names == val.names == ("cat", "dog")
    assert train.category_ids == (1, 2)
    (record,) = train.records
    assert (record.name, record.size_hw, record.labels.tolist()) == ("p1.jpg", (40, 60), [1])
    assert record.boxes_xyxy_px.tolist() == [[5, 6, 15, 18]]
    assert record.path == tmp_path / "JPEGImages" / "p1.jpg"
    assert kinds(train) == []
    assert kinds(val) == [("duplicate-name", "p2")]
    assert [record.annotation_ids.tolist() for record in val.records] == [[1, 2]]


def test_flat_folders(tmp_path, make_voc, make_picture, kinds):
    make_voc(tmp_path / "a.xml", tmp_path / "a.png")
    make_voc(tmp_path / "b.xml", tmp_path / "b.jpg", objects=())
    make_picture(tmp_path / "c.jpg")
    data = open_data(tmp_path)
    assert data.format == "voc"
    assert [record.name for record in data.records] == ["a.png", "b.jpg"]
    assert kinds(data) == [("unlisted-picture", None)]


def test_a_folder_for_each_split(tmp_path, make_voc):
    make_voc(tmp_path / "train" / "a.xml", tmp_path / "train" / "a.jpg", [("cat", (1, 1, 5, 5))])
    make_voc(
        tmp_path / "valid" / "annotations" / "b.xml", tmp_path / "valid" / "images" / "b.jpg", [("ape", (1, 1, 5, 5))]
    )
    assert available_splits(tmp_path) == ("train", "valid")
    assert open_data(tmp_path, split="train").names == open_data(tmp_path, split="val").names == ("ape", "cat")


def test_the_development_kit(tmp_path, make_voc):
    year = tmp_path / "VOC2012"
    database = "<source><database>The VOC2012 Database</database></source>"
    make_voc(year / "Annotations" / "a.xml", year / "JPEGImages" / "a.jpg", [("cat", (1, 1, 60, 40))], extra=database)
    (year / "ImageSets" / "Main").mkdir(parents=True)
    (year / "ImageSets" / "Main" / "trainval.txt").write_text("a\n")
    data = open_data(tmp_path)
    assert data.split == "trainval"
    # Pixels of the challenges count from 1, both corners included.
    assert data.records[0].boxes_xyxy_px.tolist() == [[0, 0, 60, 40]]


def test_a_class_list_gives_the_order(tmp_path, make_voc, kinds):
    make_voc(tmp_path / "a.xml", tmp_path / "a.jpg", [("cat", (1, 1, 5, 5)), ("ape", (1, 1, 5, 5))])
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    data = open_data(tmp_path)
    assert data.names == ("dog", "cat")
    assert data.records[0].labels.tolist() == [1]
    assert kinds(data) == [("unknown-category", 2)]


def test_each_fault_is_told(tmp_path, make_voc, make_picture, kinds):
    folder = tmp_path / "Annotations"
    make_voc(
        folder / "a.xml",
        tmp_path / "images" / "a.jpg",
        [("cat", (9, 9, 5, 12)), ("cat", (9, 9, 9, 9)), ("cat", (9, "x", 9, 9))],
    )
    make_voc(folder / "b.xml", tmp_path / "images" / "b.jpg", [("", (1, 1, 5, 5)), ("cat", (1, 1, 500, 20))], size="")
    make_voc(folder / "c.xml", None, size="")
    (folder / "d.xml").write_text("<annotation><object>")
    make_picture(tmp_path / "images" / "e.jpg")
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "train.txt").write_text("a\nb.jpg\nc\nd\ne\nf\n")
    data = open_data(tmp_path)
    assert kinds(data) == [
        ("unreadable-annotation", 4),
        ("no-box", 3),
        ("inverted-box", 1),
        ("empty-box", 2),
        ("no-size", 2),
        ("unknown-category", 4),
        ("box-over-edge", 5),
        ("no-size", 3),
        ("missing-picture", 3),
        ("missing-annotation", "e"),
        ("missing-picture", "f"),
    ]
    assert [record.name for record in data.records] == ["a.jpg", "b.jpg"]
    assert data.records[1].boxes_xyxy_px.tolist() == [[1, 1, 60, 20]]


def test_pictures_that_differ_by_suffix_only(tmp_path, make_voc, make_picture, kinds):
    make_voc(tmp_path / "a.xml", tmp_path / "a.jpg")
    make_picture(tmp_path / "a.png")
    data = open_data(tmp_path)
    assert [record.name for record in data.records] == ["a.jpg"]
    assert kinds(data) == [("duplicate-name", 1), ("unlisted-picture", None)]


def test_a_broken_list_is_named(tmp_path, make_voc):
    make_voc(tmp_path / "Annotations" / "a.xml", tmp_path / "images" / "a.jpg")
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"train\.txt: the list of pictures cannot be read"):
        open_data(tmp_path)


def test_blood_cells(shared_data, kinds):
    folder = shared_data("bccd")
    assert available_splits(folder) == ("train", "val", "test", "trainval")
    splits = {split: open_data(folder, split=split) for split in ("train", "val", "test")}
    assert {split: len(data) for split, data in splits.items()} == {"train": 205, "val": 87, "test": 72}
    assert {split: sum(map(len, data.records)) for split, data in splits.items()} == {
        "train": 2804, "val": 1137, "test": 945,
    }  # fmt: skip
    assert all(data.names == ("Platelets", "RBC", "WBC") for data in splits.values())
    # Of the 4,888 boxes two have no area.
    assert [fault.kind for data in splits.values() for fault in data.faults] == ["empty-box", "empty-box"]
