"""COCO panoptic data: things, stuff, and PNG files that do or do not fit their JSON."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from sleuth.data.checks import check_data, check_folder
from sleuth.data.open import available_splits, open_data
from sleuth.data.samples import SampleSource
from sleuth.data.source import PictureSource
from sleuth.errors import UserError

IDS = np.zeros((40, 60), dtype=np.int64)
IDS[5:20, 10:30] = 70000  # two dogs, of which one is a crowd, above the sky; the rest is void
IDS[5:20, 30:40] = 300
IDS[20:, :] = 8

SEGMENTS = [
    {"id": 70000, "category_id": 18, "bbox": [10, 5, 20, 15], "area": 300, "iscrowd": 0},
    {"id": 300, "category_id": 18, "bbox": [30, 5, 10, 15], "area": 150, "iscrowd": 1},
    {"id": 8, "category_id": 187, "bbox": [0, 20, 60, 20], "area": 1200, "iscrowd": 0},
]
CATEGORIES = [{"id": 187, "name": "sky", "isthing": 0}, {"id": 18, "name": "dog", "isthing": 1}]


def as_colours(ids: np.ndarray) -> Image.Image:
    return Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Write a panoptic set of one picture; the parts given replace the sound ones."""

    def write(segments=SEGMENTS, categories=CATEGORIES, png=None, **parts):
        for name in ("train", "annotations/panoptic_train"):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40)).save(tmp_path / "train" / "a.jpg")
        if png is not False:
            (as_colours(IDS) if png is None else png).save(tmp_path / "annotations/panoptic_train/a.png")
        page = {
            "images": [{"id": 4, "file_name": "a.jpg", "height": 40, "width": 60}],
            "annotations": [{"image_id": 4, "file_name": "a.png", "segments_info": segments}],
            "categories": categories,
            **parts,
        }
        (tmp_path / "annotations" / "panoptic_train.json").write_text(json.dumps(page))
        return tmp_path

    return write


def test_things_and_stuff_are_objects(folder):
    data = open_data(folder(), annotations="panoptic")
    assert (data.names, data.category_ids, data.is_thing) == (("dog", "sky"), (18, 187), (True, False))
    assert (data.split, data.annotations, len(data.records[0])) == ("train", "panoptic", 3)
    assert not check_data(data, deep=True).errors
    source = PictureSource(data)
    assert isinstance(source, SampleSource)
    assert source.is_thing == (True, False)
    sample = source.load(0)
    assert sample.labels.tolist() == [0, 1]  # the crowd is left out
    assert sample.boxes_xyxy_px.tolist() == [[10, 5, 30, 20], [0, 20, 60, 40]]
    assert torch.equal(sample.masks, torch.from_numpy(np.stack([IDS == 70000, IDS == 8])))
    assert data.records[0].masks.packed().areas == (300, 150, 1200)
    assert data.records[0].areas.tolist() == [300, 150, 1200]


@pytest.mark.parametrize("annotations", ["boxes", "instances"])
def test_things_alone(folder, annotations):
    data = open_data(folder(), annotations=annotations)
    assert (data.names, data.category_ids, data.is_thing) == (("dog",), (18,), (True,))
    sample = PictureSource(data).load(0)
    assert sample.labels.tolist() == [0]
    assert (sample.masks is None) == (annotations == "boxes")
    if sample.masks is not None:
        assert np.array_equal(sample.masks[0].numpy(), IDS == 70000)


def test_instance_and_panoptic_files_side_by_side(folder, make_coco):
    path = folder()
    make_coco(path / "annotations" / "instances_train.json", path / "train")
    assert open_data(path).names == ("cat", "dog")
    assert open_data(path, annotations="panoptic").names == ("dog", "sky")
    assert available_splits(path, annotations="panoptic") == ("train",)


def test_classes_of_another_list(folder):
    data = open_data(folder(), annotations="panoptic")
    renamed = data.with_names(("grass", "sky", "dog"))
    assert renamed.is_thing == (True, False, True)
    assert renamed.records[0].labels.tolist() == [2, 2, 1]
    assert renamed.records[0].masks is data.records[0].masks
    assert data.with_names(("grass", "sky", "dog"), is_thing=(False, False, True)).is_thing == (False, False, True)


def stop(data, message):
    """Training stops with one line, whether by the check or at the picture itself."""
    with pytest.raises(UserError, match=message) as caught:
        check_data(data, deep=True).raise_if_fatal()
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=message):
        PictureSource(data).load(0)


def test_ids_absent_from_the_json(folder):
    ids = IDS.copy()
    ids[0, 0] = 66051
    data = open_data(folder(png=as_colours(ids)), annotations="panoptic")
    stop(data, r"a\.png.*the segment 66051 is in the PNG, but not in the JSON")
    # Things alone are served without the stuff, which the JSON knows all the same.
    assert not check_data(open_data(folder(), annotations="instances"), deep=True).errors


def test_segments_absent_from_the_png(folder):
    ids = np.where(IDS == 8, 0, IDS)
    data = open_data(folder(png=as_colours(ids)), annotations="panoptic")
    (fault,) = [fault for fault in check_data(data, deep=True).faults if fault.severity != "note"]
    assert (fault.kind, fault.id) == ("empty-mask", 8)
    assert "the segment 8 is in the JSON, but not in the PNG" in fault.line()
    assert PictureSource(data).load(0).labels.tolist() == [0]


@pytest.mark.parametrize(("size", "relation"), [((80, 60), "larger"), ((30, 40), "smaller")])
def test_a_png_of_another_size(folder, size, relation):
    data = open_data(folder(png=Image.new("RGB", size)), annotations="panoptic")
    message = rf"a\.png.*the masks are {relation} than the picture: {size[0]}x{size[1]} \(width x height\)"
    stop(data, message)
    with pytest.raises(UserError, match=message):
        check_data(data).raise_if_fatal()  # the header tells


def test_a_missing_png(folder):
    data = open_data(folder(png=False), annotations="panoptic")
    stop(data, r"panoptic_train.a\.png.*there is no such")


def test_a_grey_png(folder):
    stop(open_data(folder(png=Image.new("L", (60, 40))), annotations="panoptic"), "no colours")


def test_a_broken_png(folder):
    path = folder()
    file = path / "annotations/panoptic_train/a.png"
    file.write_bytes(file.read_bytes()[:60])
    stop(open_data(path, annotations="panoptic"), r"a\.png.*(cut short|broken)")


@pytest.mark.parametrize(
    ("parts", "kind", "message"),
    [
        ({"categories": [{"id": 187, "name": "sky"}, CATEGORIES[1]]}, "no-isthing", "'sky' does not say"),
        ({"annotations": []}, "missing-annotation", "a.jpg has no segments"),
        ({"segments": [*SEGMENTS, SEGMENTS[0]]}, "unreadable-annotation", "70000 is listed twice"),
        ({"segments": [*SEGMENTS, {**SEGMENTS[0], "id": 0}]}, "unreadable-annotation", "segment id 0 is"),
        ({"segments": [{**SEGMENTS[0], "category_id": 5}]}, "unknown-category", "no category with id 5"),
        ({"segments": [{**SEGMENTS[0], "bbox": None}]}, "no-box", "no box of four numbers"),
        ({"segments": "none"}, "unreadable-annotation", "segments_info of a.jpg is no list"),
    ],
)
def test_faults_of_the_json_are_named(folder, parts, kind, message):
    if parts.get("annotations") == []:
        other = {"image_id": 9, "file_name": "b.png", "segments_info": []}
        parts = {"annotations": [other]}
    data = open_data(folder(**parts), annotations="panoptic")
    (line,) = [fault.line() for fault in data.faults if fault.kind == kind]
    assert message in line
    assert "panoptic_train.json" in line


def test_real_panoptic_data(shared_data):
    path = shared_data("coco128") / "panoptic_segmentation"
    ((data, report),) = check_folder(path, annotations="panoptic")
    assert (len(data), len(data.names), sum(data.is_thing)) == (100, 133, 80)
    assert not report.errors
    assert data.names[:2] == ("person", "bicycle")
    assert (data.category_ids[0], data.category_ids[-1]) == (1, 200)
    record = data.records[0]
    assert record.masks.packed().areas == tuple(record.areas.astype(int))
    images = shared_data("coco128") / "images" / "train2017"
    by_file = open_data(path / "annotations" / "panoptic_train2017.json", images=images, annotations="panoptic")
    assert [one.path for one in by_file.records] == [one.path for one in data.records]
    assert open_data(path, split="train", annotations="panoptic").split == "train2017"
