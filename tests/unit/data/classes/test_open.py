"""Pictures of classes in folders, zips and tables: which classes and splits there are, and what is wrong with them."""

import pickle
from pathlib import Path

import pytest
from PIL import Image

from sleuth.data.classes.checks import check_classes, check_pictures, without_faulty
from sleuth.data.classes.open import class_splits, is_classes, open_classes
from sleuth.data.classes.samples import ClassSource
from sleuth.data.held_out import is_held_out
from sleuth.errors import UserError


def test_folders_of_classes_are_parted_by_the_hash_of_names(make_classes):
    root = make_classes("data", {"cat": 30, "dog": 20})
    assert class_splits(root) == ("train", "val")
    train, val, every = (open_classes(root, split) for split in ("train", "val", "all"))
    assert isinstance(train, ClassSource)
    assert train.names == val.names == ("cat", "dog")
    assert not set(train.paths) & set(val.paths)
    assert set(train.paths) | set(val.paths) == set(every.paths)
    assert len(every) == 50
    assert val.paths == tuple(path for path in every.paths if is_held_out(path))
    assert 2 <= len(val) <= 20
    # What is held out stays so, whatever is added.
    Image.new("RGB", (4, 4)).save(root / "cat" / "new.png")
    assert set(val.paths) <= set(open_classes(root, "val").paths)


def test_splits_are_folders_and_pictures_are_read(make_classes):
    root = make_classes("data", {"train/cat": 2, "train/dog": 1, "valid/dog": 1, "valid/cat": 1})
    assert class_splits(root) == ("train", "valid")
    assert is_classes(root)
    val = open_classes(root, "val")
    assert val.paths == ("valid/cat/0.png", "valid/dog/0.png")
    sample = val.load(1)
    assert (sample.label, tuple(sample.image.shape), int(sample.image[0, 0, 0])) == (1, (3, 6, 8), 80)
    assert sample.name.endswith("valid/dog/0.png")


def test_a_zip_is_read_as_its_folder_is(make_classes, zipped):
    root = make_classes("data", {"train/cat": 2, "train/dog": 2, "test/cat": 1, "test/dog": 1})
    packed = zipped(root)
    assert class_splits(packed) == class_splits(root) == ("train", "test")
    folder, archive = open_classes(root, "train"), open_classes(packed, "train")
    assert archive.labels == folder.labels
    assert [path.removeprefix("data/") for path in archive.paths] == list(folder.paths)
    again = pickle.loads(pickle.dumps(archive))
    for index in range(len(folder)):
        assert folder.load(index).image.equal(archive.load(index).image)
        assert again.load(index).image.equal(archive.load(index).image)


def test_archives_in_a_folder_are_splits(make_classes, zipped, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    for split in ("train", "test"):
        zipped(make_classes(split, {f"{label}": 2 for label in ("cat", "dog")})).rename(home / f"{split}.zip")
    assert class_splits(home) == ("train", "test")
    assert len(open_classes(home, "test")) == 4


@pytest.mark.parametrize("packed", [False, True])
def test_tables_name_pictures_and_classes(make_classes, zipped, packed: bool):
    root = make_classes("data", {"pictures": 4})
    rows = ["path,label,split", "pictures/0.png,cat,train", "pictures/1.png,dog,train", "pictures/2.png,dog,val", ""]
    (root / "labels.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    path = zipped(root) if packed else root
    assert class_splits(path) == ("train", "val")
    train = open_classes(path, "train")
    assert train.names == ("cat", "dog")
    assert int(train.load(1).image[0, 0, 0]) == 1
    assert open_classes(path, "val").with_names(("bird", "dog", "cat")).labels == (1,)
    if not packed:
        assert open_classes(root / "labels.csv", "train").labels == train.labels


def test_tables_by_name_are_splits_and_lines_without_class_are_told(make_classes):
    root = make_classes("data", {"pictures": 3})
    (root / "train.csv").write_text("image,class\npictures/0.png,cat\npictures/1.png,\npictures/2.png,dog\n")
    (root / "test.csv").write_text("class,image\ncat,pictures/1.png\n")
    assert class_splits(root) == ("train", "test")
    train = open_classes(root, "train")
    assert train.faults == ("train.csv, line 3: no label",)
    assert any("train.csv, line 3" in note for note in check_pictures(train).notes())


def test_a_table_without_heading_is_refused(make_classes):
    root = make_classes("data", {"pictures": 1})
    (root / "t.csv").write_text("pictures/0.png,cat\n")
    with pytest.raises(UserError, match="names no columns"):
        open_classes(root / "t.csv")


def test_one_class_empty_classes_and_hidden_files(make_classes):
    root = make_classes("data", {"cat": 6, "dog": 0, ".hidden": 2})
    (root / "cat" / ".DS_Store").write_text("x")
    (root / "cat" / "notes.txt").write_text("x")
    every = open_classes(root, "all")
    assert every.empty == ("dog",)
    assert len(every) == 6
    report = check_pictures(every)
    assert any("no picture of 'dog'" in note for note in report.notes())
    with pytest.raises(UserError, match="one class only, 'cat'"):
        check_classes(every.names, root)


def test_mixed_formats_are_all_read(make_classes):
    root = make_classes("data", {"cat": 1, "dog": 1})
    Image.new("L", (5, 5), 9).save(root / "cat" / "grey.jpg")
    Image.new("RGBA", (5, 5)).save(root / "dog" / "clear.webp")
    Image.new("P", (5, 5)).save(root / "dog" / "palette.gif")
    every = open_classes(root, "all")
    assert [tuple(every.load(index).image.shape[:1]) for index in range(len(every))] == [(3,)] * 5
    check_pictures(every).raise_if_fatal(root)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_unreadable_pictures_are_named_or_left_out(make_classes, content: bytes):
    root = make_classes("data", {"cat": 2, "dog": 2})
    (root / "cat" / "broken.jpg").write_bytes(content)
    every = open_classes(root, "all")
    report = check_pictures(every)
    with pytest.raises(UserError, match=r"broken.jpg.*--skip-faulty"):
        report.raise_if_fatal(root)
    kept = without_faulty(every, report)
    assert len(kept) == 4
    check_pictures(kept).raise_if_fatal(root)


def test_a_picture_that_a_table_only_speaks_of(make_classes):
    root = make_classes("data", {"pictures": 1})
    (root / "labels.csv").write_text("path,label\npictures/0.png,cat\npictures/9.png,dog\n")
    with pytest.raises(UserError, match=r"no such file"):
        check_pictures(open_classes(root, "all")).raise_if_fatal(root)


def test_what_is_no_data_is_one_line(tmp_path: Path, make_classes):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.zip").write_bytes(b"PK no zip")
    assert not is_classes(tmp_path / "empty")
    assert not is_classes(tmp_path / "broken.zip")
    with pytest.raises(UserError, match="no classes of pictures here"):
        open_classes(tmp_path / "empty")
    with pytest.raises(UserError, match="no readable zip"):
        open_classes(tmp_path / "broken.zip")
    with pytest.raises(UserError, match="no such folder"):
        open_classes(tmp_path / "nowhere")
    root = make_classes("data", {"train/cat": 1, "test/dog": 1})
    with pytest.raises(UserError, match="no split 'other'"):
        open_classes(root, "other")
    with pytest.raises(UserError, match="a class 'dog', which is none of the model's 1"):
        open_classes(root, "test").with_names(("cat",))


def test_the_shared_pictures_are_read_without_unpacking(shared_data):
    root = shared_data("cifar10_jpg")
    assert class_splits(root) == ("train", "test")
    test = open_classes(root, "test")
    assert (len(test), len(test.names)) == (10_000, 10)
    assert tuple(test.load(7_777).image.shape) == (3, 32, 32)
