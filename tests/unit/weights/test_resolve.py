"""Which file, folder or model of the hub a name means."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from sleuth.errors import UserError
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.catalog import CATALOG
from sleuth.weights.checkpoint import LoadedModel, detector_card, save_model
from sleuth.weights.origins.huggingface_export import write_folder
from sleuth.weights.origins.original import write_original
from sleuth.weights.resolve import find_weights, has_weights, is_path, open_model

HUB_NAME = "someone/tiny-detr"


@pytest.fixture(scope="module")
def tiny() -> LoadedModel:
    torch.manual_seed(1)
    config = DetrConfig(
        backbone="resnet18",
        num_classes=2,
        dim=16,
        num_heads=2,
        encoder_layers=1,
        decoder_layers=1,
        feedforward_dim=32,
        num_queries=5,
    )
    card = detector_card(config, names=("cat", "dog"), category_ids=(17, 18), preprocess=Preprocess(32, 64))
    return LoadedModel(build_detr(config).eval(), card)


def same(one: LoadedModel, other: LoadedModel) -> bool:
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    return one.card.names == other.card.names and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_names_and_paths_are_told_apart(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not is_path("detr-r50")
    assert not is_path("detr-r5")
    for path in ("runs/a", "a.safetensors", "a.pth", Path("detr-r50"), "C:\\models\\a", "facebook/detr-resnet-50"):
        assert is_path(path)
    (tmp_path / "mine").mkdir()
    assert is_path("mine"), "a folder here"
    (tmp_path / "detr-r50").mkdir()
    assert not is_path("detr-r50"), "a known name goes before a folder of that name"
    assert is_path("./detr-r50")


def test_what_has_weights():
    assert has_weights("detr-scenes")
    assert has_weights("facebook/detr-resnet-50")
    assert not has_weights("detr-r50")


def test_the_bundled_weights_are_there_and_small():
    path = find_weights("detr-scenes")
    assert path == CATALOG["detr-scenes"].weights
    assert path.stat().st_size <= 10_000_000


def test_missing_bundled_weights_are_the_installation_s_fault(tmp_path: Path, monkeypatch):
    from dataclasses import replace

    from sleuth.weights import resolve

    gone = replace(CATALOG["detr-scenes"], weights=tmp_path / "gone.safetensors")
    monkeypatch.setattr(resolve, "entry", lambda name: gone)
    with pytest.raises(UserError, match="install Sleuth again"):
        find_weights("detr-scenes")


def test_an_architecture_has_no_weights():
    with pytest.raises(UserError, match="or use facebook/detr-resnet-50"):
        open_model("detr-r50")
    with pytest.raises(UserError, match="or use sleuth-scenes or detr-scenes"):
        open_model("detr-r18")


def test_a_run_folder_stands_for_its_best_weights(tmp_path: Path):
    with pytest.raises(UserError, match=r"best\.safetensors nor config\.json"):
        find_weights(tmp_path)
    (tmp_path / "config.json").touch()
    assert find_weights(tmp_path) == tmp_path
    (tmp_path / "best.safetensors").touch()
    assert find_weights(tmp_path) == tmp_path / "best.safetensors"


def test_a_folder_of_adapters_is_told_how_to_become_a_model(tmp_path: Path):
    (tmp_path / "adapter_config.json").touch()
    with pytest.raises(UserError, match="sleuth merge"):
        find_weights(tmp_path)


def test_the_nearest_name_is_proposed(tmp_path: Path):
    (tmp_path / "cats-and-dogs.safetensors").touch()
    with pytest.raises(UserError, match=r"did you mean .*cats-and-dogs\.safetensors"):
        find_weights(tmp_path / "cats-and-dog.safetensors")
    with pytest.raises(UserError, match="check the path"):
        find_weights(tmp_path / "zebra.safetensors")
    with pytest.raises(UserError, match="did you mean 'detr-scenes'"):
        find_weights("detr-scene")


@pytest.mark.parametrize("suffix", [".onnx", ".h5"])
def test_weights_of_other_kinds_are_not_read(suffix: str, tmp_path: Path):
    (tmp_path / f"model{suffix}").write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match=r"\.safetensors"):
        find_weights(tmp_path / f"model{suffix}")


def test_models_in_every_form_are_opened(tiny: LoadedModel, tmp_path: Path):
    save_model(tmp_path / "ours.safetensors", tiny.model, tiny.card)
    write_original(tmp_path / "original.pth", tiny)
    write_folder(tmp_path / "theirs", tiny)
    for name in ("ours.safetensors", "original.pth", "theirs", "theirs/model.safetensors"):
        opened = open_model(str(tmp_path / name))
        assert opened.card.names == ("cat", "dog")
        assert not opened.model.training
        key = "class_head.weight"
        assert torch.equal(opened.model.state_dict()[key], tiny.model.state_dict()[key])


def test_a_pickle_in_hugging_faces_folder(tiny: LoadedModel, tmp_path: Path):
    write_folder(tmp_path / "theirs", tiny)
    weights = tmp_path / "theirs" / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    for name in ("theirs", "theirs/pytorch_model.bin"):
        assert open_model(tmp_path / name).card.names == ("cat", "dog")


@pytest.fixture
def on_the_hub(hub, tiny: LoadedModel, tmp_path: Path) -> Callable[..., object]:
    """Put a folder in Hugging Face's form on the hub."""
    import hub_server

    write_folder(tmp_path / "upload", tiny)
    files = {file.name: file.read_bytes() for file in (tmp_path / "upload").iterdir()}
    hub.models[HUB_NAME] = hub_server.Model(files)
    return hub


def test_a_model_of_the_hub_is_opened_and_kept(on_the_hub, tiny: LoadedModel, monkeypatch):
    first = open_model(HUB_NAME)
    assert first.card.names == ("cat", "dog")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert same(open_model(HUB_NAME), first)
    assert same(open_model(Path(HUB_NAME)), first), "as an option that wants a path gives it"
    assert same(open_model(f"{HUB_NAME}@main"), first)


def test_what_is_here_goes_before_the_hub(on_the_hub, tiny: LoadedModel, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / HUB_NAME, tiny)
    open_model(HUB_NAME)
    assert not on_the_hub.asked


def test_another_architecture_is_refused_before_its_weights_come(on_the_hub):
    files = on_the_hub.models[HUB_NAME].files
    files["config.json"] = json.dumps({"model_type": "bert"}).encode()
    with pytest.raises(UserError, match="bert") as caught:
        open_model(HUB_NAME)
    assert "detr" in caught.value.line()
    assert not on_the_hub.downloads()


def test_a_name_that_leads_nowhere_says_what_was_tried(hub):
    with pytest.raises(UserError) as caught:
        open_model("runs/mine")
    line = caught.value.line()
    assert "no file or folder 'runs/mine' here" in line
    assert "the hub knows no model 'runs/mine'" in line
    hub.stop()
    with pytest.raises(UserError, match=r"no file or folder 'runs/mine' here.*the hub cannot be reached"):
        open_model("runs/mine")
    with pytest.raises(UserError, match=r"^the model 'facebook/detr-resnet-50' is not on this machine"):
        open_model("facebook/detr-resnet-50")


@pytest.mark.parametrize("name", ["runs/mine/best.safetensors", "./mine", "runs/mine.pth", "a/b/c"])
def test_what_can_only_be_a_path_is_not_asked_of_the_hub(hub, name: str):
    with pytest.raises(UserError, match="no such model file"):
        open_model(name)
    assert not hub.asked
