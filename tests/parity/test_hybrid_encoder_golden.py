"""Backbones and hybrid encoders of RT-DETR and D-FINE against the originals, on squares and on other sizes."""

import sys
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from golden_fixture import Fixture, load_fixture

from sleuth.backbones.hgnetv2 import HgNetV2
from sleuth.backbones.hybrid_encoder import HybridEncoder
from sleuth.backbones.resnet import ResNet
from sleuth.nn.folding import FoldedConvolutions
from sleuth.weights.keymap import KeyMap
from sleuth.weights.maps.rtdetr_parts import (
    dfine_encoder_rules,
    hgnetv2_rules,
    resnet_d_rules,
    rtdetr_encoder_rules,
)

RTDETR = KeyMap([*resnet_d_rules(), *rtdetr_encoder_rules()], origin="RT-DETR's backbone and encoder")
DFINE = KeyMap([*hgnetv2_rules(), *dfine_encoder_rules()], origin="D-FINE's backbone and encoder")


class Pyramid(nn.Module):
    def __init__(self, backbone: ResNet | HgNetV2, encoder: HybridEncoder) -> None:
        super().__init__()
        self.backbone = backbone
        self.encoder = encoder

    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.backbone.pyramid(images) if isinstance(self.backbone, ResNet) else self.backbone(images)


def _built(fixture: Fixture) -> tuple[Pyramid, KeyMap]:
    # The encoder's own quirk of positions shows in the fixtures that are no squares.
    if "PResNet" in fixture.spec["config"]:
        encoder = HybridEncoder(in_channels=(128, 256, 512), expansion=0.5, positions="original")
        backbone = ResNet(name="resnet18", variant="d", frozen_norm=False)
        return Pyramid(backbone, encoder), RTDETR
    backbone = HgNetV2(name="b0")
    encoder = HybridEncoder(
        in_channels=backbone.channels, expansion=0.5, depth=0.34, fusion="elan", positions="original"
    )
    return Pyramid(backbone, encoder), DFINE


@dataclass
class Run:
    fixture: Fixture
    model: Pyramid
    keys: KeyMap
    maps: tuple[Tensor, ...]
    pyramid: tuple[Tensor, ...]


@pytest.fixture(scope="module", params=["rtdetrv2_r18", "rtdetrv2_r18_train", "dfine_s", "dfine_s_train"])
def run(request: pytest.FixtureRequest, golden: Path) -> Run:
    fixture = load_fixture(golden, request.param, parts=("backbone.", "encoder."))
    model, keys = _built(fixture)
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    model.load_state_dict(keys.load(fixture.weights, wanted))
    model.eval()
    with torch.no_grad():
        maps = model.maps(fixture.images())
        return Run(fixture, model, keys, maps, model.encoder(maps))


def _check(fixture: Fixture, part: str, maps: tuple[Tensor, ...], channels: tuple[int, int, int]) -> None:
    for level in range(3):
        step = 4 >> level
        name = next(name for name in fixture.tensors if name.startswith(f"out/{part}{level}"))
        fixture.check(name.removeprefix("out/"), maps[level][:, :: channels[level], ::step, ::step])


def test_backbone_and_encoder_agree(run: Run) -> None:
    _check(run.fixture, "backbone", run.maps, (4, 8, 16))
    _check(run.fixture, "encoder", run.pyramid, (8, 8, 8))
    if "out/aifi_output_every2nd_channel" in run.fixture.tensors:
        encoder = run.model.encoder
        with torch.no_grad():
            top = encoder.look_within(encoder.input_proj[-1](run.maps[-1]))
        run.fixture.check("aifi_output_every2nd_channel", top.flatten(2).transpose(1, 2)[..., ::2])


def test_fused_encoders_agree_as_closely(run: Run) -> None:
    with torch.no_grad(), FoldedConvolutions(run.model.encoder):
        _check(run.fixture, "encoder", run.model.encoder(run.maps), (8, 8, 8))


def test_positions_in_the_order_of_tokens_differ_only_off_squares(run: Run) -> None:
    encoder = deepcopy(run.model.encoder)
    encoder.positions = "rows"
    with torch.no_grad():
        rows = encoder(run.maps)
    square = run.maps[-1].shape[-1] == run.maps[-1].shape[-2]
    assert (max((a - b).abs().max() for a, b in zip(run.pyramid, rows, strict=True)) < 1e-5) == square


def test_the_key_map_inverts(run: Run) -> None:
    exported = run.keys.export(run.model.state_dict())
    assert exported.keys() == run.fixture.weights.keys()
    for key, value in run.fixture.weights.items():
        assert torch.equal(exported[key], value), key
