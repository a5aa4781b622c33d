"""Deformable DETR and DINO in the forms of their originals and of Hugging Face: what is read, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sleuth.errors import UserError
from sleuth.models.deformable_detr import DeformableDetrConfig
from sleuth.models.detector import DetectorConfig
from sleuth.models.dino import DinoConfig
from sleuth.models.families import build_detector
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.checkpoint import LoadedModel, detector_card
from sleuth.weights.maps.deformable_detr_original import deformable_detr_original
from sleuth.weights.maps.dino_original import dino_original
from sleuth.weights.origins.deformable_detr_huggingface import read_config
from sleuth.weights.origins.huggingface_export import write_folder
from sleuth.weights.origins.original import open_original, write_original

NUMBERS: dict[str, Any] = {
    "backbone": "resnet10",
    "backbone_width": 4,
    "num_classes": 3,
    "num_queries": 6,
    "dim": 32,
    "num_heads": 4,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "feedforward_dim": 24,
    "dropout": 0.0,
    "encoder_points": 2,
    "decoder_points": 3,
}
DEFORMABLE = DeformableDetrConfig(**NUMBERS)
DINO = DinoConfig(**NUMBERS)


def loaded_of(config: DetectorConfig) -> LoadedModel:
    names = tuple(f"class {label}" for label in range(config.num_classes))
    ids = tuple(range(config.num_classes))
    model = build_detector(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    return LoadedModel(model.eval(), detector_card(config, names=names, category_ids=ids, preprocess=Preprocess()))


def save(path: Path, loaded: LoadedModel, **options: object) -> Path:
    """A checkpoint of the original, without what `write_original` cannot express in so small a model."""
    config = loaded.config
    if isinstance(config, DinoConfig):
        shared = {"shared_class_head": config.shared_class_head, "shared_box_head": config.shared_box_head}
        keys = dino_original(levels=config.num_levels, decoder_layers=config.decoder_layers, **shared)
    else:
        assert isinstance(config, DeformableDetrConfig)
        kind = {"refine": config.refine, "two_stage": config.two_stage}
        keys = deformable_detr_original(levels=config.num_levels, decoder_layers=config.decoder_layers, **kind)
    state = {key: value for key, value in loaded.model.state_dict().items() if not key.endswith("tracked")}
    torch.save({"model": keys.export(state), "args": {"nheads": 4, "dropout": 0.0, **options}}, path)
    return path


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (DEFORMABLE, {}),
        (replace(DEFORMABLE, refine=True, positions="learned"), {}),
        (replace(DEFORMABLE, refine=True, two_stage=True), {"num_queries": 6}),
        (replace(DEFORMABLE, backbone_levels=1, num_levels=1, dilation=True), {"dilation": True}),
        (DINO, {}),
        (replace(DINO, shared_class_head=False, denoising_labels=9, temperature=30.0, box_noise=0.7),
         {"pe_temperatureH": 30, "pe_temperatureW": 30, "dn_box_noise_scale": 0.7}),
        (replace(DINO, shared_box_head=False, backbone_levels=4, num_levels=5), {}),
    ],
)  # fmt: skip
def test_a_checkpoint_gives_the_model_back(config: DetectorConfig, options: dict[str, Any], tmp_path: Path) -> None:
    loaded = loaded_of(config)
    again = open_original(save(tmp_path / "checkpoint.pth", loaded, **options))
    assert again.config == config
    assert again.loss.classes == "focal"
    state = loaded.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in again.model.state_dict().items())


def test_heads_that_should_be_one_but_differ_are_a_fault(tmp_path: Path) -> None:
    path = save(tmp_path / "checkpoint.pth", loaded_of(DEFORMABLE))
    content = torch.load(path)
    content["model"]["class_embed.1.bias"] = content["model"]["class_embed.1.bias"] + 1
    torch.save(content, path)
    with pytest.raises(
        UserError, match=r"'class_embed.1.bias' and 'class_embed.0.bias' should be the same, but differ"
    ):
        open_original(path)


@pytest.mark.parametrize(
    ("config", "options", "what"),
    [
        (DINO, {"num_patterns": 3}, "num_patterns = 3 cannot be honoured"),
        (DINO, {"decoder_sa_type": "ca_label"}, "decoder_sa_type"),
        (DINO, {"pe_temperatureW": 30}, "pe_temperatureW = 30 cannot be honoured: pe_temperatureH = 20"),
        (DINO, {"transformer_activation": "glu"}, "transformer_activation"),
        (DINO, {"nheads": 5}, "5 heads do not share"),
        (DEFORMABLE, {"nheads": 0}, "0 heads do not share"),
    ],
)
def test_what_cannot_be_honoured_is_named(
    config: DetectorConfig, options: dict[str, Any], what: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=what):
        open_original(save(tmp_path / "checkpoint.pth", loaded_of(config), **options))


@pytest.mark.parametrize(
    "config",
    [
        replace(DEFORMABLE, backbone="resnet50", backbone_width=64, refine=True),
        replace(DINO, backbone="resnet50", backbone_width=64, dim=256, decoder_layers=1),
    ],
)
def test_what_is_written_is_read_again(config: DetectorConfig, tmp_path: Path) -> None:
    loaded = loaded_of(config)
    write_original(tmp_path / "checkpoint.pth", loaded)
    again = open_original(tmp_path / "checkpoint.pth")
    assert (again.config, again.card.names, again.preprocess) == (config, loaded.card.names, loaded.preprocess)
    state = loaded.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in again.model.state_dict().items())


WHOLE: dict[str, Any] = {"backbone": "resnet50", "backbone_width": 64}


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (DEFORMABLE, "its backbone is a resnet10 of width 4"),
        (replace(DEFORMABLE, **WHOLE, decoder_num_heads=2), "heads and feed-forward sizes"),
        (replace(DEFORMABLE, **WHOLE, activation="gelu"), "activation is gelu"),
        (replace(DEFORMABLE, **WHOLE, backbone_levels=2), "2 maps of the backbone make 4 levels"),
        (replace(DEFORMABLE, **WHOLE, refine=True, two_stage=True), "two-stage model of dim 32"),
        (replace(DINO, **WHOLE), "it has dim 32"),
        (replace(DINO, **WHOLE, dim=256, denoising_queries=0), "does not learn to denoise"),
        (replace(DINO, **WHOLE, backbone_levels=2), "two maps"),
        (replace(DINO, **WHOLE, activation="silu"), "activation is silu"),
    ],
)
def test_what_an_original_cannot_express_is_refused(config: DetectorConfig, what: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        model = build_detector(config)
    card = detector_card(config, names=("a", "b", "c"), category_ids=(0, 1, 2), preprocess=Preprocess())
    with pytest.raises(UserError, match=what):
        write_original(tmp_path / "checkpoint.pth", LoadedModel(model, card))


def test_what_hugging_face_cannot_express_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot express this model: a dilated resnet10"):
        write_folder(tmp_path, loaded_of(replace(DEFORMABLE, dilation=True)))
    with pytest.raises(UserError, match="a dino cannot be written in Hugging Face's form"):
        write_folder(tmp_path, loaded_of(DINO))


def test_defaults_of_a_configuration_are_hugging_face_s() -> None:
    config, backbone = read_config({"model_type": "deformable_detr"}, "config.json", num_classes=91)
    wanted = DeformableDetrConfig(
        attention_dropout=0.0, activation_dropout=0.0, decoder_num_heads=8, decoder_feedforward_dim=1024
    )
    assert config == wanted
    assert backbone.stages == (2, 3, 4)
    config, backbone = read_config({"num_feature_levels": 1, "dilation": True}, "config.json", num_classes=91)
    assert (config.num_levels, config.backbone_levels, config.dilation, backbone.stages) == (1, 1, True, (4,))


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"two_stage": True}, "two_stage wants refine"),
        ({"num_feature_levels": 2}, "num_levels = 2 is less than backbone_levels = 3"),
        ({"return_intermediate": False}, "return_intermediate"),
        ({"position_embedding_type": "rotary"}, "position_embedding_type"),
        ({"activation_function": "tanh"}, "activation_function"),
        ({"backbone": "swin"}, "the backbone 'swin' is not supported"),
        ({"backbone_kwargs": {"out_indices": [1, 4]}}, r"the stages \[1, 4\], which do not follow"),
        ({"num_levels": 4}, "the field 'num_levels' is unknown"),
        ({"d_model": 100}, "dim = 100"),
        ({"hidden_size": 128, "d_model": 256}, "hidden_size"),
        ({"encoder_n_points": "4"}, "encoder_n_points"),
    ],
)
def test_fields_that_cannot_be_honoured_are_named(values: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError, match=what):
        read_config(values, "config.json", num_classes=3)
