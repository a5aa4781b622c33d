"""Classifiers as files and by name: what is saved is loaded, and what is something else is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sleuth.errors import UserError
from sleuth.models.vit import VitConfig, build_vit
from sleuth.tasks.classification import classifier_preprocess
from sleuth.types.batches import ImageBatch
from sleuth.weights.checkpoint import load_model, read_tensors, save_tensors
from sleuth.weights.classifier import LoadedClassifier, load_classifier, save_classifier
from sleuth.weights.classifiers import is_classifier, open_classifier
from sleuth.weights.origins.vit_folder import write_vit_huggingface, write_vit_timm

CONFIG = VitConfig(image_hw=(8, 12), patch_size=4, num_classes=3, dim=16, depth=2, num_heads=2, feedforward_dim=32)
SQUARE = replace(CONFIG, image_hw=(16, 16), patch_size=8)


def made(config: VitConfig = CONFIG, **notes) -> LoadedClassifier:
    names = ("cat", "dog", "größe")[: config.num_classes]
    preprocess = classifier_preprocess(config.image_hw)
    return LoadedClassifier(build_vit(config).eval(), config, names, preprocess, notes)


def same_weights(a, b) -> bool:
    ours, theirs = a.model.state_dict(), b.model.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_what_is_saved_is_loaded(tmp_path: Path):
    loaded = made(scores={"top-1": 0.5})
    save_classifier(tmp_path / "m.safetensors", loaded, notes={"step": 3})
    again = load_classifier(tmp_path / "m.safetensors")
    assert (again.config, again.names, again.preprocess) == (loaded.config, loaded.names, loaded.preprocess)
    assert again.notes == {"scores": {"top-1": 0.5}, "step": 3}
    assert same_weights(again, loaded)
    assert not again.model.training


def test_half_precision_is_half_as_large(tmp_path: Path):
    loaded = made()
    save_classifier(tmp_path / "half.safetensors", loaded, dtype=torch.float16)
    again = load_classifier(tmp_path / "half.safetensors")
    assert next(again.model.parameters()).dtype == torch.float32
    assert torch.allclose(again.model.head.weight, loaded.model.head.weight, atol=1e-4)


def test_names_have_to_fit(tmp_path: Path):
    with pytest.raises(ValueError, match="3 classes, but 1 names"):
        save_classifier(tmp_path / "m.safetensors", replace(made(), names=("cat",)))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"architecture": "detr"}, "finds objects"),
        ({"architecture": "unheard"}, "unknown architecture"),
        ({"names": ["cat"]}, "names 1 classes"),
        ({"config": {"dim": 16, "surprise": 1}}, "unknown option 'surprise'"),
        ({"config": {"dim": 15}}, "not a multiple"),
        ({"config": 3}, "describes no model"),
        ({"preprocess": {"resize": "wild"}}, "describes no model"),
    ],
)
def test_broken_cards_are_one_line(tmp_path: Path, change: dict, fault: str):
    path = tmp_path / "m.safetensors"
    save_classifier(path, made())
    tensors, metadata = read_tensors(path)
    card = json.loads(metadata["sleuth"]) | change
    save_tensors(path, tensors, {"sleuth": json.dumps(card)})
    with pytest.raises(UserError, match=fault):
        load_classifier(path)


def test_a_detector_is_asked_for_and_a_classifier_given(tmp_path: Path):
    save_classifier(tmp_path / "m.safetensors", made())
    with pytest.raises(UserError, match="names pictures"):
        load_model(tmp_path / "m.safetensors")


def test_files_run_folders_and_folders_of_others_are_opened(tmp_path: Path):
    loaded = made(SQUARE)
    (tmp_path / "run").mkdir()
    save_classifier(tmp_path / "run" / "best.safetensors", loaded)
    images = ImageBatch(torch.full((1, 3, 16, 16), 0.3), torch.ones(1, 16, 16, dtype=torch.bool))
    for form, write in (("timm", write_vit_timm), ("huggingface", write_vit_huggingface)):
        (tmp_path / form).mkdir()
        write(tmp_path / form, loaded)
    for place in ("run", "run/best.safetensors", "timm", "huggingface", "huggingface/model.safetensors"):
        assert is_classifier(str(tmp_path / place)), place
        again = open_classifier(str(tmp_path / place))
        assert again.names == loaded.names
        with torch.inference_mode():
            assert torch.allclose(again.model(images).logits, loaded.model(images).logits, atol=1e-4)


def test_names_that_mean_something_else_or_nothing(tmp_path: Path):
    assert is_classifier("vit-digits")
    assert is_classifier("google/vit-base-patch16-224")
    assert is_classifier("timm/vit_small_patch16_224.augreg_in1k")
    for name in ("sleuth-scenes", "facebook/detr-resnet-50", "numbers", str(tmp_path), "nowhere.safetensors"):
        assert not is_classifier(name), name
    with pytest.raises(UserError, match="architecture without weights"):
        open_classifier("vit-s16")
    with pytest.raises(UserError, match="did you mean 'vit-digits'"):
        open_classifier("vit-digit")
    with pytest.raises(UserError, match="holds neither"):
        open_classifier(tmp_path)


def test_the_hub_is_asked_by_name(hub, tmp_path: Path):
    import hub_server

    folder = tmp_path / "theirs"
    folder.mkdir()
    loaded = made(SQUARE)
    write_vit_huggingface(folder, loaded)
    hub.models["google/vit-tiny"] = hub_server.Model({path.name: path.read_bytes() for path in folder.iterdir()})
    again = open_classifier("google/vit-tiny")
    assert again.names == loaded.names
    assert same_weights(again, loaded)
