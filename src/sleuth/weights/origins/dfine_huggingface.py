"""Hugging Face's D-FINE, for `open_folder`: whatever changes the model is honoured or refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from sleuth.backbones.hgnetv2 import HgNetV2Name, layer_table
from sleuth.errors import UserError
from sleuth.models.dfine import DfineConfig
from sleuth.weights.maps.dfine_huggingface import dfine_huggingface
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.huggingface_fields import BOOKKEEPING
from sleuth.weights.origins.reading import FolderWeights, Reader, Reading

MODEL_TYPE = "d_fine"
DETECTION = "DFineForObjectDetection"
PROCESSOR = "RTDetrImageProcessor"

LOSS_FIELDS: Mapping[str, tuple[str, float]] = {
    "weight_loss_vfl": ("class_weight", 1.0),
    "weight_loss_bbox": ("l1_weight", 5.0),
    "weight_loss_giou": ("giou_weight", 2.0),
    "weight_loss_fgl": ("fgl_weight", 0.15),
    "weight_loss_ddf": ("ddf_weight", 1.5),
    "matcher_class_cost": ("match_class", 2.0),
    "matcher_bbox_cost": ("match_l1", 5.0),
    "matcher_giou_cost": ("match_giou", 2.0),
    "focal_loss_alpha": ("focal_alpha", 0.75),
    "focal_loss_gamma": ("focal_gamma", 2.0),
}
"""Their weights of losses and matching costs: our names in `DetectionLossConfig` and their defaults."""

EXPECTED: Mapping[str, Any] = {
    "activation_dropout": 0.0,
    "activation_function": "silu",
    "attention_dropout": 0.0,
    "auxiliary_loss": True,
    "batch_norm_eps": 1e-5,
    "decoder_activation_function": "relu",
    "decoder_offset_scale": 0.5,
    "encoder_activation_function": "gelu",
    "eval_idx": -1,
    "eval_size": None,
    "layer_norm_eps": 1e-5,
    "layer_scale": 1,
    "learn_initial_query": False,
    "lqe_hidden_dim": 64,
    "lqe_layers": 2,
    "matcher_alpha": 0.25,
    "matcher_gamma": 2.0,
    "normalize_before": False,
    "positional_encoding_temperature": 10000,
    "top_prob_values": 4,
    "use_focal_loss": True,
    "with_box_refine": True,
}
"""What can be honoured in one way alone."""

_MODEL = frozenset(
    {
        *EXPECTED,
        *LOSS_FIELDS,
        *("backbone", "backbone_config", "backbone_kwargs", "use_timm_backbone", "freeze_backbone_batch_norms"),
        *("box_noise_scale", "label_noise_ratio", "num_denoising", "num_queries", "d_model", "hidden_size"),
        *("decoder_attention_heads", "decoder_ffn_dim", "decoder_in_channels", "decoder_layers", "decoder_method"),
        *("decoder_n_points", "depth_mult", "dropout", "encode_proj_layers", "encoder_attention_heads"),
        *("num_attention_heads", "encoder_ffn_dim", "encoder_hidden_dim", "encoder_in_channels", "encoder_layers"),
        *("feat_strides", "hidden_expansion", "max_num_bins", "num_feature_levels", "reg_scale", "up"),
        *("id2label", "model_type", "num_labels", "sleuth"),
    }
)
# How fresh weights are drawn; a size that follows from others; anchors are made for the size of each input; and what
# belongs to losses that D-FINE does not take.
_UNREAD: frozenset[str] = frozenset(
    {"initializer_range", "initializer_bias_prior_prob", "head_dim", "anchor_image_size"}
)
_UNREAD |= {"eos_coefficient", "disable_custom_kernels"}

_STAGES = ("stage_in_channels", "stage_mid_channels", "stage_out_channels", "stage_num_blocks", "stage_downsample")
STAGE_FIELDS = (*_STAGES, "stage_light_block", "stage_kernel_size", "stage_numb_of_layers")
"""Fields of a backbone, in the order of the rows of `layer_table`."""

_BACKBONE = frozenset({*STAGE_FIELDS, "stem_channels", "stem_strides", "stage_downsample_strides", "hidden_act"})
_BACKBONE |= {"use_learnable_affine_block", "model_type", "num_channels", "out_features", "out_indices", "stage_names"}
# The layers are said by the fields above.
_BACKBONE |= {"depths", "hidden_sizes", "embedding_size", "initializer_range", "id2label", "num_labels"}


def _read(values: Mapping[str, Any], where: Path, weights: FolderWeights | None) -> Reading:
    heads = ("model.decoder.class_embed.0.bias", "class_embed.0.bias")
    num_classes = 1 if weights is None else weights.rows(*heads)
    config = _config(values, where, num_classes, weights)
    twice = weights is not None and all(head in weights.tensors for head in heads)
    fields = Fields(values, where)
    loss: dict[str, Any] = {ours: fields.number(theirs, usual) for theirs, (ours, usual) in LOSS_FIELDS.items()}
    return Reading(config, dfine_huggingface(twice=twice), loss | {"classes": "varifocal", "match_union": True})


DFINE = Reader((DETECTION,), PROCESSOR, _read)
"""What reads a D-FINE's folder."""


def _config(values: Mapping[str, Any], where: Path, num_classes: int, weights: FolderWeights | None) -> DfineConfig:
    fields = Fields(values, where)
    fields.known(_MODEL, _UNREAD, BOOKKEEPING)
    for name, wanted in EXPECTED.items():
        fields.expect(name, wanted)
    backbone = _backbone(fields)
    levels = fields.whole("num_feature_levels", 3)
    width = fields.whole("encoder_hidden_dim", 256)
    method = fields.text("decoder_method", "default")
    if method not in ("default", "discrete"):
        raise fields.fault("decoder_method", "known: default, discrete")
    for name, wanted in (
        ("encode_proj_layers", [levels - 1]),
        ("feat_strides", [8, 16, 32][-levels:]),
        ("decoder_in_channels", [width] * levels),
    ):
        if name in fields and fields.wholes(name, []) != wanted:
            raise fields.fault(name, f"only {wanted} is supported")
    points = fields.any("decoder_n_points", 4)
    points = (points,) * levels if type(points) is int else tuple(fields.wholes("decoder_n_points", []))
    try:
        return DfineConfig(
            **backbone,
            frozen_norm=fields.truth("freeze_backbone_batch_norms", True),
            levels=levels,
            num_classes=num_classes,
            num_queries=fields.whole("num_queries", 300),
            encoder_dim=width,
            encoder_num_heads=fields.whole("encoder_attention_heads", fields.whole("num_attention_heads", 8)),
            encoder_layers=fields.whole("encoder_layers", 1),
            encoder_feedforward_dim=fields.whole("encoder_ffn_dim", 1024),
            encoder_expansion=fields.number("hidden_expansion", 1.0),
            encoder_depth=fields.number("depth_mult", 1.0),
            dim=fields.whole("d_model", fields.whole("hidden_size", 256)),
            num_heads=fields.whole("decoder_attention_heads", 8),
            decoder_layers=fields.whole("decoder_layers", 6),
            feedforward_dim=fields.whole("decoder_ffn_dim", 1024),
            num_points=points,
            sampling="discrete" if method == "discrete" else "bilinear",
            bins=fields.whole("max_num_bins", 32),
            # The published files of X say 4, and their weights 8, which is what holds.
            reg_scale=_number(weights, "reg_scale", fields.number("reg_scale", 4.0)),
            up=_number(weights, "up", fields.number("up", 0.5)),
            dropout=fields.number("dropout", 0.0),
            num_denoising=fields.whole("num_denoising", 100),
            label_noise=fields.number("label_noise_ratio", 0.5),
            box_noise=fields.number("box_noise_scale", 1.0),
        )
    except ValueError as error:
        raise UserError(f"the numbers make no model: {error}", where=where) from error


def _number(weights: FolderWeights | None, name: str, said: float) -> float:
    """A number that the weights hold, or else what the configuration says."""
    held = None if weights is None else weights.tensors.get(f"model.decoder.{name}")
    return said if held is None or held.numel() != 1 else float(held)


def _backbone(fields: Fields) -> dict[str, Any]:
    """The fields of a `DfineConfig` that say what the backbone is."""
    inner = fields.table("backbone_config")
    inner.known(_BACKBONE, BOOKKEEPING)
    for name, wanted in (("model_type", "hgnet_v2"), ("num_channels", 3), ("hidden_act", "relu")):
        inner.expect(name, wanted)
    for name, strides in (("stem_strides", [2, 1, 1, 2, 1]), ("stage_downsample_strides", [2, 2, 2, 2])):
        if inner.wholes(name, strides) != strides:
            raise inner.fault(name, f"only {strides} is supported")
    levels = fields.whole("num_feature_levels", 3)
    stages: list[Any] = list(range(5 - levels, 5))
    for name, maps in (("out_indices", stages), ("out_features", [f"stage{stage}" for stage in stages])):
        if name in inner and inner.any(name) != maps:
            raise inner.fault(name, f"only {maps} is supported with {levels} levels")
    usual = backbone_fields("b4", 1.0)
    said = {name: list(inner.any(name, value)) for name, value in usual.items()}
    for size in get_args(HgNetV2Name):
        width = said["stage_out_channels"][-1] / backbone_fields(size, 1.0)["stage_out_channels"][-1]
        if said == backbone_fields(size, width):
            affine = inner.truth("use_learnable_affine_block", False)
            return {"backbone": f"hgnetv2_{size}", "backbone_width": width, "backbone_affine": affine}
    what = "stem and stages of the backbone are those of no HGNetV2 from B0 to B6, in any width"
    raise UserError(what, where=fields.where, mend="see backbone_config")


def backbone_fields(size: HgNetV2Name, width: float) -> dict[str, list[Any]]:
    """The layers of a backbone in the fields of its configuration."""
    table = layer_table(size, width)
    rows = [table[f"stage{stage}"] for stage in range(1, 5)]
    fields = {name: [row[column] for row in rows] for column, name in enumerate(STAGE_FIELDS)}
    return {"stem_channels": [3, *table["stem_chs"]], **fields}
