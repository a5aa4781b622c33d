"""A vision Transformer in Hugging Face's terms; what its ViT, DeiT and DINOv2 cannot express is refused."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.vit import VitConfig
from sleuth.weights.maps.vit_huggingface import MASK_TOKEN, Kind, vit_huggingface
from sleuth.weights.origins.vit_huggingface import ACTIVATIONS, BARE, HEADED, RESIZING, gated_dim

_TABLE = "backbone.positions.table"
_RATIOS = range(1, 33)


def kind_of(config: VitConfig) -> Kind:
    """Which of its models has the parts that this one has.

    Raises:
        UserError: none has.
    """
    if config.stem != "patch":
        raise _refuse("convolutions are its stem")
    if config.attention != "softmax":
        raise _refuse(f"its attention is {config.attention}")
    if config.positions != "learned":
        raise _refuse(f"its positions are {config.positions}")
    if not config.class_token or config.norm_after_pool:
        raise _refuse("it has no class token, or normalises after pooling")
    if config.pooler and config.num_classes:
        raise _refuse("its head reads a pooler, which classifiers there do not have")
    if config.image_hw[0] != config.image_hw[1]:
        raise _refuse(f"its positions are for pictures of {config.image_hw}; there, only squares are resized")
    dino = (
        config.registers or config.layer_scale is not None or config.feedforward == "swiglu" or config.pool != "class"
    )
    if config.distillation != "none":
        if dino or config.prefix_positions > 2:
            raise _refuse("it has a distillation token, and what only DINOv2 has there")
        return "deit"
    if not dino:
        return "vit"
    if config.pooler or (config.num_classes == 0 and config.pool != "class"):
        raise _refuse("it has a pooler, or pools without classes, and what only DINOv2 has there")
    return "dinov2_with_registers" if config.registers else "dinov2"


def huggingface_values(config: VitConfig, names: tuple[str, ...]) -> dict[str, Any]:
    """The config.json of a model in Hugging Face's terms.

    Raises:
        UserError: its library cannot express it.
    """
    kind = kind_of(config)
    headed = config.num_classes > 0
    architecture = HEADED[kind][int(config.distillation == "head")] if headed else BARE[kind]
    values: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": kind,
        "hidden_size": config.dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "hidden_act": next(name for name, ours in ACTIVATIONS.items() if ours == config.activation),
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "layer_norm_eps": config.norm_eps,
        "image_size": config.image_hw[0],
        "patch_size": config.patch_size,
        "num_channels": 3,
        "qkv_bias": config.qkv_bias,
    }
    if headed:
        values["id2label"] = {str(label): name for label, name in enumerate(names)}
        values["label2id"] = {name: label for label, name in enumerate(names)}
    if config.resizing != RESIZING[kind]:
        values["sleuth"] = {"resizing": config.resizing}
    if not kind.startswith("dinov2"):
        return values | {
            "intermediate_size": config.feedforward_dim,
            "pooler_output_size": config.dim,
            "pooler_act": "tanh",
        }
    values |= {
        "mlp_ratio": _mlp_ratio(config),
        "layerscale_value": 1.0 if config.layer_scale is None else config.layer_scale,
        "drop_path_rate": config.drop_path,
        "use_swiglu_ffn": config.feedforward == "swiglu",
    }
    return values | ({"num_register_tokens": config.registers} if config.registers else {"use_mask_token": True})


def huggingface_state(config: VitConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under the names of the hub's files, with what its models have and ours has not.

    Positions are on the class token (and the distillation token), so zeros are put there where ours has none, and those
    of registers are added to them. DINOv2 always has a mask token (zeros, as nothing reads it) and a layer scale
    (ones), and its classifier reads the class token beside the mean of the patches: what ours does not read gets zeros.
    """
    kind = kind_of(config)
    found = dict(state)
    wanted = 2 if kind == "deit" else 1
    table = found[_TABLE]
    if config.prefix_positions < wanted:
        more = wanted - config.prefix_positions
        parts = (table[:, : config.prefix_positions], table.new_zeros(1, more, config.dim))
        found[_TABLE] = torch.cat((*parts, table[:, config.prefix_positions :]), dim=1)
    elif config.prefix_positions > wanted:
        extra = table[:, wanted : config.prefix_positions]
        found["backbone.registers"] = found["backbone.registers"] + F.pad(
            extra, (0, 0, 0, config.registers - extra.shape[1])
        )
        found[_TABLE] = torch.cat((table[:, :wanted], table[:, config.prefix_positions :]), dim=1)
    headed = config.num_classes > 0
    dino = kind.startswith("dinov2")
    if dino and config.layer_scale is None:
        ones = torch.ones(config.dim)
        for layer in range(config.depth):
            found |= {f"backbone.blocks.{layer}.scale{n}.weight": ones.clone() for n in (1, 2)}
    if dino and headed and config.pool != "class+mean":
        sides = (0, config.dim) if config.pool == "class" else (config.dim, 0)
        found["head.weight"] = F.pad(found["head.weight"], sides)
    gated = config.feedforward == "swiglu"
    keys = vit_huggingface(kind=kind, headed=headed, teacher=config.distillation == "head", gated=gated)
    exported = keys.export(found)
    if dino:
        exported[f"{kind}.{MASK_TOKEN}" if headed else MASK_TOKEN] = torch.zeros(1, config.dim)
    return {key: tensor.contiguous() for key, tensor in exported.items()}


def _mlp_ratio(config: VitConfig) -> int:
    """The whole number of which DINOv2 makes the hidden size."""
    for ratio in _RATIOS:
        hidden = config.dim * ratio
        if (gated_dim(hidden) if config.feedforward == "swiglu" else hidden) == config.feedforward_dim:
            return ratio
    raise _refuse(f"feedforward_dim = {config.feedforward_dim} follows from no whole mlp_ratio of DINOv2")


def _refuse(what: str) -> UserError:
    return UserError(
        f"Hugging Face's ViT, DeiT and DINOv2 cannot express this model: {what}", mend="use it with Sleuth"
    )
