"""`sleuth demo` parts its scenes into things and stuff as well, where the panoptic model is at hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from sleuth.cli import demo
from sleuth.data.scenes import SceneSource
from sleuth.weights.catalog import CATALOG
from sleuth.weights.checkpoint import load_model, save_model


@pytest.fixture
def panoptic_model(make_model, tmp_path: Path, monkeypatch) -> Path:
    """An untrained model in the place of the bundled one."""
    source = SceneSource("test", annotations="panoptic")
    path = make_model(
        tmp_path / "panoptic.safetensors", names=source.names, masks=True, backbone_stages=4, dim=32, num_queries=4
    )
    loaded = load_model(path)
    loaded.model.class_head.bias.data[-3] = 50.0  # everything is one kind of stuff, and sure of it
    save_model(path, loaded.model, replace(loaded.card, is_thing=source.is_thing))
    bundled = CATALOG["detr-scenes"]
    monkeypatch.setitem(CATALOG, demo.PANOPTIC_MODEL, replace(bundled, config=loaded.config, weights=path))
    return path


def test_with_the_model(panoptic_model: Path, cli, size_of, tmp_path: Path):
    said = cli("demo", "--scenes", "1", "--out", tmp_path / "demo")
    assert said.code == 0, said.err
    assert "things and stuff" in said.out
    assert "dots 100%" in said.out
    width, height = size_of(tmp_path / "demo" / "panoptic.png")
    assert width > 3 * 128 * demo.PANOPTIC_ENLARGE
    assert height > 2 * 128 * demo.PANOPTIC_ENLARGE
    assert f"--model {demo.PANOPTIC_MODEL} --panoptic" in said.out


def test_without_its_weights(panoptic_model: Path, cli, tmp_path: Path):
    panoptic_model.unlink()
    said = cli("demo", "--scenes", "1", "--out", tmp_path / "demo")
    assert said.code == 0, said.err
    assert demo.PANOPTIC_MODEL not in said.out
    assert not (tmp_path / "demo" / "panoptic.png").exists()
