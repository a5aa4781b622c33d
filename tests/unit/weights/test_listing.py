"""The table that people read agrees with what is built."""

import re
from dataclasses import replace

import pytest
import torch

from sleuth.models.families import build_detector
from sleuth.models.segmenter import build_segmenter
from sleuth.models.segmenter_variants import SEGMENTER_VARIANTS
from sleuth.models.seq2seq import build_seq2seq
from sleuth.models.seq2seq_variants import SEQ2SEQ_VARIANTS
from sleuth.models.vit import build_vit
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.weights import classifiers
from sleuth.weights.catalog import CATALOG
from sleuth.weights.checkpoint import read_card, read_tensors
from sleuth.weights.hub import is_hub_name
from sleuth.weights.listing import LISTED, published_as
from sleuth.weights.translator import load_translator
from sleuth.weights.translators import BUNDLED

PANOPTIC_CLASSES = 250
SEMANTIC_CLASSES = 150


def test_every_name_that_builds_is_listed() -> None:
    names = {*CATALOG, *SEQ2SEQ_VARIANTS, *VIT_VARIANTS, *SEGMENTER_VARIANTS, *BUNDLED}
    assert names <= set(LISTED)
    by_task = {
        "translation": SEQ2SEQ_VARIANTS,
        "classification": VIT_VARIANTS,
        "semantic segmentation": SEGMENTER_VARIANTS,
    }
    for name, listed in LISTED.items():
        assert listed.architecture in by_task.get(listed.task, CATALOG)
        assert listed.about
        assert listed.licence
        assert listed.origin
        assert is_hub_name(name) == (listed.kind == "hub")
        assert (name in names) == (listed.kind != "hub")
        assert bool(listed.scores) == bool(listed.measured_on) == (listed.kind != "architecture")
        in_catalog = name in CATALOG and CATALOG[name].weights is not None
        assert (listed.kind == "bundled") == (in_catalog or name in BUNDLED or name in classifiers.BUNDLED)


@pytest.mark.parametrize("name", [name for name, listed in LISTED.items() if listed.task == "translation"])
def test_parameters_are_those_of_the_translator(name: str) -> None:
    listed = LISTED[name]
    config = SEQ2SEQ_VARIANTS[listed.architecture]
    if listed.kind == "bundled":
        config = load_translator(BUNDLED[name]).model.config
    if listed.kind == "hub":
        words = int(re.search(r"([\d,]+) words", listed.about)[1].replace(",", ""))
        config = replace(config, source_vocab=words, target_vocab=words, tie="all", output_bias=True)
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in build_seq2seq(config).parameters()) == listed.parameters


@pytest.mark.parametrize("name", VIT_VARIANTS)
def test_parameters_are_those_of_the_classifier(name: str) -> None:
    with torch.device("meta"):
        built = build_vit(VIT_VARIANTS[name])
    assert sum(parameter.numel() for parameter in built.parameters()) == LISTED[name].parameters


@pytest.mark.parametrize("name", SEGMENTER_VARIANTS)
def test_parameters_are_those_of_the_segmenter(name: str) -> None:
    with torch.device("meta"):
        built = build_segmenter(replace(SEGMENTER_VARIANTS[name], num_classes=SEMANTIC_CLASSES))
    assert sum(parameter.numel() for parameter in built.parameters()) == LISTED[name].parameters


@pytest.mark.parametrize("name", classifiers.BUNDLED)
def test_bundled_classifiers_are_of_their_size_and_have_their_score(name: str) -> None:
    loaded = classifiers.open_classifier(name)
    assert loaded.config == VIT_VARIANTS[LISTED[name].architecture]
    assert loaded.notes["scores"]["top-1"] == pytest.approx(LISTED[name].scores["top-1"], abs=5e-4)


@pytest.mark.parametrize(
    "name", [name for name, listed in LISTED.items() if listed.task in ("detection", "panoptic segmentation")]
)
def test_parameters_are_those_of_the_model(name: str) -> None:
    listed = LISTED[name]
    config = CATALOG[listed.architecture].config
    if listed.kind == "hub" and listed.task == "panoptic segmentation":
        config = replace(config, num_classes=PANOPTIC_CLASSES, masks=True)
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in build_detector(config).parameters()) == listed.parameters


def test_published_scores_are_the_papers() -> None:
    detectors = {name: listed for name, listed in hub().items() if listed.task != "translation"}
    box = {name.removeprefix("facebook/detr-resnet-"): listed.scores["box AP"] for name, listed in detectors.items()}
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
    bundled = {name: listed for name, listed in LISTED.items() if listed.kind == "bundled" and name in CATALOG}
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
