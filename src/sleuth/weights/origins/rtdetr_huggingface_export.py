"""An RT-DETR in Hugging Face's terms; what its RT-DETRs cannot express is refused."""

import re
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.rtdetr import RtDetrConfig
from sleuth.weights.checkpoint import LoadedModel
from sleuth.weights.maps.rtdetr_huggingface import POINT_SCALE, rtdetr_huggingface
from sleuth.weights.origins.huggingface_backbone import RESNETS
from sleuth.weights.origins.rtdetr_huggingface import DETECTION, EXPECTED, LOSS_FIELDS, MODEL_TYPES, PROCESSOR
from sleuth.weights.origins.writing import Writing, card_json, plain_state

_LAYER = re.compile(r"(?:decoder\.layers|decoder\.box_heads|class_heads)\.(\d+)\.")
_ALIASES = ("class_embed.", "bbox_embed.")


def express_rtdetr(loaded: LoadedModel) -> Writing:
    """An RT-DETR in Hugging Face's terms, as that of its own version.

    Decoder layers that do not run in evaluation are left out: the answers are the same.

    Raises:
        UserError: Hugging Face's RT-DETR cannot express the model.
    """
    config = rtdetr_config(loaded)
    _check_expressible(config, loaded)
    config = replace(config, decoder_layers=config.eval_layers or config.decoder_layers, eval_layers=None)
    state = {key: tensor for key, tensor in plain_state(loaded).items() if _layer_of(key) < config.decoder_layers}
    exported = rtdetr_huggingface(version=config.version, frozen_norm=config.frozen_norm).export(state)
    tensors = {key: tensor for key, tensor in exported.items() if not key.startswith(_ALIASES)}
    if config.version == 2:
        shares = point_shares(config)
        tensors |= {POINT_SCALE.format(layer=layer): shares.clone() for layer in range(config.decoder_layers)}
    return Writing(_config_json(loaded, config), tensors, PROCESSOR)


def rtdetr_config(loaded: LoadedModel) -> RtDetrConfig:
    """The numbers of a model that is known to be an RT-DETR.

    Raises:
        TypeError: it is none.
    """
    config = loaded.config
    if not isinstance(config, RtDetrConfig):
        raise TypeError(f"{type(config).__name__} is no RtDetrConfig")
    return config


def point_shares(config: RtDetrConfig) -> Tensor:
    """Of each point one over the number of points on its level: a constant that others keep among the weights."""
    return torch.tensor([1 / count for count in config.num_points for _ in range(count)])


def is_square(loaded: LoadedModel) -> bool:
    """Whether every picture becomes a square, on which the orders of positions agree."""
    preprocess = loaded.preprocess
    size = preprocess.size_hw
    return preprocess.resize == "exact" and size is not None and size[0] == size[1]


def _layer_of(key: str) -> int:
    match = _LAYER.match(key)
    return -1 if match is None else int(match[1])


def _config_json(loaded: LoadedModel, config: RtDetrConfig) -> dict[str, Any]:
    loss = loaded.card.notes.get("loss")
    loss = loss if isinstance(loss, dict) else {}
    levels, (kind, depths) = config.levels, RESNETS[config.backbone]
    sizes = [config.backbone_width * (4 if kind == "bottleneck" else 1) * 2**stage for stage in range(4)]
    values: dict[str, Any] = {
        "architectures": [DETECTION[config.version]],
        "model_type": MODEL_TYPES[config.version],
        **EXPECTED,
        "backbone_config": {
            "model_type": "rt_detr_resnet",
            "embedding_size": config.backbone_width,
            "hidden_sizes": sizes,
            "depths": list(depths),
            "layer_type": kind,
            "out_features": [f"stage{stage}" for stage in range(5 - levels, 5)],
            "out_indices": list(range(5 - levels, 5)),
        },
        "freeze_backbone_batch_norms": config.frozen_norm,
        "num_queries": config.num_queries,
        "encoder_in_channels": sizes[-levels:],
        "encoder_hidden_dim": config.encoder_dim,
        "encoder_attention_heads": config.encoder_num_heads,
        "encoder_layers": config.encoder_layers,
        "encoder_ffn_dim": config.encoder_feedforward_dim,
        "hidden_expansion": config.encoder_expansion,
        "activation_function": config.encoder_activation,
        "encode_proj_layers": [levels - 1],
        "feat_strides": [4, 8, 16, 32][-levels:],
        "d_model": config.dim,
        "decoder_in_channels": [config.encoder_dim] * levels,
        "num_feature_levels": len(config.num_points),
        "decoder_attention_heads": config.num_heads,
        "decoder_layers": config.decoder_layers,
        "decoder_ffn_dim": config.feedforward_dim,
        "decoder_activation_function": config.activation,
        "decoder_n_points": config.num_points[0],
        "dropout": config.dropout,
        "attention_dropout": config.dropout,
        "activation_dropout": config.dropout,
        "num_denoising": config.num_denoising,
        "label_noise_ratio": config.label_noise,
        "box_noise_scale": config.box_noise,
        "auxiliary_loss": bool(loss.get("auxiliary", True)),
        **{theirs: float(loss.get(ours, usual)) for theirs, (ours, usual) in LOSS_FIELDS.items()},
        **card_json(loaded.card),
    }
    if config.version == 2:
        values["decoder_n_levels"] = len(config.num_points)
        values["decoder_method"] = config.cross_attention
        values["decoder_offset_scale"] = config.offset_scale
    return values


def _check_expressible(config: RtDetrConfig, loaded: LoadedModel) -> None:
    def refuse(what: str) -> UserError:
        return UserError(f"Hugging Face's RT-DETR cannot express this model: {what}", mend="use it with Sleuth")

    if len(set(config.num_points)) > 1:
        raise refuse(f"its levels have {config.num_points} points; there, all have the same number")
    if config.query_select != "default":
        raise refuse(f"it selects queries by {config.query_select}; there, tokens are ranked by their greatest class")
    if config.learned_queries:
        raise refuse("its queries have learned contents, with which that library's model does not run")
    if round(3 * config.encoder_depth) != 3:
        raise refuse(f"encoder_depth = {config.encoder_depth}; there, every fusion has three blocks")
    if config.positions == "original" and not is_square(loaded):
        raise refuse("it numbers positions as the original does, and its pictures are no squares")
