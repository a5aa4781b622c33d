"""YOLO text as it is found in the wild."""

import pytest
import yaml

from sleuth.data.open import available_splits, open_data
from sleuth.errors import UserError

BOX = "0 0.5 0.5 0.5 0.5\n"


def write(file, **page):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(page))
    return file


def test_the_usual_layout(tmp_path, make_yolo, kinds):
    make_yolo(
        tmp_path / "images" / "train", tmp_path / "labels" / "train", {"a": BOX + "1 0.25 0.25 0.1 0.2\n\n", "b": ""}
    )
    make_yolo(tmp_path / "images" / "val", tmp_path / "labels" / "val", {"c": None})
    write(tmp_path / "data.yaml", path=".", train="images/train", val="images/val", names=["cat", "dog"], nc=2)
    assert available_splits(tmp_path) == ("train", "val")
    for path in (tmp_path, tmp_path / "data.yaml"):
        train = open_data(path, split="train")
        assert (train.format, train.names, train.category_ids) == ("yolo", ("cat", "dog"), (0, 1))
        first, second = train.records
        assert (first.name, first.size_hw, first.labels.tolist()) == ("a.jpg", (40, 60), [0, 1])
        assert first.boxes_xyxy_px[0].tolist() == [15, 10, 45, 30]
        assert first.boxes_xyxy_px[1] == pytest.approx([12, 6, 18, 14])
        assert len(second) == 0
        assert kinds(train) == []
    assert kinds(open_data(tmp_path, split="valid")) == [("no-label-file", 1)]


def test_names_as_a_table_keep_their_ids(tmp_path, make_yolo, kinds):
    make_yolo(tmp_path / "images", tmp_path / "labels", {"a": "7 0.5 0.5 0.2 0.2"})
    write(tmp_path / "d.yml", train="images", names={7: "dog", 2: "cat"})
    data = open_data(tmp_path)
    assert (data.names, data.category_ids, data.records[0].labels.tolist()) == (("cat", "dog"), (2, 7), [1])
    assert kinds(data) == [("category-gap", None)]


def test_outlines_count_by_the_box_around_them(tmp_path, make_yolo):
    make_yolo(tmp_path / "images", tmp_path / "labels", {"a": "0 0.1 0.2 0.5 0.3 0.4 0.9\n0 .5 .5 .2 .2 .93\n"})
    write(tmp_path / "d.yaml", train="images", names=["cat"])
    boxes = open_data(tmp_path).records[0].boxes_xyxy_px
    assert boxes[0] == pytest.approx([6, 8, 30, 36])
    assert boxes[1] == pytest.approx([24, 16, 36, 24])


@pytest.mark.parametrize("train", ["../train/images", "train/images", ["train/images"], "./train/images"])
def test_paths_that_were_written_elsewhere(tmp_path, make_yolo, train):
    make_yolo(tmp_path / "train" / "images", tmp_path / "train" / "labels", {"a": BOX})
    write(tmp_path / "data.yaml", path="/content/datasets/gone", train=train, names=["cat"])
    assert [len(record) for record in open_data(tmp_path).records] == [1]


def test_labels_in_another_folder_and_pictures_named_apart(tmp_path, make_yolo):
    make_yolo(tmp_path / "pictures" / "train", tmp_path / "task" / "labels" / "train", {"a": BOX})
    write(tmp_path / "task" / "config.yaml", path=".", train="images/train", names=["cat"])
    data = open_data(tmp_path / "task", images=tmp_path / "pictures")
    assert [len(record) for record in data.records] == [1]
    with pytest.raises(UserError, match="pictures of split 'train' are missing, looked for"):
        open_data(tmp_path / "task")


def test_lists_of_pictures(tmp_path, make_yolo, kinds):
    make_yolo(tmp_path / "images", tmp_path / "labels", {"a": BOX, "b": BOX})
    (tmp_path / "train.txt").write_text("./images/b.jpg\nimages/b.jpg\nimages/gone.jpg\n")
    write(tmp_path / "data.yaml", train="train.txt", names=["cat"])
    data = open_data(tmp_path)
    assert [record.name for record in data.records] == ["b.jpg"]
    assert kinds(data) == [("duplicate-name", "b.jpg"), ("no-label-file", 2), ("missing-picture", 2)]


@pytest.mark.parametrize("folders", [("images", "labels"), (".", ".")])
def test_a_class_list_instead_of_yaml(tmp_path, make_yolo, folders):
    images, labels = folders
    make_yolo(tmp_path / images, tmp_path / labels, {"a": BOX})
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    data = open_data(tmp_path)
    assert (data.split, data.names, [len(record) for record in data.records]) == ("all", ("cat", "dog"), [1])


def test_each_fault_is_told(tmp_path, make_yolo, kinds):
    lines = [
        "0 0.5 0.5 0.5",
        "0 a b c d",
        "0.5 1 1 1 1",
        "5 0.5 0.5 0.5 0.5",
        "0 nan 0.5 0.5 0.5",
        "0 0.5 0.5 -0.5 0.5",
    ]
    lines += ["0 0.5 0.5 0 0.5", "0 1.5 0.5 0.2 0.2", "0 1 0.5 0.2 0.2", "0 0.5 0.5 1.01 1", BOX, BOX]
    make_yolo(tmp_path / "images", tmp_path / "labels", {"a": "\n".join(lines), "b": "", "c": ""})
    (tmp_path / "labels" / "b.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "images" / "c.jpg").write_bytes(b"")
    write(tmp_path / "d.yaml", train="images", names=["cat"])
    data = open_data(tmp_path)
    assert kinds(data) == [
        ("unreadable-annotation", 1),
        ("unreadable-annotation", 2),
        ("unreadable-annotation", 3),
        ("unknown-category", 4),
        ("non-finite-box", 5),
        ("inverted-box", 6),
        ("empty-box", 7),
        ("box-outside", 8),
        ("box-over-edge", 9),
        ("duplicate-box", 12),
        ("unreadable-annotation", 2),
        ("unreadable-picture", 3),
    ]
    assert len(data.records[0]) == 4


def test_two_pictures_with_one_label_file(tmp_path, make_yolo, make_picture, kinds):
    make_yolo(tmp_path / "images", tmp_path / "labels", {"a": BOX})
    make_picture(tmp_path / "images" / "a.png")
    write(tmp_path / "d.yaml", train="images", names=["cat"])
    data = open_data(tmp_path)
    assert [len(record) for record in data.records] == [1, 1]
    assert kinds(data) == [("duplicate-name", 2)]


@pytest.mark.parametrize(
    ("page", "what"),
    [
        ({"train": "images"}, "names no classes"),
        ({"names": ["cat"]}, "names no split"),
        ({"names": "cat", "train": "images"}, "no list of classes"),
        ({"names": [], "train": "images"}, "no list of classes"),
        ({"names": ["cat"], "nc": 2, "train": "images"}, '"nc" is 2, but "names" has 1'),
    ],
)
def test_a_wrong_yaml_file_is_named(tmp_path, page, what):
    file = write(tmp_path / "d.yaml", **page)
    with pytest.raises(UserError, match=what) as caught:
        open_data(file)
    assert str(file) in str(caught.value)


def test_broken_yaml_is_named(tmp_path):
    (tmp_path / "d.yaml").write_text("names: [")
    with pytest.raises(UserError, match=r"d\.yaml: this is not valid YAML") as caught:
        open_data(tmp_path)
    assert "\n" not in str(caught.value)


def test_coco128(shared_data):
    folder = shared_data("coco128")
    with pytest.raises(UserError, match=r"several YOLO data sets.*instance_segmentation.*object_detection"):
        open_data(folder)
    boxes = open_data(folder / "object_detection", split="train")
    outlines = open_data(folder / "instance_segmentation")
    assert (len(boxes), sum(map(len, boxes.records)), len(boxes.names)) == (128, 929, 80)
    assert (len(outlines), sum(map(len, outlines.records)), outlines.category_ids[-1]) == (128, 746, 90)
    # The same objects: the box around nearly every outline is one of the boxes given.
    distances = []
    for one, other in zip(boxes.records, outlines.records, strict=True):
        assert one.name == other.name
        for label, box in zip(other.labels, other.boxes_xyxy_px, strict=True):
            distances.append(abs(one.boxes_xyxy_px[one.labels == label] - box).max(axis=1).min())
    assert sum(distance < 5 for distance in distances) > 0.95 * len(distances)
