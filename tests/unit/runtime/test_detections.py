"""What was found in one picture: its columns, its JSON, its COCO results and its drawing."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sleuth.errors import UserError
from sleuth.geometry.rle import PackedMap, PackedMasks, mask_from_coco, rgb_to_ids
from sleuth.runtime.detections import Detections, Segment


@pytest.fixture
def found() -> Detections:
    return Detections(
        boxes_xyxy_px=torch.tensor([[10.0, 20.0, 30.0, 60.0], [-2.0, 0.12345, 5.0, 8.0]]),
        scores=torch.tensor([0.9, 0.45678912]),
        labels=torch.tensor([1, 0]),
        names=("dog", "cat"),
        category_ids=(18, 17),
        size_hw=(80, 100),
        source="dogs/1.png",
        pixels=np.full((80, 100, 3), 128, dtype=np.uint8),
    )


def none_found(**changes) -> Detections:
    empty = {
        "boxes_xyxy_px": torch.zeros(0, 4),
        "scores": torch.zeros(0),
        "labels": torch.zeros(0, dtype=torch.int64),
        "names": (),
        "category_ids": (),
        "size_hw": (8, 9),
        "source": "empty.png",
    }
    return Detections(**{**empty, **changes})


@pytest.fixture
def masks() -> torch.Tensor:
    """Of the objects of `found`."""
    masks = torch.zeros(2, 80, 100, dtype=torch.bool)
    masks[0, 20:60, 10:30], masks[1, :8, :5] = True, True
    return masks


@pytest.fixture
def parted(found: Detections, masks: torch.Tensor) -> Detections:
    """The same picture, with masks and parted into a dog and grass; the rest is void."""
    ids = masks[0].to(torch.int32)
    ids[60:] = 2
    dog = Segment(id=1, label=1, name="dog", category_id=18, score=0.9, is_thing=True, area=800)
    grass = Segment(id=2, label=5, name="grass", category_id=193, score=0.12345678, is_thing=False, area=2000)
    return replace(
        found, packed_masks=PackedMasks.pack(masks), packed_panoptic=PackedMap.pack(ids), segments=(dog, grass)
    )


def test_json_has_the_documented_schema(found: Detections):
    assert found.to_json() == {
        "image": "dogs/1.png",
        "width": 100,
        "height": 80,
        "detections": [
            {"label": "dog", "category_id": 18, "score": 0.9, "bbox": [10.0, 20.0, 20.0, 40.0]},
            {"label": "cat", "category_id": 17, "score": 0.456789, "bbox": [-2.0, 0.123, 7.0, 7.877]},
        ],
    }


def test_coco_results_keep_all_digits(found: Detections):
    first, second = found.to_coco(image_id=7)
    assert set(first) == {"image_id", "category_id", "score", "bbox"}
    assert (first["image_id"], first["category_id"]) == (7, 18)
    assert second["score"] == pytest.approx(0.45678912, abs=5e-8)
    assert second["bbox"] == pytest.approx([-2.0, 0.12345, 7.0, 7.87655], abs=1e-5)
    assert found.to_coco()[0]["image_id"] == "dogs/1.png"


def test_entries_are_sorted_by_score_even_if_the_columns_are_not():
    found = none_found(
        boxes_xyxy_px=torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 2.0, 2.0]]),
        scores=torch.tensor([0.2, 0.8]),
        labels=torch.tensor([0, 1]),
        names=("cat", "dog"),
        category_ids=(1, 2),
    )
    assert [entry["label"] for entry in found.to_json()["detections"]] == ["dog", "cat"]
    assert [entry["category_id"] for entry in found.to_coco()] == [2, 1]


def test_length_and_repr(found: Detections):
    assert len(found) == 2
    assert repr(found) == "Detections('dogs/1.png', 100x80: dog 0.90, cat 0.46)"
    assert repr(none_found()) == "Detections('empty.png', 9x8: nothing)"
    assert len(none_found()) == 0


def test_repr_of_many_is_short():
    many = none_found(
        boxes_xyxy_px=torch.zeros(9, 4),
        scores=torch.ones(9),
        labels=torch.zeros(9, dtype=torch.int64),
        names=("cat",) * 9,
        category_ids=(1,) * 9,
    )
    assert repr(many).endswith("4 more)")


def test_plot_draws_on_a_copy_of_the_original(found: Detections):
    drawn = found.plot()
    assert isinstance(drawn, Image.Image)
    assert drawn.size == (100, 80)
    assert found.pixels is not None
    assert (found.pixels == 128).all()
    changed = (np.asarray(drawn) != 128).any(axis=2)
    assert changed[40, 10]  # on the dog's left side
    assert not changed[70, 80]
    larger = found.plot(enlarge=3)
    assert larger.size == (300, 240)


def test_plot_reads_the_file_again_if_need_be(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (9, 8), (10, 200, 30)).save(path)
    found = none_found(path=path)
    assert found.plot().getpixel((4, 4)) == (10, 200, 30)
    path.unlink()
    with pytest.raises(UserError, match="no such picture"):
        found.plot()
    with pytest.raises(ValueError, match="not at hand"):
        none_found().plot()


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="length"):
        none_found(names=("cat",))


def test_masks_come_back_and_go_into_coco_and_json(found: Detections, masks: torch.Tensor):
    assert found.masks is None
    assert "segmentation" not in found.to_coco()[0]
    with_masks = replace(found, packed_masks=PackedMasks.pack(masks))
    assert torch.equal(with_masks.masks, masks)
    for entries in (with_masks.to_coco(7), with_masks.to_json()["detections"]):
        for entry, mask in zip(entries, masks.numpy(), strict=True):
            assert np.array_equal(mask_from_coco(entry["segmentation"]), mask)
    assert "segments" not in with_masks.to_json()
    json.dumps(with_masks.to_coco())


def test_masks_are_sorted_with_their_objects(found: Detections, masks: torch.Tensor):
    turned = replace(found, scores=torch.tensor([0.2, 0.8]), packed_masks=PackedMasks.pack(masks))
    areas = [mask_from_coco(entry["segmentation"]).sum() for entry in turned.to_coco()]
    assert areas == [40, 800]


def test_segments_in_json(parted: Detections):
    page = json.loads(json.dumps(parted.to_json()))
    assert page["segments"] == [
        {"id": 1, "label": "dog", "category_id": 18, "score": 0.9, "is_thing": True, "area": 800},
        {"id": 2, "label": "grass", "category_id": 193, "score": 0.123457, "is_thing": False, "area": 2000},
    ]


def test_panoptic_in_coco_s_form(found: Detections, parted: Detections):
    pixels, segments = parted.to_panoptic()
    assert pixels.dtype == np.uint8
    assert np.array_equal(rgb_to_ids(pixels), parted.panoptic.numpy())
    assert [(each["id"], each["category_id"], each["isthing"], each["iscrowd"]) for each in segments] == [
        (1, 18, 1, 0),
        (2, 193, 0, 0),
    ]
    assert [each["bbox"] for each in segments] == [[10, 20, 20, 40], [0, 60, 100, 20]]
    assert [each["area"] for each in segments] == [(rgb_to_ids(pixels) == number).sum() for number in (1, 2)]
    json.dumps(segments)
    assert found.panoptic is None
    with pytest.raises(ValueError, match="no panoptic map"):
        found.to_panoptic()


def test_plot_shows_the_map_or_else_the_masks_or_else_boxes(found: Detections, parted: Detections):
    boxes = found.plot()
    masked = replace(parted, packed_panoptic=None, segments=None)
    sizes = [each.plot(enlarge=2).size for each in (found, masked, parted)]
    assert sizes[0] == (200, 160)
    assert sizes[1][0] == sizes[2][0] == 200
    assert min(sizes[1][1], sizes[2][1]) > 160, "a legend below"
    plain = [np.asarray(each.plot(legend=False)) for each in (masked, parted)]
    assert plain[0].shape == plain[1].shape == np.asarray(boxes).shape
    assert (plain[0][75] == 128).all()
    assert (plain[1][75] != 128).any(), "the map colours the grass"
    nothing = replace(parted, segments=(), packed_panoptic=PackedMap.pack(torch.zeros(80, 100, dtype=torch.int32)))
    assert np.array_equal(np.asarray(nothing.plot(legend=False)), plain[0]), "an empty map shows nothing"


def test_what_does_not_fit_together_is_refused(found: Detections, parted: Detections):
    with pytest.raises(ValueError, match="length"):
        replace(found, packed_masks=PackedMasks((), (80, 100)))
    with pytest.raises(ValueError, match="size"):
        replace(found, packed_masks=PackedMasks.pack(torch.zeros(2, 8, 10, dtype=torch.bool)))
    with pytest.raises(ValueError, match="size"):
        replace(parted, packed_panoptic=PackedMap.pack(torch.zeros(8, 10, dtype=torch.int32)))
    with pytest.raises(ValueError, match="together"):
        replace(parted, segments=None)
