"""timm's vision Transformers: what its config.json says, and ours in its terms."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import timm
from timm.data import ImageNetInfo
from timm.layers import GluMlp, LayerScale, Mlp
from timm.layers.attention import Attention
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import Block
from timm.models.vision_transformer import VisionTransformer as TimmVit
from torch import Tensor, nn

from sleuth.errors import UserError
from sleuth.models.vit import VitConfig
from sleuth.weights.origins.fields import Fields

_ACTIVATIONS: Mapping[type, Literal["gelu", "gelu_tanh", "relu", "silu"]] = {
    nn.GELU: "gelu",
    nn.ReLU: "relu",
    nn.SiLU: "silu",
}
_POOLS: Mapping[str, Literal["class", "mean"]] = {"token": "class", "avg": "mean"}
_NORM_EPS = 1e-6
"""In its layer norms; a config.json cannot say otherwise."""


def pretrained_fields(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a config.json says of preprocessing; older files say it beside the architecture."""
    said = values.get("pretrained_cfg")
    return said if isinstance(said, dict) else values


def read_vit_timm(values: Mapping[str, Any], where: Path) -> VitConfig:
    """The numbers of the model that a folder's config.json describes.

    timm itself builds the model, without memory for its weights, and what it built is read off: so names, arguments and
    defaults mean what they mean there.

    Args:
        values: the JSON.
        where: the file; timm reads it again.

    Raises:
        UserError: timm knows no such model, or it has parts that ours does not have.
    """
    name = Fields(values, where).text("architecture", "")
    try:
        model = timm.create_model(f"local-dir:{where.parent}", pretrained=False, device="meta")
    except Exception as error:  # a file may say anything, and timm checks little of it
        what = f"timm makes no model of {name!r} with these arguments ({type(error).__name__}: {error})"
        raise UserError(what, where=where, mend="copy or download it again") from error
    if type(model) not in (TimmVit, VisionTransformerDistilled):
        what = f"the architecture {name!r} cannot be loaded"
        raise UserError(
            what, where=where, mend="supported of timm: vit_* and deit_* that are plain vision Transformers"
        )
    try:
        return _config(model)
    except ValueError as error:
        raise UserError(f"the architecture {name!r} cannot be loaded: {error}", where=where) from error


def _config(model: Any) -> VitConfig:
    """What timm built, in our numbers; ValueError names what ours does not have."""
    block = model.blocks[0]
    _check_plain(model, block)
    patch_hw = tuple(model.patch_embed.patch_size)
    if patch_hw[0] != patch_hw[1]:
        raise ValueError(f"its patches of {patch_hw} are no squares")
    if model.global_pool not in _POOLS:
        raise ValueError(f"it pools by {model.global_pool!r}; known: {', '.join(_POOLS)}")
    distilled = isinstance(model, VisionTransformerDistilled)
    if distilled and not model.num_classes:
        raise ValueError("it has a distillation token, but no classes")
    gated = isinstance(block.mlp, GluMlp)
    return VitConfig(
        image_hw=tuple(model.patch_embed.img_size),
        patch_size=patch_hw[0],
        num_classes=model.num_classes,
        dim=model.embed_dim,
        depth=len(model.blocks),
        num_heads=block.attn.num_heads,
        feedforward_dim=block.mlp.fc2.in_features,
        feedforward="swiglu" if gated else "mlp",
        activation="gelu" if gated else _activation(block.mlp.act),
        pool=_POOLS[model.global_pool],
        norm_after_pool=isinstance(model.norm, nn.Identity),
        class_token=model.cls_token is not None,
        distillation="head" if distilled else "none",
        registers=model.num_reg_tokens,
        positions="none" if model.pos_embed is None else "learned",
        prefix_positions=0 if model.no_embed_class else model.num_prefix_tokens,
        resizing="antialiased",
        layer_scale=block.ls1.init_values if isinstance(block.ls1, LayerScale) else None,
        qkv_bias=block.attn.qkv.bias is not None,
        norm_eps=block.norm1.eps,
    )


def _check_plain(model: Any, block: Any) -> None:
    """ValueError for parts that change what is computed and that ours does not have."""
    attention = block.attn
    mlp = block.mlp
    plain = {
        "its blocks are of another kind": type(block) is Block,
        "its attention is of another kind": type(attention) is Attention,
        "it normalises before the first block": isinstance(model.norm_pre, nn.Identity),
        "it has no bias in its patch embedding": model.patch_embed.proj.bias is not None,
        "it normalises patches": isinstance(model.patch_embed.norm, nn.Identity),
        "it pools by attention": model.attn_pool is None,
        "it pools the tokens before the patches, too": not model.pool_include_prefix,
        "it drops patches": isinstance(model.patch_drop, nn.Identity),
        "its layer norms are of another kind": isinstance(block.norm1, nn.LayerNorm),
        "it has one final norm too many or too few": isinstance(model.norm, nn.Identity)
        != isinstance(model.fc_norm, nn.Identity),
        "its feed-forward networks are of another kind": type(mlp) in (Mlp, GluMlp)
        and isinstance(mlp.norm, nn.Identity),
        "it gates in another way": type(mlp) is not GluMlp or (isinstance(mlp.act, nn.SiLU) and not mlp.gate_last),
    }
    if type(attention) is Attention:
        parts = (attention.q_norm, attention.k_norm, attention.norm)
        plain["it normalises or gates within attention"] = attention.gate is None and all(
            isinstance(part, nn.Identity) for part in parts
        )
        plain["its heads have another width"] = attention.attn_dim == model.embed_dim
        plain["it has no bias where attention is joined"] = attention.proj.bias is not None
    for fault, fine in plain.items():
        if not fine:
            raise ValueError(fault)


def _activation(module: nn.Module) -> Literal["gelu", "gelu_tanh", "relu", "silu"]:
    if (isinstance(module, nn.GELU) and module.approximate == "tanh") or type(module).__name__ == "GELUTanh":
        return "gelu_tanh"
    for kind, name in _ACTIVATIONS.items():
        if isinstance(module, kind) or type(module).__name__ == kind.__name__:
            return name
    raise ValueError(f"its activation {type(module).__name__} is unknown")


def timm_names(values: Mapping[str, Any], num_classes: int, where: object) -> tuple[str, ...]:
    """Names of the classes: those of the file, ImageNet's where it was trained on it, or else LABEL_0, LABEL_1, ...

    Raises:
        UserError: they are not as many as the model has.
    """
    said = values.get("label_names") or pretrained_fields(values).get("label_names")
    described = values.get("label_descriptions") or pretrained_fields(values).get("label_descriptions") or {}
    if said:
        names = list(said.values()) if isinstance(said, dict) else list(said)
        if len(names) != num_classes:
            what = f"label_names names {len(names)} classes, but the model has {num_classes}"
            raise UserError(what, where=where, mend="name every class once")
        return tuple(str(described.get(name, name)) for name in names)
    tag = str(pretrained_fields(values).get("tag", ""))
    if num_classes == 1000 and "in1k" in tag:
        return tuple(ImageNetInfo("imagenet-1k").label_descriptions())
    return tuple(f"LABEL_{label}" for label in range(num_classes))


def timm_values(config: VitConfig, names: tuple[str, ...], prepared: Mapping[str, Any]) -> dict[str, Any]:
    """The config.json of a model in timm's terms.

    Args:
        config: its numbers.
        names: of its classes.
        prepared: fields of ``pretrained_cfg`` that say how pictures are prepared.

    Raises:
        UserError: timm's vision Transformer cannot express it.
    """
    _check_expressible(config)
    gated = config.feedforward == "swiglu"
    hidden = config.feedforward_dim * (2 if gated else 1)
    whole = hidden % config.dim == 0
    everywhere = config.prefix_positions == config.num_prefix
    arguments: dict[str, Any] = {
        "img_size": list(config.image_hw),
        "patch_size": config.patch_size,
        "embed_dim": config.dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        # A little more than the quotient, as the product is rounded down.
        "mlp_ratio": hidden // config.dim if whole else (hidden + 0.5) / config.dim,
        "qkv_bias": config.qkv_bias,
        "init_values": config.layer_scale,
        "class_token": config.class_token,
        "reg_tokens": config.registers,
        "pos_embed": "learn" if config.positions == "learned" else "none",
        "no_embed_class": not everywhere,
        "global_pool": "token" if config.pool == "class" else "avg",
        "fc_norm": config.norm_after_pool,
    }
    if not gated and config.activation != "gelu":
        arguments["act_layer"] = config.activation
    architecture = "vit_giant_patch14_dinov2" if gated else "vit_base_patch16_224"
    heads: str | list[str] = "head"
    if config.distillation == "head":
        architecture, heads = "deit_base_distilled_patch16_224", ["head", "head_dist"]
    return {
        "architecture": architecture,
        "num_classes": config.num_classes,
        "num_features": config.dim,
        "global_pool": arguments["global_pool"],
        **({"label_names": list(names)} if names else {}),
        "model_args": {name: value for name, value in arguments.items() if value is not None},
        "pretrained_cfg": {
            "num_classes": config.num_classes,
            "pool_size": None,
            "fixed_input_size": True,
            "first_conv": "patch_embed.proj",
            "classifier": heads,
            **prepared,
        },
    }


def timm_state(config: VitConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights, with positions where timm has them: on all of the tokens before the patches, or on none.

    A position that is on one of them alone is added to that token, which is the same to every picture.
    """
    found = dict(state)
    table = "backbone.positions.table"
    if config.positions != "learned" or config.prefix_positions in (0, config.num_prefix):
        return found
    tokens = [key for key in ("class_token", "distill_token", "registers") if f"backbone.{key}" in found]
    at = 0
    for key in (f"backbone.{name}" for name in tokens):
        count = found[key].shape[1]
        places = found[table][:, at : min(at + count, config.prefix_positions)]
        moved = found[key].clone()
        moved[:, : places.shape[1]] += places
        found[key] = moved
        at += count
    found[table] = found[table][:, config.prefix_positions :].contiguous()
    return found


def _check_expressible(config: VitConfig) -> None:
    def refuse(what: str) -> UserError:
        return UserError(f"timm's vision Transformer cannot express this model: {what}", mend="use it with Sleuth")

    if config.stem != "patch":
        raise refuse("convolutions are its stem")
    if config.attention != "softmax":
        raise refuse(f"its attention is {config.attention}")
    if config.positions not in ("learned", "none"):
        raise refuse(f"its positions are {config.positions}")
    if config.pool == "class+mean" or config.pooler:
        raise refuse("its head reads more than one pooled token")
    if config.distillation == "token":
        raise refuse("its distillation token has no head")
    if config.norm_eps > _NORM_EPS:
        raise refuse(f"norm_eps = {config.norm_eps}; there, it is {_NORM_EPS}")
    if config.distillation == "head" and (config.feedforward == "swiglu" or config.registers):
        raise refuse("it has a distillation token, and gated networks or registers")
