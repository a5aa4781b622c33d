"""config.json: what changes the model is honoured, anything else is refused by name, and what is harmless is listed."""

from dataclasses import replace
from typing import Any

import pytest

from sleuth.errors import UserError
from sleuth.models.detr import DetrConfig
from sleuth.weights.origins.detr_huggingface_config import read_config, read_loss

BASE: dict[str, Any] = {"model_type": "detr"}
PLAIN = DetrConfig(
    num_classes=7, decoder_num_heads=8, decoder_feedforward_dim=2048, attention_dropout=0.0, activation_dropout=0.0
)
OWN = {"model_type": "resnet", "layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [16, 32, 64, 128]}
OWN = {"backbone_config": OWN, "use_timm_backbone": False}
ODD = {"dim": 60, "num_heads": 3, "decoder_num_heads": 5}
TIMM = {"model_type": "timm_backbone", "backbone": "resnet50", "out_indices": [1, 2, 3, 4]}


def read(values: dict[str, Any], *, masks: bool = False) -> DetrConfig:
    return read_config({**BASE, **values}, "config.json", num_classes=7, masks=masks)[0]


def own(**more: Any) -> dict[str, Any]:
    return {**OWN, "backbone_config": {**OWN["backbone_config"], **more}}


def test_what_is_missing_takes_their_defaults() -> None:
    assert read({}) == PLAIN
    assert read(dict.fromkeys(["d_model", "backbone", "dropout", "backbone_config", "a_field_of_tomorrow"])) == PLAIN


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"d_model": 64, "encoder_attention_heads": 4}, {"dim": 64, "num_heads": 4}),
        ({"decoder_attention_heads": 4}, {"decoder_num_heads": 4}),
        ({"hidden_size": 60, "num_attention_heads": 3, "decoder_attention_heads": 5}, ODD),
        ({"encoder_layers": 2, "num_hidden_layers": 2}, {"encoder_layers": 2}),
        ({"num_hidden_layers": 2, "decoder_layers": 1}, {"encoder_layers": 2, "decoder_layers": 1}),
        ({"encoder_ffn_dim": 9, "decoder_ffn_dim": 11}, {"feedforward_dim": 9, "decoder_feedforward_dim": 11}),
        ({"num_queries": 17}, {"num_queries": 17}),
        ({"position_embedding_type": "learned"}, {"positions": "learned"}),
        ({"activation_function": "swish"}, {"activation": "silu"}),
        ({"dropout": 0}, {"dropout": 0.0}),
        ({"attention_dropout": 0.2, "activation_dropout": 0.3}, {"attention_dropout": 0.2, "activation_dropout": 0.3}),
        ({"auxiliary_loss": True}, {"norm_between_layers": True}),
        ({"backbone": "resnet101", "use_timm_backbone": True}, {"backbone": "resnet101"}),
        ({"backbone": "resnet50.a1_in1k"}, {}),
        ({"dilation": True}, {"dilation": True}),
        ({"backbone": "resnet50", "backbone_kwargs": {"output_stride": 16, "in_chans": 3}}, {"dilation": True}),
        ({"dilation": True, "backbone_config": {**TIMM, "output_stride": 16}}, {"dilation": True}),
        ({"backbone_config": {**TIMM, "output_stride": 16}}, {"dilation": True}),
        ({"backbone_config": {**TIMM, "out_indices": [3]}}, {"backbone_stages": 3}),
        ({"backbone_config": {**TIMM, "out_indices": None}}, {}),
        ({"backbone_config": {**TIMM, "out_indices": None, "out_features": ["layer2"]}}, {"backbone_stages": 2}),
        (OWN, {"backbone": "resnet18", "backbone_width": 16}),
        (own(out_features=["stage1", "stage3"]), {"backbone": "resnet18", "backbone_width": 16, "backbone_stages": 3}),
        (own(out_indices=[-1]), {"backbone": "resnet18", "backbone_width": 16}),
        ({"use_timm_backbone": False}, {}),
        ({"use_timm_backbone": False, "backbone": "microsoft/resnet-34"}, {"backbone": "resnet34"}),
        ({"use_timm_backbone": False, "backbone_config": {"model_type": "resnet"}}, {}),
    ],
    ids=str,
)  # fmt: skip
def test_each_field_that_changes_the_model(values: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read(values) == replace(PLAIN, **expected)


def test_every_field_that_version_4_writes() -> None:
    values = {
        "activation_dropout": 0.0,
        "activation_function": "relu",
        "architectures": ["DetrForObjectDetection"],
        "attention_dropout": 0.0,
        "auxiliary_loss": False,
        "backbone": "resnet50",
        "bbox_cost": 5,
        "bbox_loss_coefficient": 5,
        "class_cost": 1,
        "classifier_dropout": 0.0,
        "d_model": 256,
        "decoder_attention_heads": 8,
        "decoder_ffn_dim": 2048,
        "decoder_layerdrop": 0.0,
        "decoder_layers": 6,
        "dice_loss_coefficient": 1,
        "dilation": False,
        "dropout": 0.1,
        "encoder_attention_heads": 8,
        "encoder_ffn_dim": 2048,
        "encoder_layerdrop": 0.0,
        "encoder_layers": 6,
        "eos_coefficient": 0.1,
        "giou_cost": 2,
        "giou_loss_coefficient": 2,
        "init_std": 0.02,
        "init_xavier_std": 1.0,
        "is_encoder_decoder": True,
        "mask_loss_coefficient": 1,
        "max_position_embeddings": 1024,
        "model_type": "detr",
        "num_hidden_layers": 6,
        "num_queries": 100,
        "position_embedding_type": "sine",
        "scale_embedding": False,
        "torch_dtype": "float32",
        "transformers_version": "4.20.0.dev0",
    }
    labels = {f"class {label}": label for label in range(7)}
    assert (
        read({**values, "label2id": labels, "id2label": {str(label): name for name, label in labels.items()}}) == PLAIN
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_channels": 1}, "num_channels = 1 cannot be honoured: only 3"),
        ({"activation_function": "tanh"}, "activation_function = 'tanh'.* known: relu, gelu"),
        ({"position_embedding_type": "rotary"}, "position_embedding_type = 'rotary'"),
        ({"d_model": "256"}, "d_model = '256' cannot be honoured: a whole number"),
        ({"d_model": 256.0}, "a whole number is wanted"),
        ({"d_model": True}, "a whole number is wanted"),
        ({"dilation": "yes"}, "dilation = 'yes' cannot be honoured: true or false"),
        ({"dropout": "none"}, "dropout = 'none'.* a number is wanted"),
        ({"dropout": 1.5}, "make no model: dropout = 1.5"),
        ({"encoder_attention_heads": 7}, "make no model: dim = 256 is not a multiple"),
        ({"num_queries": 0}, "num_queries = 0 is less than 1"),
        ({"encoder_layers": 6, "num_hidden_layers": 3}, "num_hidden_layers = 3 .*encoder_layers = 6 says otherwise"),
        ({"use_lightning": True}, "the field 'use_lightning' is unknown"),
        ({"masks": True}, "masks = True cannot be honoured: the weights say otherwise"),
        ({"backbone": "resnet50d"}, "the backbone 'resnet50d' is not supported.*resnet18, resnet34"),
        ({"backbone": 50}, "backbone = 50 cannot be honoured: a text"),
        ({"backbone_config": {"model_type": "swin"}}, "backbone_config.model_type = 'swin'"),
        ({"backbone_config": 3}, "backbone_config = 3 cannot be honoured: an object"),
        ({"backbone_config": {**TIMM, "act_layer": "gelu"}}, "the field 'backbone_config.act_layer' is unknown"),
        ({"backbone_config": {**TIMM, "features_only": False}}, "backbone_config.features_only = False"),
        ({"backbone_config": {**TIMM, "output_stride": 8}}, "output_stride = 8 cannot be honoured: known: 16 and 32"),
        ({"dilation": True, "backbone_config": TIMM}, "output_stride = None .*dilation = true says 16"),
        ({"backbone_config": {**TIMM, "out_indices": [5]}}, "out_indices = .5. cannot be honoured"),
        ({"backbone_config": {**TIMM, "out_indices": [3, 2]}}, "out_indices"),
        ({"backbone_config": {**TIMM, "out_indices": [0]}}, "out_indices"),
        ({"backbone_config": {**TIMM, "out_indices": "4"}}, "a list of whole numbers"),
        ({"backbone_kwargs": {"drop_path": 0.1}}, "the field 'backbone_kwargs.drop_path' is unknown"),
        ({**OWN, "dilation": True}, "dilation = True .* no dilation"),
        (own(depths=[2, 2, 2, 3]), "depths = .2, 2, 2, 3. .* with basic layers it is none of"),
        (own(depths=[]), "depths"),
        (own(layer_type="bottleneck"), "with bottleneck layers it is none of"),
        (own(hidden_sizes=[16, 16, 16, 16]), "hidden_sizes"),
        (own(hidden_sizes=[]), "hidden_sizes"),
        (own(embedding_size=32), "embedding_size = 32 cannot be honoured: only 64"),
        (own(hidden_act="gelu"), "hidden_act = 'gelu'"),
        (own(downsample_in_bottleneck=True), "downsample_in_bottleneck = True"),
        (own(downsample_in_first_stage=True), "downsample_in_first_stage = True"),
        (own(out_features=["stage9"]), "out_features"),
        ({"use_timm_backbone": False, "backbone": "microsoft/swin-tiny"}, "backbone = 'microsoft/swin-tiny'"),
        ({"use_timm_backbone": False, "dilation": True}, "no dilation"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_honoured_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(values)
    assert "\n" not in caught.value.line()
    assert caught.value.line().startswith("config.json: ")


def test_masks_want_all_stages() -> None:
    assert read({}, masks=True).masks
    with pytest.raises(UserError, match="feature maps of all four stages"):
        read(own(out_features=["stage4"]), masks=True)


def test_weights_of_losses_are_kept_for_fine_tuning() -> None:
    loss = read_loss({"eos_coefficient": 0.4, "bbox_cost": 7}, "config.json")
    assert loss["no_object_weight"] == 0.4
    assert loss["match_l1"] == 7
    assert loss["giou_weight"] == 2
