"""Models of the hub on the command line: as a person uses them, and every fault in one line with exit code 2."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

NAME = "someone/tiny-detr"


@pytest.fixture(scope="session")
def upload(tmp_path_factory) -> dict[str, bytes]:
    """A tiny DETR in Hugging Face's form, as files."""
    import torch

    from sleuth.models.detr import DetrConfig, build_detr
    from sleuth.tasks.preprocess import Preprocess
    from sleuth.weights.checkpoint import LoadedModel, detector_card
    from sleuth.weights.origins.huggingface_export import write_folder

    torch.manual_seed(2)
    tiny = {"dim": 16, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feedforward_dim": 32}
    config = DetrConfig(backbone="resnet10", backbone_width=8, num_classes=2, num_queries=5, **tiny)
    card = detector_card(config, names=("cat", "dog"), category_ids=(0, 1), preprocess=Preprocess(48, 80))
    folder = tmp_path_factory.mktemp("upload")
    write_folder(folder, LoadedModel(build_detr(config).eval(), card))
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def model(hub, upload):
    import hub_server

    hub.models[NAME] = hub_server.Model(dict(upload))
    return hub.models[NAME]


@pytest.fixture
def picture(scenes: Path) -> Path:
    return scenes / "val" / "images" / "000001.png"


def test_a_name_of_the_hub_is_all_it_takes(cli, hub, model, picture: Path, monkeypatch):
    words = ("predict", picture, "--model", NAME, "--threshold", "0", "--json", "-")
    first = cli(*words)
    assert first.code == 0, first.err
    found = first.json[0]["detections"]
    assert len(found) == 5
    assert {each["label"] for each in found} <= {"cat", "dog"}
    hub.stop()
    assert cli(*words).json == first.json, "without a network"
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert cli(*words).json == first.json


def test_every_command_takes_it(cli, model, coco_data: Path, tmp_path: Path):
    assert cli("trace", "--model", NAME, "--size", "64x64", "--json").json["steps"]
    said = cli("convert", NAME, "--to", "sleuth", "--out", tmp_path / "mine.safetensors")
    assert said.code == 0, said.err
    words = ("--steps", 2, "--batch-size", 2, "--workers", 0, "--device", "cpu", "--scale", 48)
    said = cli("train", "--data", coco_data, "--model", NAME, "--out", tmp_path / "run", *words)
    assert said.code == 0, said.err
    assert (tmp_path / "run" / "best.safetensors").is_file() or (tmp_path / "run" / "last.safetensors").is_file()


def change_config(**values):
    def change(model) -> None:
        model.files["config.json"] = json.dumps(json.loads(model.files["config.json"]) | values).encode()

    return change


def truncate(model) -> None:
    model.files["model.safetensors"] = model.files["model.safetensors"][:3000]


def as_a_bomb(model) -> None:
    import pickle

    del model.files["model.safetensors"]
    model.files["pytorch_model.bin"] = pickle.dumps(os.system, protocol=2)


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda model: setattr(model, "gated", True), ["'someone/tiny-detr' is gated", "hf auth login"]),
        (change_config(model_type="yolos"), ["yolos", "detr"]),
        (change_config(id2label={"0": "cat"}), ["id2label", "2"]),
        (change_config(wheels=4), ["wheels"]),
        (change_config(d_model=20), ["config.json"]),
        (lambda model: model.files.pop("config.json"), ["no config.json"]),
        (lambda model: model.files.pop("model.safetensors"), ["no weights"]),
        (lambda model: model.files.update({"config.json": b"{"}), ["config.json", "JSON"]),
        (truncate, ["model.safetensors", "not a readable safetensors file"]),
        (as_a_bomb, ["pytorch_model.bin", "os" if os.name == "nt" else "posix.system"]),
    ],
    ids=["gated", "type", "names", "field", "sizes", "no config", "no weights", "broken config", "truncated", "bomb"],
)
def test_models_that_cannot_be_used(cli, model, picture: Path, prepare, told: list[str]):
    prepare(model)
    refused(cli("predict", picture, "--model", NAME, "--json", "-"), *told)


def test_the_hubs_own_faults(cli, hub, model, picture: Path, monkeypatch):
    from huggingface_hub import file_download

    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    words = ("predict", picture, "--json", "-", "--model")
    refused(cli(*words, "someone/nothing"), "knows no model 'someone/nothing'", "no file or folder")
    refused(cli(*words, f"{NAME}@v7"), "no revision 'v7'")
    hub.spoil = 2
    refused(cli(*words, NAME), "damaged twice", "checksum")
    hub.cut_after = [4000, *[0] * 9]
    refused(cli(*words, NAME), "broke off", "goes on where it stopped")
    hub.stop()
    refused(cli(*words, NAME), "not on this machine", "cannot be reached")
    refused(cli(*words, "facebook/detr-resnet-50"), "'facebook/detr-resnet-50' is not on this machine")


def refused(said, *told: str) -> None:
    assert said.code == 2
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    assert said.err.startswith("sleuth: error: ")
    for part in told:
        assert part in said.err


# A chunk of 10 MB, as is usual, would hold the whole of a small file.
DRIVER = """
import sys
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = 1024
from sleuth.weights.hub import snapshot
print(snapshot(sys.argv[1]))
"""


def test_a_killed_download_goes_on(hub, tmp_path: Path):
    """By the environment alone, in processes of their own: killed in the middle, then resumed, then offline."""
    import hub_server

    weights = os.urandom(300_000)
    hub.models[NAME] = hub_server.Model({"config.json": b"{}", "model.safetensors": weights})
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(tmp_path / "cache")}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", DRIVER, NAME]

    def call(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=environment | more, capture_output=True, text=True, timeout=60, check=False)

    hub.hold_after = 200_000
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        arrived, until = 0, time.monotonic() + 30
        while arrived < 150_000 and time.monotonic() < until:
            arrived = sum(file.stat().st_size for file in (tmp_path / "cache").rglob("*.sleuth-partial"))
            time.sleep(0.02)
    finally:
        first.kill()
        first.wait(10)
    assert arrived >= 150_000
    assert not list((tmp_path / "cache").rglob("model.safetensors"))
    hub.hold_after = None
    hub.asked.clear()
    second = call()
    assert second.returncode == 0, second.stderr
    (wanted,) = [wanted for method, path, wanted in hub.asked if method == "GET" and path.startswith("/large/")]
    assert int(wanted.removeprefix("bytes=").removesuffix("-")) >= 150_000
    folder = Path(second.stdout.strip())
    assert (folder / "model.safetensors").read_bytes() == weights
    asked = len(hub.asked)
    third = call(HF_HUB_OFFLINE="1")
    assert third.stdout == second.stdout
    assert len(hub.asked) == asked
