"""Hugging Face's RT-DETR, versions 1 and 2, for `open_folder`: whatever changes the model is honoured or refused."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from sleuth.errors import UserError
from sleuth.models.rtdetr import RtDetrConfig
from sleuth.weights.maps.rtdetr_huggingface import rtdetr_huggingface
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.huggingface_backbone import RESNETS
from sleuth.weights.origins.huggingface_fields import ACTIVATIONS, BOOKKEEPING
from sleuth.weights.origins.reading import FolderWeights, Reader, Reading

MODEL_TYPES: Mapping[int, str] = {1: "rt_detr", 2: "rt_detr_v2"}
DETECTION: Mapping[int, str] = {1: "RTDetrForObjectDetection", 2: "RTDetrV2ForObjectDetection"}
PROCESSOR = "RTDetrImageProcessor"

LOSS_FIELDS: Mapping[str, tuple[str, float]] = {
    "weight_loss_vfl": ("class_weight", 1.0),
    "weight_loss_bbox": ("l1_weight", 5.0),
    "weight_loss_giou": ("giou_weight", 2.0),
    "matcher_class_cost": ("match_class", 2.0),
    "matcher_bbox_cost": ("match_l1", 5.0),
    "matcher_giou_cost": ("match_giou", 2.0),
    "focal_loss_alpha": ("focal_alpha", 0.75),
    "focal_loss_gamma": ("focal_gamma", 2.0),
}
"""Their weights of losses and matching costs: our names in `DetectionLossConfig` and their defaults."""

EXPECTED: Mapping[str, Any] = {
    "batch_norm_eps": 1e-5,
    "encoder_activation_function": "gelu",
    "eval_size": None,
    "layer_norm_eps": 1e-5,
    "matcher_alpha": 0.25,
    "matcher_gamma": 2.0,
    "normalize_before": False,
    "positional_encoding_temperature": 10000,
    "use_focal_loss": True,
    "with_box_refine": True,
}
"""What can be honoured in one way alone."""

_MODEL = frozenset(
    {
        *EXPECTED,
        *LOSS_FIELDS,
        *("activation_dropout", "activation_function", "attention_dropout", "auxiliary_loss", "backbone"),
        *("backbone_config", "box_noise_scale", "d_model", "decoder_activation_function", "decoder_attention_heads"),
        *("decoder_ffn_dim", "decoder_in_channels", "decoder_layers", "decoder_n_points", "dropout", "feat_strides"),
        *("encode_proj_layers", "encoder_attention_heads", "encoder_ffn_dim", "encoder_hidden_dim", "hidden_size"),
        *("encoder_in_channels", "encoder_layers", "freeze_backbone_batch_norms", "hidden_expansion", "id2label"),
        *("label_noise_ratio", "learn_initial_query", "model_type", "num_attention_heads", "num_denoising"),
        *("num_feature_levels", "num_labels", "num_queries", "sleuth", "use_timm_backbone"),
    }
)
_SECOND = frozenset({"decoder_method", "decoder_n_levels", "decoder_offset_scale"})
# How fresh weights are drawn; which kernel runs; anchors are made for the size of each input; a weight that the
# varifocal loss has no use for; and details of a backbone that is no other library's.
_UNREAD = frozenset({"initializer_range", "initializer_bias_prior_prob", "disable_custom_kernels", "eos_coefficient"})
_UNREAD |= {"anchor_image_size", "backbone_kwargs"}
_BACKBONE = frozenset(
    {"model_type", "num_channels", "embedding_size", "hidden_sizes", "depths", "layer_type", "hidden_act"}
    | {"downsample_in_first_stage", "downsample_in_bottleneck", "out_indices", "out_features", "stage_names"}
    | {"id2label", "num_labels"}
)
_HEADS = ("model.decoder.class_embed.0.bias", "class_embed.0.bias")


def _read(version: Literal[1, 2], values: Mapping[str, Any], where: Path, weights: FolderWeights | None) -> Reading:
    config = _config(version, Fields(values, where), 1 if weights is None else weights.rows(*_HEADS))
    keys = rtdetr_huggingface(version=version, frozen_norm=config.frozen_norm)
    return Reading(config, keys, _loss(Fields(values, where)))


RT_DETR = Reader((DETECTION[1],), PROCESSOR, partial(_read, 1))
"""What reads the folder of an RT-DETR of version 1."""

RT_DETR_V2 = Reader((DETECTION[2],), PROCESSOR, partial(_read, 2))
"""What reads the folder of an RT-DETR of version 2."""


def _loss(fields: Fields) -> dict[str, Any]:
    numbers = {ours: fields.number(theirs, usual) for theirs, (ours, usual) in LOSS_FIELDS.items()}
    return {"classes": "varifocal", "auxiliary": fields.truth("auxiliary_loss", True), **numbers}


def _config(version: Literal[1, 2], fields: Fields, num_classes: int) -> RtDetrConfig:
    fields.known(_MODEL, _UNREAD, BOOKKEEPING, _SECOND if version == 2 else frozenset())
    for name, wanted in EXPECTED.items():
        fields.expect(name, wanted)
    _same_dropouts(fields)
    backbone = _backbone(fields)
    levels = backbone["levels"]
    every = fields.whole("num_feature_levels", 3)
    width = fields.whole("encoder_hidden_dim", 256)
    for name, fits in (
        ("encode_proj_layers", [levels - 1]),
        ("feat_strides", [4, 8, 16, 32][-levels:]),
        ("decoder_in_channels", [width] * levels),
    ):
        if name in fields and fields.wholes(name, []) != fits:
            raise fields.fault(name, f"only {fits} is supported")
    if fields.whole("decoder_n_levels", 3 if version == 2 else every) != every:
        raise fields.fault("decoder_n_levels", f"num_feature_levels = {every} says otherwise")
    try:
        return RtDetrConfig(
            version=version,
            **backbone,
            frozen_norm=fields.truth("freeze_backbone_batch_norms", True),
            num_classes=num_classes,
            num_queries=fields.whole("num_queries", 300),
            dim=fields.whole("d_model", fields.whole("hidden_size", 256)),
            num_heads=fields.whole("decoder_attention_heads", 8),
            feedforward_dim=fields.whole("decoder_ffn_dim", 1024),
            decoder_layers=fields.whole("decoder_layers", 6),
            num_points=(fields.whole("decoder_n_points", 4),) * every,
            offset_scale=fields.number("decoder_offset_scale", 0.5),
            cross_attention=_one_of(
                fields, "decoder_method", "default", {"default": "default", "discrete": "discrete"}
            ),
            learned_queries=fields.truth("learn_initial_query", False),
            activation=_one_of(fields, "decoder_activation_function", "relu", ACTIVATIONS),
            dropout=fields.number("dropout", 0.0),
            encoder_dim=width,
            encoder_num_heads=fields.whole("encoder_attention_heads", fields.whole("num_attention_heads", 8)),
            encoder_layers=fields.whole("encoder_layers", 1),
            encoder_feedforward_dim=fields.whole("encoder_ffn_dim", 1024),
            encoder_expansion=fields.number("hidden_expansion", 1.0),
            encoder_activation=_one_of(fields, "activation_function", "silu", ACTIVATIONS),
            num_denoising=fields.whole("num_denoising", 100),
            label_noise=fields.number("label_noise_ratio", 0.5),
            box_noise=fields.number("box_noise_scale", 1.0),
        )
    except ValueError as error:
        raise UserError(f"the numbers make no model: {error}", where=fields.where) from error


def _one_of(fields: Fields, name: str, usual: str, known: Mapping[str, str]) -> Any:
    said = fields.text(name, usual)
    if said not in known:
        raise fields.fault(name, f"known: {', '.join(known)}")
    return known[said]


def _same_dropouts(fields: Fields) -> None:
    """There is one dropout here."""
    dropout = fields.number("dropout", 0.0)
    for name in ("activation_dropout", "attention_dropout"):
        if fields.number(name, 0.0) != dropout:
            raise fields.fault(name, f"dropout = {dropout:g} has to be the same")


def _backbone(fields: Fields) -> dict[str, Any]:
    """The fields of an `RtDetrConfig` that say what the backbone is."""
    fields.expect("use_timm_backbone", False)
    if "backbone" in fields:
        raise fields.fault("backbone", "only a backbone_config of model_type rt_detr_resnet is supported")
    inner = fields.table("backbone_config")
    inner.known(_BACKBONE, BOOKKEEPING)
    for name, wanted in (("model_type", "rt_detr_resnet"), ("num_channels", 3), ("hidden_act", "relu")):
        inner.expect(name, wanted)
    for name in ("downsample_in_first_stage", "downsample_in_bottleneck"):
        inner.expect(name, False)
    kind, depths = inner.text("layer_type", "bottleneck"), inner.wholes("depths", [3, 4, 6, 3])
    found = [name for name, (layers, counts) in RESNETS.items() if (layers, list(counts)) == (kind, depths)]
    if not found:
        known = "; ".join(f"{layers} {list(counts)}" for layers, counts in RESNETS.values())
        raise inner.fault("depths", f"with {kind} layers it is none of: {known}")
    expansion = 4 if kind == "bottleneck" else 1
    width = inner.whole("embedding_size", 64)
    sizes = [width * expansion * 2**stage for stage in range(4)]
    if inner.wholes("hidden_sizes", [256, 512, 1024, 2048]) != sizes:
        raise inner.fault("hidden_sizes", f"with embedding_size = {width} and {kind} layers, only {sizes} is supported")
    levels = _levels(inner)
    if fields.wholes("encoder_in_channels", [512, 1024, 2048]) != sizes[-levels:]:
        raise fields.fault("encoder_in_channels", f"the backbone's last {levels} maps have {sizes[-levels:]}")
    return {"backbone": cast(Any, found[0]), "backbone_width": width, "levels": levels}


def _levels(inner: Fields) -> int:
    """How many maps the backbone hands on: all from one to its last."""
    stages: Any = inner.any("out_indices", [2, 3, 4])
    if "out_indices" not in inner and "out_features" in inner:
        numbers = {f"stage{stage}": stage for stage in range(1, 5)}
        stages = [numbers.get(name) for name in inner.any("out_features")]
    for levels in range(1, 5):
        if list(stages) == list(range(5 - levels, 5)):
            return levels
    raise inner.fault("out_indices", "only stages up to the fourth, without gaps, are supported")
