"""Models by name."""

from dataclasses import asdict

import pytest
import torch

from sleuth.errors import UserError
from sleuth.models.detr import DetrConfig
from sleuth.tasks.detection import Preprocess
from sleuth.weights.catalog import CATALOG, build, entry

PAPER = ("detr-r50", "detr-r50-dc5", "detr-r101", "detr-r101-dc5")
# Their authors cut off what follows the point.
_SIZES = {"r18": 20.5, "r34": 31.5, "r50-m": 36.5, "r50": 42.5, "r101": 76.5}
RTDETR = [(f"{version}-{size}", millions) for version in ("rtdetr", "rtdetrv2") for size, millions in _SIZES.items()]


@pytest.mark.parametrize("name", CATALOG)
def test_every_name_builds(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
    config = CATALOG[name].config
    if isinstance(config, DetrConfig):
        assert model.class_head.out_features == config.num_classes + 1
        assert model.queries.weight.shape == (config.num_queries, config.dim)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("deformable-detr-r50", 40), ("deformable-detr-r50-two-stage", 41), ("dino-r50", 47), ("dfine-l", 31), *RTDETR],
)
def test_sizes_of_descendants_are_those_published(name: str, millions: float) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in build(name).parameters()) / 1e6 == pytest.approx(millions, abs=0.5)


@pytest.mark.parametrize(("name", "millions"), [("detr-r50", 41.3), ("detr-r101", 60.2)])
def test_sizes_are_the_papers(name: str, millions: float) -> None:
    """Parameters and what batch norm has frozen, as in table 1."""
    with torch.device("meta"):
        model = build(name)
    frozen = sum(t.numel() for key, t in model.named_buffers() if key.endswith((".weight", ".bias")))
    assert (sum(p.numel() for p in model.parameters()) + frozen) / 1e6 == pytest.approx(millions, abs=0.5)


def test_the_papers_models_are_the_papers() -> None:
    for name in PAPER:
        config = CATALOG[name].config
        assert (config.num_classes, config.num_queries, config.dim, config.num_heads) == (91, 100, 256, 8)
        assert (config.encoder_layers, config.decoder_layers, config.feedforward_dim) == (6, 6, 2048)
        assert (config.dropout, config.activation, config.pre_norm, config.positions) == (0.1, "relu", False, "sine")
        assert config.dilation == name.endswith("dc5")
        assert CATALOG[name].preprocess == Preprocess(shortest=800, longest=1333)


def test_overrides_change_the_config() -> None:
    with torch.device("meta"):
        model = build("detr-r18", num_classes=3, num_queries=7)
    assert model.class_head.out_features == 4
    assert len(model.queries.weight) == 7


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown model 'detr-r5O'. did you mean 'detr-r50'") as caught:
        entry("detr-r5O")
    assert len(caught.value.line().splitlines()) == 1


def test_a_name_like_no_other_is_told_all() -> None:
    for name in ("zzzzzz", "zebra", "yolo", "my-model"):
        with pytest.raises(UserError, match=r"known: .*detr-r18.*facebook/detr-resnet-50"):
            entry(name)


@pytest.mark.parametrize("name", ["detr-resnet-50", "detr-resnet50", "facebook/detr-resnet50"])
def test_names_of_the_hub_are_proposed_too(name: str) -> None:
    with pytest.raises(UserError, match="did you mean 'facebook/detr-resnet-50'"):
        entry(name)


def test_bundled_weights_fit_in_the_package() -> None:
    for name, known in CATALOG.items():
        if known.weights is not None and known.weights.exists():
            assert known.weights.stat().st_size <= 10_000_000, name


def test_entries_are_plain_values() -> None:
    for known in CATALOG.values():
        assert type(known.config)(**asdict(known.config)) == known.config


@pytest.mark.parametrize(
    ("name", "does"), [("vit-s16", "names pictures"), ("vit-digits", "names"), ("numbers", "translates text")]
)
def test_listed_models_of_other_tasks_say_what_they_are_for(name: str, does: str) -> None:
    """They were proposed in their own place: did you mean 'vit-s16'?"""
    with pytest.raises(UserError, match=f"'{name}' {does}.* and finds no objects") as caught:
        entry(name)
    assert "did you mean" not in caught.value.line()
