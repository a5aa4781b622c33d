"""Segmenters as files: what is saved is loaded, and what is something else is refused."""

import json
from pathlib import Path

import pytest
import torch

from sleuth.errors import UserError
from sleuth.models.segmenter import SegmenterConfig, build_segmenter
from sleuth.models.vit import VitConfig, build_vit
from sleuth.tasks.classification import classifier_preprocess
from sleuth.tasks.semantic import semantic_preprocess
from sleuth.weights.checkpoint import load_model, read_tensors, save_tensors
from sleuth.weights.classifier import LoadedClassifier, load_classifier, save_classifier
from sleuth.weights.classifiers import is_classifier
from sleuth.weights.segmenter import LoadedSegmenter, is_segmenter, load_segmenter, open_segmenter, save_segmenter

VIT = VitConfig(image_hw=(8, 12), patch_size=4, num_classes=0, dim=16, depth=1, num_heads=2, feedforward_dim=32)
CONFIG = SegmenterConfig(VIT, num_classes=2, head_depth=1)


def made(**notes) -> LoadedSegmenter:
    return LoadedSegmenter(
        build_segmenter(CONFIG).eval(), CONFIG, ("sky", "straße"), semantic_preprocess((8, 12)), notes
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_segmenter(tmp_path / "best.safetensors", made(ignore=[11]), notes={"step": 3})
    return tmp_path / "best.safetensors"


def test_what_is_saved_is_loaded(file: Path):
    again = load_segmenter(file)
    assert (again.config, again.names, again.preprocess) == (CONFIG, ("sky", "straße"), semantic_preprocess((8, 12)))
    assert again.notes == {"ignore": [11], "step": 3}
    assert again.ignored == (11,)
    assert not again.model.training
    tensors, _ = read_tensors(file)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in again.model.state_dict().items())


def test_files_and_run_folders_are_known_for_what_they_are(file: Path):
    assert is_segmenter(file)
    assert is_segmenter(str(file.parent))
    assert is_segmenter("segmenter-s16")
    assert not is_classifier(str(file))
    assert open_segmenter(file.parent).names == ("sky", "straße")
    assert not is_segmenter("vit-s16")
    with pytest.raises(UserError, match="architecture without weights"):
        open_segmenter("segmenter-s16")
    with pytest.raises(UserError, match="no such file"):
        open_segmenter("nowhere.safetensors")


def test_a_model_for_something_else_is_refused_with_what_it_is_for(file: Path, tmp_path: Path):
    for load in (load_model, load_classifier):
        with pytest.raises(UserError, match="gives every pixel a class"):
            load(file)
    config = VitConfig(image_hw=(8, 8), patch_size=4, num_classes=1, dim=16, depth=1, num_heads=2, feedforward_dim=32)
    classifier = LoadedClassifier(build_vit(config), config, ("cat",), classifier_preprocess((8, 8)))
    save_classifier(tmp_path / "vit.safetensors", classifier)
    with pytest.raises(UserError, match="names pictures"):
        load_segmenter(tmp_path / "vit.safetensors")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda card: card["config"].update(other=1), "unknown option 'other'"),
        (lambda card: card["config"]["vit"].update(other=1), "unknown option 'other'"),
        (lambda card: card["config"].pop("vit"), "'vit' is missing"),
        (lambda card: card["names"].append("car"), "names 3 classes, but the model has 2"),
        (lambda card: card["config"].update(head="linear"), "weights of another model"),
    ],
)
def test_cards_at_fault_are_one_line(change, line: str, file: Path):
    tensors, metadata = read_tensors(file)
    card = json.loads(metadata["sleuth"])
    change(card)
    save_tensors(file, tensors, {"sleuth": json.dumps(card)})
    with pytest.raises(UserError, match=line):
        load_segmenter(file)


def test_names_have_to_fit(tmp_path: Path):
    loaded = LoadedSegmenter(build_segmenter(CONFIG), CONFIG, ("sky",), semantic_preprocess((8, 12)))
    with pytest.raises(ValueError, match="2 classes, but 1 names"):
        save_segmenter(tmp_path / "m.safetensors", loaded)
