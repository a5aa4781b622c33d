"""Masks of files: COCO's three forms, panoptic PNG, YOLO outlines; and what is said where they are wrong."""

import doctest
import json

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco
from PIL import Image

from sleuth.data.checks import check_data, check_folder
from sleuth.data.formats import segmentation
from sleuth.data.formats.segmentation import parse_segmentation, text_to_lengths
from sleuth.data.masks import CodedMasks
from sleuth.data.open import open_data
from sleuth.data.scenes.export import run_lengths
from sleuth.data.source import PictureSource
from sleuth.errors import UserError

SIZE = (40, 60)
TRIANGLE = [10, 10, 50, 10, 10, 35]


def mask(top, left, bottom, right, size_hw=SIZE) -> np.ndarray:
    found = np.zeros(size_hw, dtype=bool)
    found[top:bottom, left:right] = True
    return found


def packed(found: np.ndarray) -> dict:
    code = coco.encode(np.asfortranarray(found.astype(np.uint8)))
    return {"size": code["size"], "counts": code["counts"].decode()}


def annotation(id, shape, image_id=11, **parts) -> dict:
    return {"id": id, "image_id": image_id, "category_id": 7, "bbox": [5, 6, 40, 30], "segmentation": shape, **parts}


@pytest.fixture
def instances(tmp_path, make_coco):
    """Open annotations whose masks are these."""

    def read(*annotations, **parts):
        make_coco(tmp_path / "x.json", tmp_path, annotations=list(annotations), **parts)
        return open_data(tmp_path, annotations="instances")

    return read


def kinds(data, deep=True) -> list[tuple[str, object]]:
    """Kind and id of what is wrong, notes left out."""
    return [(fault.kind, fault.id) for fault in check_data(data, deep).faults if fault.severity != "note"]


def test_the_three_forms_give_the_same_mask(instances):
    square = mask(10, 20, 30, 45)
    polygon = [[20, 10, 45, 10, 45, 30, 20, 30]]
    data = instances(
        annotation(1, packed(square)), annotation(2, run_lengths(square)), annotation(3, polygon, bbox=[20, 10, 25, 20])
    )
    assert (data.annotations, kinds(data)) == ("instances", [("duplicate-box", 2)])
    sample = PictureSource(data).load(0)
    assert sample.masks.shape == (3, *SIZE)
    for found in sample.masks:
        assert np.array_equal(found.numpy(), square)
    assert sample.boxes_xyxy_px.tolist()[0] == [5, 6, 45, 36]  # as annotated, not around the mask
    assert PictureSource(data).load(1).masks.shape == (0, *SIZE)


def test_polygons_are_filled_as_coco_fills_them(instances):
    parts = [TRIANGLE, [2.5, 30.5, 9.25, 38, 30, 39.9]]
    (found,) = PictureSource(instances(annotation(1, parts))).load(0).masks
    expected = coco.decode(coco.merge(coco.frPyObjects(parts, *SIZE)))
    assert np.array_equal(found.numpy(), expected.astype(bool))
    assert 400 < found.sum() < 700


def test_boxes_alone_cost_no_masks(instances, tmp_path):
    instances(annotation(1, [TRIANGLE]))
    data = open_data(tmp_path)
    assert (data.annotations, data.records[0].masks) == ("boxes", None)
    assert PictureSource(data).load(0).masks is None


def test_crowds_and_empty_masks_are_left_out_with_their_labels(instances):
    data = instances(
        annotation(1, packed(mask(0, 0, 40, 60)), iscrowd=1),
        annotation(2, packed(mask(0, 0, 0, 0)), bbox=[1, 1, 2, 2]),
        annotation(3, packed(mask(1, 2, 3, 4)), category_id=3),
    )
    assert kinds(data) == [("empty-mask", 2)]
    sample = PictureSource(data).load(0)
    assert sample.labels.tolist() == [0]
    assert sample.masks.sum().item() == 4
    # Scoring sees the crowd's mask.
    assert data.records[0].masks.packed().areas == (2400, 0, 4)


def test_boxes_are_made_from_masks_where_they_lack(instances):
    lacking = [annotation(1, packed(mask(10, 20, 30, 45))), annotation(2, [TRIANGLE])]
    for entry in lacking:
        del entry["bbox"]
    assert instances(*lacking).records[0].boxes_xyxy_px.tolist() == [[20, 10, 45, 30], [10, 10, 50, 35]]


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        (None, "no-mask", "no segmentation"),
        ([[1, 2, 30, 4]], "few-points", "polygon 1 has 2 points"),
        ([[100, 10, 150, 10, 120, 30]], "polygon-outside", "polygon 1 lies outside the picture of 60x40"),
        ([[0, 0, 1e12, 10, 10, 1e12]], "polygon-outside", r"reaches to 1e\+12"),
        ([[0, 0, 9, 9, 5]], "unreadable-mask", "polygon 1 is no list of x and y"),
        ([[0, 0, 9, 9, 5, float("nan")]], "unreadable-mask", "polygon 1"),
        ([["a", 0, 9, 9, 5, 5]], "unreadable-mask", "polygon 1"),
        (7, "unreadable-mask", "neither a list nor an object"),
        (packed(mask(0, 0, 5, 5, (80, 120))), "mask-size", "larger than the picture: 120x80 .* the picture 60x40"),
        (packed(mask(0, 0, 5, 5, (40, 50))), "mask-size", "smaller than the picture: 50x40"),
        ({"size": [40, 60], "counts": "zzz"}, "unreadable-mask", "run lengths cannot be read"),
        ({"size": [40, 60], "counts": "021O"}, "unreadable-mask", "cover 4 pixels of 2400"),
        ({"size": [40, 60], "counts": ""}, "unreadable-mask", "cannot be read"),
        ({"size": [40, 60], "counts": "é"}, "unreadable-mask", "cannot be read"),
        ({"size": [40, 60], "counts": [2401, -1]}, "unreadable-mask", "cannot be read"),
        ({"size": [40, 60], "counts": [2400.0]}, "unreadable-mask", "cannot be read"),
        ({"size": [40, 60], "counts": [5, 5]}, "unreadable-mask", "cover 10 pixels"),
        ({"size": [40, 60]}, "unreadable-mask", "cannot be read"),
        ({"size": "40x60", "counts": [2400]}, "unreadable-mask", "no size"),
    ],
)
def test_a_bad_mask_is_left_out_and_named(instances, shape, kind, message):
    data = instances(annotation(1, [TRIANGLE]), annotation(2, shape, bbox=[0, 0, 9, 9]))
    (fault,) = [fault for fault in data.faults if fault.severity != "note"]
    assert (fault.kind, fault.id, fault.image_id) == (kind, 2, 11)
    with pytest.raises(UserError, match=f"x.json, id 2: a.jpg: .*{message}"):
        raise UserError(fault.line())
    assert data.records[0].annotation_ids.tolist() == [1]
    assert len(data.records[0].masks) == 1


def test_a_mask_larger_than_the_picture_stops_training_in_one_line(instances):
    data = instances(annotation(1, packed(mask(0, 0, 5, 5, (80, 120)))), annotation(2, [TRIANGLE], image_id=12))
    report = check_data(data)
    with pytest.raises(UserError, match=r"a\.jpg: the masks are larger than the picture: 120x80") as caught:
        report.raise_if_fatal()
    assert "\n" not in str(caught.value)
    assert [record.name for record in data.without_faulty(report).records] == ["b.jpg"]


def test_sound_parts_of_an_object_are_kept(instances):
    data = instances(annotation(1, [[1, 2, 3, 4], TRIANGLE]))
    assert kinds(data) == [("few-points", 1)]
    alone = instances(annotation(1, TRIANGLE))  # some tools write a single polygon without the outer list
    assert torch.equal(PictureSource(data).load(0).masks, PictureSource(alone).load(0).masks)


def test_a_file_without_masks_says_so(tmp_path, make_coco):
    make_coco(tmp_path / "x.json", tmp_path)
    with pytest.raises(UserError, match=r"x\.json: no annotation has a segmentation.*ask for boxes"):
        open_data(tmp_path, annotations="instances")
    with pytest.raises(UserError, match=r"no panoptic annotations here.*segments_info"):
        open_data(tmp_path, annotations="panoptic")
    with pytest.raises(UserError, match=r"x\.json: these annotations are of single objects"):
        open_data(tmp_path / "x.json", annotations="panoptic")
    with pytest.raises(UserError, match="choose one of boxes, instances, panoptic"):
        open_data(tmp_path, annotations="masks")


def test_text_of_run_lengths_is_read_as_coco_reads_it():
    generator = np.random.default_rng(0)
    for size in ((1, 1), (3, 5), (40, 60), (300, 700)):
        for density in (0.01, 0.5, 1.0):
            found = generator.random(size) < density
            lengths = text_to_lengths(packed(found)["counts"])
            assert lengths.tolist() == run_lengths(found)["counts"]
    assert text_to_lengths("P" * 20 + "0") is None  # a number of a hundred bits
    assert doctest.testmod(segmentation).failed == 0


def test_selected_masks_follow_their_objects(instances):
    data = instances(annotation(1, [TRIANGLE]), annotation(2, packed(mask(0, 0, 4, 5)), bbox=[0, 0, 5, 4]))
    record = data.records[0].select(np.array([False, True]))
    assert record.masks.decode().sum() == 20
    assert record.select(np.array([False])).masks.decode().shape == (0, *SIZE)
    codes, faults = parse_segmentation([TRIANGLE], SIZE)
    assert (len(CodedMasks((codes,), SIZE)), faults) == (1, [])


def yolo(folder, lines) -> None:
    (folder / "labels").mkdir(parents=True)
    (folder / "images").mkdir()
    Image.new("RGB", (60, 40)).save(folder / "images" / "a.png")
    (folder / "labels" / "a.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text(json.dumps({"train": "images", "names": ["dog", "cat"]}))


OUTLINE = "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"


def test_yolo_outlines_become_masks(tmp_path):
    yolo(tmp_path, [OUTLINE, "0 0 0 0.5 0 0.5 1 0 1"])
    boxes, data = open_data(tmp_path), open_data(tmp_path, annotations="instances")
    assert boxes.records[0].masks is None
    assert boxes.records[0].boxes_xyxy_px.tolist() == data.records[0].boxes_xyxy_px.tolist()
    first, second = PictureSource(data).load(0).masks.numpy()
    assert np.array_equal(first, mask(10, 15, 30, 45))
    assert np.array_equal(second, mask(0, 0, 40, 30))


def test_yolo_boxes_among_outlines_are_an_error(tmp_path):
    yolo(tmp_path / "mixed", [OUTLINE, "0 0.5 0.5 0.2 0.2"])
    data = open_data(tmp_path / "mixed", annotations="instances")
    with pytest.raises(UserError, match=r"a\.txt, id 2: line 2 is a box of 4 numbers, where masks need outlines"):
        check_data(data).raise_if_fatal()
    assert len(open_data(tmp_path / "mixed").records[0]) == 2
    yolo(tmp_path / "boxes", ["0 0.5 0.5 0.2 0.2"])
    with pytest.raises(UserError, match="the label files hold boxes, no outlines"):
        open_data(tmp_path / "boxes", annotations="instances")
    with pytest.raises(UserError, match="in the form of yolo holds no panoptic"):
        open_data(tmp_path / "boxes", annotations="panoptic")


def test_voc_has_boxes_only(tmp_path, make_voc):
    make_voc(tmp_path / "Annotations" / "a.xml", tmp_path / "JPEGImages" / "a.jpg")
    with pytest.raises(UserError, match="in the form of voc holds no instances annotations"):
        open_data(tmp_path, annotations="instances")


def test_real_nuclei(shared_data):
    data = open_data(shared_data("dsb2018"), split="train", annotations="instances")
    assert (len(data), data.names, data.faults) == (240, ("nucleus",), ())
    assert sum(len(record) for record in data.records) == 8844
    for record in data.records[:5]:
        masks = record.masks.decode()
        assert masks.sum((1, 2)).tolist() == record.areas.tolist()
        for box, found in zip(record.boxes_xyxy_px.tolist(), masks, strict=True):
            rows, columns = found.nonzero(as_tuple=True)
            assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_real_outlines(shared_data):
    ((data, report),) = check_folder(shared_data("coco128") / "instance_segmentation", annotations="instances")
    assert (len(data), report.objects, report.errors) == (128, 746, ())
    sample = PictureSource(data).load(0)
    assert sample.masks.flatten(1).any(1).all()
