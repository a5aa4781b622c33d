"""A D-FINE in Hugging Face's terms; what its D-FINE cannot express is refused."""

from typing import Any, cast

import torch

from sleuth.backbones.hgnetv2 import HgNetV2Name
from sleuth.errors import UserError
from sleuth.models.dfine import DfineConfig
from sleuth.weights.checkpoint import LoadedModel
from sleuth.weights.maps.dfine_huggingface import dfine_huggingface
from sleuth.weights.origins.dfine_huggingface import (
    DETECTION,
    EXPECTED,
    LOSS_FIELDS,
    MODEL_TYPE,
    PROCESSOR,
    backbone_fields,
)
from sleuth.weights.origins.writing import Writing, card_json, plain_state


def express_dfine(loaded: LoadedModel) -> Writing:
    """A D-FINE in Hugging Face's terms.

    Raises:
        UserError: Hugging Face's D-FINE cannot express the model.
    """
    config = loaded.config
    if not isinstance(config, DfineConfig):
        raise TypeError(f"{type(config).__name__} is no DfineConfig")
    _check_expressible(config)
    tensors = dfine_huggingface().export(plain_state(loaded))
    shares = torch.tensor([1 / count for count in config.num_points for _ in range(count)])
    for layer in range(config.decoder_layers):
        # A constant, which that library keeps among the weights.
        tensors[f"model.decoder.layers.{layer}.encoder_attn.num_points_scale"] = shares.clone()
    return Writing(_config_json(loaded, config), tensors, PROCESSOR)


def _config_json(loaded: LoadedModel, config: DfineConfig) -> dict[str, Any]:
    loss = loaded.card.notes.get("loss")
    loss = loss if isinstance(loss, dict) else {}
    levels = config.levels
    backbone = backbone_fields(cast(HgNetV2Name, config.backbone.removeprefix("hgnetv2_")), config.backbone_width)
    channels = backbone["stage_out_channels"]
    return {
        "architectures": [DETECTION],
        "model_type": MODEL_TYPE,
        **EXPECTED,
        "backbone_config": {
            "model_type": "hgnet_v2",
            **backbone,
            "hidden_sizes": channels,
            "use_learnable_affine_block": config.backbone_affine,
            "out_indices": list(range(5 - levels, 5)),
        },
        "freeze_backbone_batch_norms": config.frozen_norm,
        "num_queries": config.num_queries,
        "encoder_in_channels": channels[-levels:],
        "encoder_hidden_dim": config.encoder_dim,
        "encoder_attention_heads": config.encoder_num_heads,
        "encoder_layers": config.encoder_layers,
        "encoder_ffn_dim": config.encoder_feedforward_dim,
        "hidden_expansion": config.encoder_expansion,
        "depth_mult": config.encoder_depth,
        "encode_proj_layers": [levels - 1],
        "feat_strides": [8, 16, 32][-levels:],
        "d_model": config.dim,
        "decoder_in_channels": [config.encoder_dim] * levels,
        "num_feature_levels": levels,
        "decoder_attention_heads": config.num_heads,
        "decoder_layers": config.decoder_layers,
        "decoder_ffn_dim": config.feedforward_dim,
        "decoder_n_points": list(config.num_points),
        "decoder_method": "discrete" if config.sampling == "discrete" else "default",
        "max_num_bins": config.bins,
        "reg_scale": config.reg_scale,
        "up": config.up,
        "dropout": config.dropout,
        "num_denoising": config.num_denoising,
        "label_noise_ratio": config.label_noise,
        "box_noise_scale": config.box_noise,
        **{theirs: float(loss.get(ours, usual)) for theirs, (ours, usual) in LOSS_FIELDS.items()},
        **card_json(loaded.card),
    }


def _check_expressible(config: DfineConfig) -> None:
    def refuse(what: str) -> UserError:
        return UserError(f"Hugging Face's D-FINE cannot express this model: {what}", mend="use it with Sleuth")

    if config.answer_layer % config.decoder_layers != config.decoder_layers - 1:
        raise refuse(f"layers after answer_layer = {config.answer_layer} only teach")
    if config.levels > 3:
        raise refuse("it uses a fourth level, of stride 4")
