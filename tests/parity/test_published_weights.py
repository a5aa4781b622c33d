"""The published weights find what their publishers say. Only where they have been downloaded; see `sleuth models`."""

import json

import pytest
import torch

from sleuth.runtime.predictor import load_predictor
from sleuth.weights.hub import is_on_this_machine

NAME = "facebook/detr-resnet-50"


def test_the_photo_of_two_cats(shared_data) -> None:
    if not is_on_this_machine(NAME):
        pytest.skip(f"{NAME} is not on this machine: load it once with a network")
    folder = shared_data("coco_39769")
    expected = json.loads((folder / "reference.json").read_text())["detr_r50_published_xyxy_at_0_9"]
    (found,) = load_predictor(NAME, device="cpu").predict(folder / "000000039769.png", threshold=0.9)
    assert sorted(found.names) == sorted(name for name, _, _ in expected)
    for name, score, box in expected:
        distances = (found.boxes_xyxy_px - torch.tensor(box)).abs().amax(dim=1)
        nearest = int(distances.argmin())
        assert found.names[nearest] == name
        assert distances[nearest] < 0.1
        assert float(found.scores[nearest]) == pytest.approx(score, abs=6e-4)
