"""Data with masks on the command line: written, checked, and refused in one line where it is broken."""

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def panoptic(tmp_path, cli):
    """Panoptic scenes written by the command."""
    said = cli("data", "scenes", "--out", tmp_path / "set", "--count", 2, "--annotations", "panoptic")
    assert said.code == 0, said.err
    assert "panoptic.json and panoptic/" in said.out
    return tmp_path / "set"


def test_masks_are_checked_and_drawn(panoptic, cli, tmp_path):
    (report,) = cli("data", "check", panoptic, "--annotations", "panoptic", "--json").json
    assert (report["annotations"], report["pictures"], len(report["classes"])) == ("panoptic", 2, 22)
    plain, masks = tmp_path / "boxes.png", tmp_path / "masks.png"
    assert cli("data", "check", panoptic, "--sheet", plain).code == 0
    said = cli("data", "check", panoptic, "--annotations", "panoptic", "--sheet", masks)
    assert said.code == 0
    assert "(coco, panoptic, split all)" in said.out
    with Image.open(plain) as one, Image.open(masks) as other:
        assert not np.array_equal(np.asarray(one)[60:], np.asarray(other)[60:])


def test_ids_absent_from_the_json_are_found(panoptic, cli):
    file = panoptic / "panoptic" / "000002.png"
    with Image.open(file) as picture:
        colours = np.array(picture)
    colours[3, 4] = (9, 9, 9)
    Image.fromarray(colours).save(file)
    said = cli("data", "check", panoptic, "--annotations", "panoptic")
    assert said.code == 1
    assert "000002.png: the segment 592137 is in the PNG, but not in the JSON" in said.out
    assert "segments in the PNG that the JSON lacks: 1" in said.out


def test_masks_larger_than_the_picture_are_found(panoptic, cli):
    file = panoptic / "annotations.json"
    page = json.loads(file.read_text())
    page["annotations"][0]["segmentation"] = {"size": [256, 256], "counts": [256 * 256]}
    file.write_text(json.dumps(page))
    said = cli("data", "check", panoptic, "--annotations", "instances")
    assert said.code == 1
    assert "id 1: 000001.png: the masks are larger than the picture: 256x256 (width x height)" in said.out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--annotations", "masks"), ("there are no annotations 'masks'", "boxes, instances, panoptic")),
        (("--annotations", "panoptic", "--format", "yolo"), ("yolo",)),
        (("--annotations", "instances", "--format", "voc"), ("voc",)),
    ],
)
def test_what_cannot_be_is_one_line(panoptic, cli, words, parts):
    said = cli("data", "check", panoptic, *words)
    assert said.code == 2
    assert len(said.err.strip().splitlines()) == 1
    assert all(part in said.err for part in parts)
