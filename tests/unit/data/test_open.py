"""What is found out from a folder, and what is said where nothing is."""

import pytest

from sleuth.data.checks import check_folder
from sleuth.data.held_out import is_held_out
from sleuth.data.open import FORMATS, available_splits, chosen_split, is_annotated, match_split, open_data
from sleuth.errors import UserError


def test_nothing_there_is_said_with_what_was_looked_for(tmp_path):
    with pytest.raises(UserError, match=r"no data set here.*coco: .*voc: .*yolo: "):
        open_data(tmp_path)
    with pytest.raises(UserError, match="no such folder or file"):
        open_data(tmp_path / "none")
    with pytest.raises(UserError, match="the formats are: coco, voc, yolo"):
        open_data(tmp_path, format="tfrecord")
    (tmp_path / "notes.pdf").write_text("")
    with pytest.raises(UserError, match="this is no data set"):
        open_data(tmp_path / "notes.pdf")
    assert FORMATS == ("coco", "voc", "yolo")


def test_two_formats_need_a_name(tmp_path, make_coco, make_voc):
    make_coco(tmp_path / "annotations.json", tmp_path / "images")
    make_voc(tmp_path / "Annotations" / "a.xml", None)
    with pytest.raises(UserError, match=r"coco and voc.*--format"):
        open_data(tmp_path)
    assert open_data(tmp_path, format="voc").format == "voc"
    assert available_splits(tmp_path, "coco") == ("all",)
    assert is_annotated(tmp_path), "it is for opening it to say that there is a choice"


def test_data_to_choose_from_or_to_mend_is_no_folder_of_classes(tmp_path):
    (tmp_path / "cats").mkdir()
    assert not is_annotated(tmp_path)
    assert not is_annotated(tmp_path / "none")
    (tmp_path / "table.csv").write_text("path,label")
    assert not is_annotated(tmp_path / "table.csv")
    for task in ("boxes", "outlines"):
        (tmp_path / task).mkdir()
        (tmp_path / task / "data.yaml").write_text("names: [cat]\ntrain: images")
    assert is_annotated(tmp_path)


@pytest.mark.parametrize(
    ("asked", "found"),
    [("train", "train2017"), ("val", "valid"), ("validation", "valid"), ("valid", "valid"), ("test", "testing")],
)
def test_like_names_of_splits(tmp_path, asked, found):
    assert match_split(asked, ("train2017", "valid", "testing"), tmp_path) == found


def test_ambiguous_splits_are_refused(tmp_path):
    with pytest.raises(UserError, match="val2014, val2017"):
        match_split("val", ("val2014", "val2017"), tmp_path)
    assert match_split("val2014", ("val2014", "val2017"), tmp_path) == "val2014"
    assert match_split(None, ("only",), tmp_path) == "only"


def test_data_in_one_split_has_a_part_that_is_held_out(tmp_path, make_coco):
    make_coco(
        tmp_path / "annotations.json",
        tmp_path / "images",
        images=[{"id": n, "file_name": f"{n}.jpg", "width": 60, "height": 40} for n in range(50)],
        annotations=[{"id": n, "image_id": n, "category_id": 7, "bbox": [1, 1, 4, 4]} for n in range(50)],
    )
    held_out, rest, whole = (open_data(tmp_path, split=split) for split in ("held-out", "rest", None))
    names = {record.name for record in held_out.records}
    assert names == {record.name for record in whole.records if is_held_out(record.name)}
    assert names.isdisjoint(record.name for record in rest.records)
    assert len(held_out) + len(rest) == len(whole) == 50
    assert 5 <= len(held_out) <= 15
    assert (held_out.split, rest.split) == ("held-out", "rest")
    ((_, report),) = check_folder(tmp_path, split="held-out")
    assert report.pictures == len(held_out)


def test_data_in_several_splits_has_no_such_part(tmp_path):
    with pytest.raises(UserError, match="no split 'held-out'"):
        chosen_split("held-out", ("train", "val"), tmp_path)
    assert chosen_split("held-out", ("held-out",), tmp_path) == "held-out", "its own, if it is called so"
    assert chosen_split(None, ("all",), tmp_path) == "all"
