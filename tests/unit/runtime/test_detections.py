"""What was found in one picture: its columns, its JSON, its COCO results and its drawing."""

import numpy as np
import pytest
import torch
from PIL import Image

from sleuth.errors import UserError
from sleuth.runtime.detections import Detections


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
