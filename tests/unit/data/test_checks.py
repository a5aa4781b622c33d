"""Checking finds every fault, counts, and decides whether training may start."""

import json

import numpy as np
import pytest
from PIL import Image

from sleuth.data.checks import check_data, check_folder
from sleuth.data.contact import write_contact_sheet
from sleuth.data.faults import FAULT_KINDS
from sleuth.data.open import open_data
from sleuth.data.source import PictureSource
from sleuth.errors import UserError


@pytest.fixture
def sound(tmp_path, make_coco):
    make_coco(tmp_path / "annotations.json", tmp_path / "images")
    return tmp_path


def test_counts(sound, kinds):
    report = check_data(open_data(sound), deep=True)
    assert kinds(report) == [("no-objects", 12), ("category-gap", None)]
    assert (report.pictures, report.objects, report.crowds, report.pictures_without_objects) == (2, 2, 0, 1)
    assert (report.most_objects, report.mean_objects) == (2, 1.0)
    assert [(c.name, c.category_id, c.objects, c.pictures) for c in report.classes] == [
        ("cat", 3, 1, 1),
        ("dog", 7, 1, 1),
    ]
    assert [c.objects for c in report.coco_sizes] == [2, 0, 0]
    assert {c.name: c.objects for c in report.side_histogram if c.objects} == {"8-16": 1, "16-32": 1}
    report.raise_if_fatal()


def test_faulty_pictures_are_found_and_can_be_left_out(tmp_path, make_coco, make_picture, kinds):
    names = ["fine", "gone", "short", "size", "turned", "text"]
    images = [{"id": n, "file_name": f"{name}.jpg", "height": 40, "width": 60} for n, name in enumerate(names)]
    boxes = [{"id": n, "image_id": n, "category_id": 3, "bbox": [1, 1, 9, 9]} for n in range(len(names))]
    make_coco(tmp_path / "x.json", None, images=images, annotations=boxes, categories=[{"id": 3, "name": "cat"}])
    make_picture(tmp_path / "fine.jpg")
    make_picture(tmp_path / "size.jpg", (41, 60))
    make_picture(tmp_path / "turned.jpg", (60, 40))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    noise.save(tmp_path / "short.jpg")
    (tmp_path / "short.jpg").write_bytes((tmp_path / "short.jpg").read_bytes()[:1500])
    (tmp_path / "text.jpg").write_text("no picture")
    data = open_data(tmp_path)
    deep, quick = check_data(data, deep=True), check_data(data)
    expected = [
        ("missing-picture", 1),
        ("unreadable-picture", 2),
        ("unreadable-picture", 5),
        ("wrong-size", 3),
        ("wrong-size", 4),
    ]
    assert kinds(deep) == expected
    assert kinds(quick) == [fault for fault in expected if fault != ("unreadable-picture", 2)]
    lines = {fault.id: fault.line() for fault in deep.faults}
    assert "cut short" in lines[2]
    assert "60x41 (width x height), its annotation says 60x40" in lines[3]
    assert "EXIF rotation" in lines[4]
    with pytest.raises(UserError, match=r"gone\.jpg.*and 4 more errors.*--skip-faulty"):
        deep.raise_if_fatal()
    rest = data.without_faulty(deep)
    assert [record.name for record in rest.records] == ["fine.jpg"]
    check_data(rest, deep=True).raise_if_fatal()
    with pytest.raises(UserError, match=r"size\.jpg: the picture is 60x41"):
        PictureSource(data).load(3)


def test_faults_of_reading_are_part_of_the_report(tmp_path, make_coco, kinds):
    wrong = [{"id": 5, "image_id": 11, "category_id": 99, "bbox": [1, 1, 9, 9]}]
    make_coco(tmp_path / "x.json", tmp_path, annotations=wrong)
    data = open_data(tmp_path)
    report = check_data(data)
    assert kinds(report)[0] == ("unknown-category", 5)
    rest = data.without_faulty(report)
    assert [record.id for record in rest.records] == [12]
    with pytest.raises(UserError, match="no objects in any picture"):
        check_data(rest).raise_if_fatal()


def test_all_splits_and_what_they_share(tmp_path, make_coco):
    make_coco(tmp_path / "annotations" / "train.json", tmp_path / "images")
    make_coco(tmp_path / "annotations" / "val.json", None)
    seen = []
    (_, train), (_, val) = check_folder(tmp_path, advance=lambda: seen.append(1))
    assert (train.split, val.split, len(seen)) == ("train", "val", 4)
    assert [fault.kind for fault in val.of("warning")] == ["shared-picture"] * 2
    assert not train.of("warning")
    ((data, alone),) = check_folder(tmp_path, split="val", deep=False)
    assert (data.split, alone.deep) == ("val", False)


def test_the_report_reads_well_and_as_json(tmp_path, make_coco):
    boxes = [{"id": n, "image_id": 11, "category_id": 3, "bbox": [1, 1, 9, 0]} for n in range(9)]
    make_coco(tmp_path / "x.json", tmp_path, annotations=boxes)
    report = check_data(open_data(tmp_path))
    text = report.render(lines_per_kind=3)
    assert "2 pictures, 0 objects, 0 crowds, 2 pictures without objects" in text
    assert "warning: boxes without area (left out): 9" in text
    assert "... and 6 more" in text
    assert "mend: remove or redraw the box" in text
    page = json.loads(json.dumps(report.to_json()))
    assert page["faults"][0]["kind"] == "empty-box"
    assert set(page["faults"][0]) == {"kind", "severity", "file", "id", "what", "mend"}
    assert page["classes"][0] == {"label": 0, "name": "cat", "category_id": 3, "objects": 0, "pictures": 0}


def test_the_table_of_kinds():
    assert {kind.severity for kind in FAULT_KINDS.values()} == {"error", "warning", "note"}
    severities = [kind.severity for kind in FAULT_KINDS.values()]
    assert severities == sorted(severities, key=("error", "warning", "note").index)


def test_an_empty_list_of_pictures_is_fatal(tmp_path, make_coco):
    make_coco(tmp_path / "x.json", None, images=[], annotations=[])
    data = open_data(tmp_path)
    report = check_data(data)
    with pytest.raises(UserError, match="no pictures"):
        report.raise_if_fatal()
    assert report.render()
    write_contact_sheet(data, tmp_path / "sheet.png")


def test_contact_sheet(sound, tmp_path):
    (sound / "images" / "b.jpg").unlink()
    path = write_contact_sheet(open_data(sound), tmp_path / "out" / "sheet.png", count=5)
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
        assert len(sheet.getcolors(1 << 20)) > 20
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]


def test_real_blood_cells_have_two_boxes_without_area(shared_data):
    reports = [report for _, report in check_folder(shared_data("bccd"), deep=False)]
    assert [report.split for report in reports] == ["train", "val", "test"]
    assert [(report.pictures, report.objects) for report in reports] == [(205, 2804), (87, 1137), (72, 945)]
    assert sum(len(report.errors) for report in reports) == 0
    assert [fault.kind for report in reports for fault in report.faults] == ["empty-box", "empty-box"]
    assert max(report.most_objects for report in reports) == 30
