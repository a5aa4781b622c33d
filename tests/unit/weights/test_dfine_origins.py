"""D-FINE's original checkpoints: sizes read off the weights, and written back."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sleuth.errors import UserError
from sleuth.models.dfine import DfineConfig, build_dfine
from sleuth.types.batches import ImageBatch
from sleuth.weights.checkpoint import LoadedModel, detector_card
from sleuth.weights.origins.dfine_original import PREPROCESS
from sleuth.weights.origins.original import open_original, write_original

TINY = DfineConfig(
    backbone="hgnetv2_b0",
    backbone_width=0.25,
    backbone_affine=True,
    encoder_dim=16,
    encoder_feedforward_dim=24,
    encoder_depth=0.33,
    encoder_expansion=0.5,
    dim=24,
    num_heads=2,
    decoder_layers=3,
    feedforward_dim=20,
    num_points=(2, 3, 1),
    bins=8,
    reg_scale=8.0,
)
CONFIGS = {
    "small": TINY,
    "frozen, two levels": replace(TINY, frozen_norm=True, backbone_affine=False, levels=2, num_points=(4, 4)),
    "wider teachers": replace(TINY, answer_layer=1, wide_scale=1.5, dim=16, num_denoising=0),
    "b4, three classes": replace(TINY, backbone="hgnetv2_b4", num_classes=3, encoder_layers=2, encoder_depth=1.0),
}


def written(config: DfineConfig, path: Path) -> LoadedModel:
    names = tuple(str(n) for n in range(config.num_classes))
    card = detector_card(config, names=names, category_ids=tuple(range(len(names))), preprocess=PREPROCESS)
    loaded = LoadedModel(build_dfine(config).eval(), card)
    write_original(path, loaded)
    return loaded


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_numbers_are_read_off_the_weights(config: DfineConfig, tmp_path: Path) -> None:
    loaded = written(config, tmp_path / "m.pth")
    again = open_original(tmp_path / "m.pth")
    assert again.config == config
    state = loaded.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in again.model.state_dict().items())
    images = ImageBatch(torch.rand(1, 3, 64, 64), torch.ones(1, 64, 64, dtype=torch.bool))
    with torch.inference_mode():
        assert torch.equal(again.model(images).logits, loaded.model(images).logits)


def test_the_published_classes_are_coco_s_and_the_losses_d_fine_s(tmp_path: Path) -> None:
    written(TINY, tmp_path / "m.pth")
    loaded = open_original(tmp_path / "m.pth")
    assert loaded.card.names[:2] == ("person", "bicycle")
    assert loaded.card.category_ids[-1] == 90
    assert loaded.preprocess == PREPROCESS
    assert (loaded.loss.classes, loaded.loss.match_union, loaded.loss.fgl_weight) == ("varifocal", True, 0.15)


def test_the_running_average_goes_before(tmp_path: Path) -> None:
    loaded = written(TINY, tmp_path / "m.pth")
    content = torch.load(tmp_path / "m.pth")
    worse = {key: torch.zeros_like(value) for key, value in content["model"].items()}
    torch.save({"model": worse, "ema": {"module": content["model"]}}, tmp_path / "both.pth")
    found = open_original(tmp_path / "both.pth").model.state_dict()
    assert all(torch.equal(value, loaded.model.state_dict()[key]) for key, value in found.items())


def test_another_backbone_is_named(tmp_path: Path) -> None:
    written(TINY, tmp_path / "m.pth")
    content = torch.load(tmp_path / "m.pth")["model"]
    key = "backbone.stages.0.blocks.0.layers.0.conv.weight"
    content[key] = content[key].repeat(2, 1, 1, 1)
    torch.save({"model": content}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="no HGNetV2 from B0 to B6"):
        open_original(tmp_path / "other.pth")
