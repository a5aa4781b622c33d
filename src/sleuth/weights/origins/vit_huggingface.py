"""Hugging Face's ViT, DeiT and DINOv2: what their config.json says; what changes the model is honoured or refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from sleuth.errors import UserError
from sleuth.models.vit import VitConfig
from sleuth.nn.grid_positions import Resizing
from sleuth.weights.classifier_processors import BIT, DEIT, VIT
from sleuth.weights.keymap import KeyMap
from sleuth.weights.maps.vit_huggingface import Kind, layout_of, vit_huggingface
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.huggingface_fields import BOOKKEEPING
from sleuth.weights.origins.reading import FolderWeights

HEADED: Mapping[Kind, tuple[str, ...]] = {
    "vit": ("ViTForImageClassification",),
    "deit": ("DeiTForImageClassification", "DeiTForImageClassificationWithTeacher"),
    "dinov2": ("Dinov2ForImageClassification",),
    "dinov2_with_registers": ("Dinov2WithRegistersForImageClassification",),
}
BARE: Mapping[Kind, str] = {
    "vit": "ViTModel",
    "deit": "DeiTModel",
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
}
PROCESSORS: Mapping[Kind, str] = {"vit": VIT, "deit": DEIT, "dinov2": BIT, "dinov2_with_registers": BIT}

# How each of its models makes positions of other sizes.
RESIZING: Mapping[Kind, Resizing] = {
    "vit": "plain",
    "deit": "plain",
    "dinov2": "plain",
    "dinov2_with_registers": "antialiased",
}
ACTIVATIONS: Mapping[str, Literal["gelu", "gelu_tanh", "relu", "silu"]] = {
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}

_ALL = frozenset(
    {
        *("hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "hidden_dropout_prob"),
        *("attention_probs_dropout_prob", "layer_norm_eps", "image_size", "patch_size", "num_channels", "qkv_bias"),
        *("model_type", "id2label", "num_labels", "sleuth"),
    }
)
_PLAIN = frozenset({"intermediate_size", "pooler_output_size", "pooler_act"})
_DINO = frozenset({"mlp_ratio", "layerscale_value", "drop_path_rate", "use_swiglu_ffn", "num_register_tokens"})
# How fresh weights are drawn, masked modelling, and what a backbone hands on to other models.
_UNREAD = frozenset(
    {
        *("initializer_range", "encoder_stride", "use_mask_token", "apply_layernorm", "reshape_hidden_states"),
        *("stage_names", "out_features", "out_indices", "_out_features", "_out_indices"),
    }
)


@dataclass(frozen=True)
class VitReading:
    """What a configuration says.

    Args:
        config: the numbers of the model.
        keys: from the folder's names of weights to ours.
        processor: its image processor, where the folder does not say which.
    """

    config: VitConfig
    keys: KeyMap
    processor: str


def is_vit(values: Mapping[str, Any]) -> bool:
    """Whether a config.json is of one of these models."""
    return values.get("model_type") in HEADED


def read_vit_huggingface(values: Mapping[str, Any], where: Path, weights: FolderWeights | None) -> VitReading:
    """The numbers of the model that a config.json describes, and how its weights are spelt.

    Args:
        values: the JSON; fields that are missing or null take Hugging Face's defaults.
        where: the file, for messages.
        weights: of the folder; None where they are not here yet, and then the number of classes does not matter.

    Raises:
        UserError: another architecture, or a field that cannot be honoured, with its name.
    """
    kind = cast(Kind, values["model_type"])
    fields = Fields(values, where)
    fields.known(_ALL, _DINO if kind.startswith("dinov2") else _PLAIN, _UNREAD, BOOKKEEPING)
    keys = frozenset() if weights is None else frozenset(weights.tensors)
    headed = _is_headed(values, kind, keys, where)
    teacher = "cls_classifier.weight" in keys or HEADED["deit"][1] in (values.get("architectures") or ())
    pooler = not headed and "pooler.dense.weight" in keys
    if pooler:
        fields.expect("pooler_act", "tanh")
        fields.expect("pooler_output_size", fields.whole("hidden_size", 768))
    fields.expect("num_channels", 3)
    head = "cls_classifier.bias" if teacher else "classifier.bias"
    num_classes = 0 if not headed else 1 if weights is None else weights.rows(head)
    gated = fields.truth("use_swiglu_ffn", False)
    try:
        config = VitConfig(
            **_common(fields, kind),
            num_classes=num_classes,
            pooler=pooler,
            distillation="none" if kind != "deit" else "head" if headed and teacher else "token",
            **(_dino(fields, kind, gated=gated, headed=headed) if kind.startswith("dinov2") else _plain(fields, kind)),
        )
    except ValueError as error:
        raise UserError(f"the numbers make no model: {error}", where=where) from error
    table = vit_huggingface(kind=kind, headed=headed, teacher=teacher, gated=gated, layout=layout_of(keys))
    return VitReading(config, table, PROCESSORS[kind])


def _is_headed(values: Mapping[str, Any], kind: Kind, keys: frozenset[str], where: Path) -> bool:
    """Whether it is a classifier rather than the backbone alone."""
    said = values.get("architectures") or ()
    known = (*HEADED[kind], BARE[kind])
    for name in said:
        if name not in known:
            raise UserError(
                f"the architecture {name!r} cannot be loaded", where=where, mend=f"known: {', '.join(known)}"
            )
    return any(key.startswith(f"{kind}.") for key in keys) if keys else not said or said[0] != BARE[kind]


def _common(fields: Fields, kind: Kind) -> dict[str, Any]:
    activation = fields.text("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise fields.fault("hidden_act", f"known: {', '.join(ACTIVATIONS)}")
    patch_hw = _pair(fields, "patch_size", 14 if kind == "dinov2" else 16)
    if patch_hw[0] != patch_hw[1]:
        raise fields.fault("patch_size", "patches are squares")
    resizing = fields.table("sleuth").text("resizing", RESIZING[kind])
    return {
        "image_hw": _pair(fields, "image_size", 224),
        "patch_size": patch_hw[0],
        "dim": fields.whole("hidden_size", 768),
        "depth": fields.whole("num_hidden_layers", 12),
        "num_heads": fields.whole("num_attention_heads", 12),
        "activation": ACTIVATIONS[activation],
        "resizing": resizing,
        "qkv_bias": fields.truth("qkv_bias", True),
        "norm_eps": fields.number("layer_norm_eps", 1e-6 if kind.startswith("dinov2") else 1e-12),
        "dropout": fields.number("hidden_dropout_prob", 0.0),
        "attention_dropout": fields.number("attention_probs_dropout_prob", 0.0),
    }


def _plain(fields: Fields, kind: Kind) -> dict[str, Any]:
    return {
        "feedforward_dim": fields.whole("intermediate_size", 3072),
        "prefix_positions": 2 if kind == "deit" else 1,
    }


def _dino(fields: Fields, kind: Kind, *, gated: bool, headed: bool) -> dict[str, Any]:
    hidden = int(fields.whole("hidden_size", 768) * fields.number("mlp_ratio", 4.0))
    return {
        "feedforward_dim": gated_dim(hidden) if gated else hidden,
        "feedforward": "swiglu" if gated else "mlp",
        "layer_scale": fields.number("layerscale_value", 1.0),
        "drop_path": fields.number("drop_path_rate", 0.0),
        "registers": fields.whole("num_register_tokens", 4) if kind == "dinov2_with_registers" else 0,
        "pool": "class+mean" if headed else "class",
        "prefix_positions": 1,
    }


def gated_dim(hidden_dim: int) -> int:
    """Gated units in place of so many plain ones: two thirds, made up to a multiple of 8.

    >>> gated_dim(1536 * 4)
    4096
    """
    return (int(hidden_dim * 2 / 3) + 7) // 8 * 8


def _pair(fields: Fields, name: str, default: int) -> tuple[int, int]:
    value = fields.any(name, default)
    if isinstance(value, int):
        return value, value
    height, width = fields.wholes(name, [default, default])
    return height, width
