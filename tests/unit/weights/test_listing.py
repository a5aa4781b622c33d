"""The table that people read agrees with what is built."""

from dataclasses import replace

import pytest
import torch

from sleuth.models.families import build_detector
from sleuth.weights.catalog import CATALOG
from sleuth.weights.checkpoint import read_card, read_tensors
from sleuth.weights.hub import is_hub_name
from sleuth.weights.listing import LISTED, published_as

PANOPTIC_CLASSES = 250


def test_every_name_that_builds_is_listed() -> None:
    assert set(CATALOG) <= set(LISTED)
    for name, listed in LISTED.items():
        assert listed.architecture in CATALOG
        assert listed.about
        assert listed.licence
        assert listed.origin
        assert is_hub_name(name) == (listed.kind == "hub")
        assert (name in CATALOG) == (listed.kind != "hub")
        assert bool(listed.scores) == bool(listed.measured_on) == (listed.kind != "architecture")
        assert (listed.kind == "bundled") == (name in CATALOG and CATALOG[name].weights is not None)


@pytest.mark.parametrize("name", LISTED)
def test_parameters_are_those_of_the_model(name: str) -> None:
    listed = LISTED[name]
    config = CATALOG[listed.architecture].config
    if listed.kind == "hub" and listed.task == "panoptic segmentation":
        config = replace(config, num_classes=PANOPTIC_CLASSES, masks=True)
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in build_detector(config).parameters()) == listed.parameters


def test_published_scores_are_the_papers() -> None:
    box = {name.removeprefix("facebook/detr-resnet-"): listed.scores["box AP"] for name, listed in hub().items()}
    assert box["ustc-community/dfine-nano-coco"] == 42.8
    assert box["ustc-community/dfine-xlarge-obj2coco"] == 59.3
    assert box["50"] == 42.0
    assert box["101"] == 43.5
    assert box["50-dc5"] == 43.3
    assert box["101-dc5"] == 44.9
    assert box["SenseTime/deformable-detr"] == 44.5
    assert box["SenseTime/deformable-detr-with-box-refine"] == 46.2
    assert box["SenseTime/deformable-detr-with-box-refine-two-stage"] == 46.9
    quality = {name: listed.scores["PQ"] for name, listed in hub().items() if "PQ" in listed.scores}
    assert list(quality) == [name for name in hub() if name.endswith("-panoptic")]
    assert sorted(quality.values()) == [43.4, 44.6, 45.1]


def test_bundled_models_do_what_is_listed() -> None:
    bundled = {name: listed for name, listed in LISTED.items() if listed.kind == "bundled"}
    assert bundled
    for name, listed in bundled.items():
        path = CATALOG[name].weights
        card = read_card(path, read_tensors(path)[1])
        assert card.config.get("masks", False) == (listed.task == "panoptic segmentation")


def test_architectures_know_their_published_weights() -> None:
    assert published_as("detr-r50") == "facebook/detr-resnet-50"
    assert published_as("detr-r101-dc5") == "facebook/detr-resnet-101-dc5"
    assert published_as("detr-r18") is None
    assert published_as("dfine-s") == "ustc-community/dfine-small-coco"


def hub() -> dict:
    return {name: listed for name, listed in LISTED.items() if listed.kind == "hub"}
