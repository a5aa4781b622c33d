"""Hugging Face's config.json of DETR as the numbers of a model: whatever changes the model is honoured or refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sleuth.errors import UserError
from sleuth.models.detr import DetrConfig
from sleuth.weights.maps.detr_huggingface import Backbone
from sleuth.weights.origins.fields import Fields

MODEL_TYPE = "detr"
DETECTION, SEGMENTATION = "DetrForObjectDetection", "DetrForSegmentation"

ACTIVATIONS: Mapping[str, Literal["relu", "gelu", "silu"]] = {
    "relu": "relu",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
}
LOSS_FIELDS: Mapping[str, tuple[str, float]] = {
    "class_cost": ("match_class", 1.0),
    "bbox_cost": ("match_l1", 5.0),
    "giou_cost": ("match_giou", 2.0),
    "bbox_loss_coefficient": ("l1_weight", 5.0),
    "giou_loss_coefficient": ("giou_weight", 2.0),
    "mask_loss_coefficient": ("mask_weight", 1.0),
    "dice_loss_coefficient": ("dice_weight", 1.0),
    "eos_coefficient": ("no_object_weight", 0.1),
}
"""Their weights of losses and matching costs: our names in `DetectionLossConfig` and their defaults."""

# Layers of the ResNets that are known, by Hugging Face's kind of layer.
RESNETS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "resnet10": ("basic", (1, 1, 1, 1)),
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
}
_TIMM = ("resnet18", "resnet34", "resnet50", "resnet101")
_HUB_RESNETS = {f"microsoft/resnet-{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101)}

_MODEL = frozenset(
    {
        "activation_dropout",
        "activation_function",
        "attention_dropout",
        "auxiliary_loss",
        "backbone",
        "backbone_config",
        "backbone_kwargs",
        "d_model",
        "decoder_attention_heads",
        "decoder_ffn_dim",
        "decoder_layers",
        "dilation",
        "dropout",
        "encoder_attention_heads",
        "encoder_ffn_dim",
        "encoder_layers",
        "hidden_size",
        "id2label",
        "masks",
        "model_type",
        "num_attention_heads",
        "num_channels",
        "num_hidden_layers",
        "num_labels",
        "num_queries",
        "position_embedding_type",
        "sleuth",
        "use_timm_backbone",
        *LOSS_FIELDS,
    }
)
# What a configuration of that library may hold and DETR does not read.
BOOKKEEPING = frozenset(
    {
        # about the file, the labels the other way round, and how tensors are stored or kernels chosen
        *(
            "_name_or_path",
            "_commit_hash",
            "transformers_version",
            "label2id",
            "_num_labels",
            "torch_dtype",
            "dtype",
            "architectures",
        ),
        *("_attn_implementation", "_attn_implementation_autoset", "attn_implementation", "torchscript"),
        *("use_bfloat16", "tf_legacy_loss", "gradient_checkpointing"),
        # what a call returns besides the answer
        *("return_dict", "output_hidden_states", "output_attentions", "use_return_dict"),
        # every configuration has them; a detector has no use for text, generation or chunks
        *("is_encoder_decoder", "is_decoder", "add_cross_attention", "cross_attention_hidden_size", "use_cache"),
        *("tie_encoder_decoder", "tie_word_embeddings", "chunk_size_feed_forward", "problem_type", "finetuning_task"),
        *("tokenizer_class", "prefix", "task_specific_params", "pruned_heads"),
        *("bos_token_id", "pad_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id"),
        *("max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "temperature"),
        *("diversity_penalty", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty"),
        *("no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences"),
        *("output_scores", "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id"),
        *("remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens"),
        # left over from a language model; its own DETR reads none of them
        *("classifier_dropout", "max_position_embeddings", "scale_embedding"),
        # how fresh weights are drawn, and layers left out while training, which it no longer does
        *("init_std", "init_xavier_std", "encoder_layerdrop", "decoder_layerdrop"),
        # weights come from the file, whether or not the backbone's came from elsewhere
        "use_pretrained_backbone",
    }
)
_TIMM_FIELDS = frozenset(
    {"model_type", "backbone", "num_channels", "in_chans", "features_only", "out_indices", "out_features"}
    # Norms are frozen in any case.
    | {"output_stride", "stage_names", "freeze_batch_norm_2d", "id2label", "num_labels"}
)
_RESNET_FIELDS = frozenset(
    {"model_type", "num_channels", "embedding_size", "hidden_sizes", "depths", "layer_type", "hidden_act"}
    | {"downsample_in_first_stage", "downsample_in_bottleneck", "out_indices", "out_features", "stage_names"}
    | {"id2label", "num_labels"}
)


@dataclass(frozen=True)
class BackboneNumbers:
    """What a config.json says about the backbone.

    Args:
        kind: timm's ResNet or Hugging Face's own; the names of its weights differ.
        name: as in `DetrConfig.backbone`.
        width: channels of the first stage.
        dilation: whether the last stage is dilated.
        stages: the feature maps that are handed on, as numbers of stages; the last one goes to the encoder.
    """

    kind: Backbone
    name: Any
    width: int
    dilation: bool
    stages: tuple[int, ...]


def read_config(
    values: Mapping[str, Any], where: object, *, num_classes: int, masks: bool
) -> tuple[DetrConfig, BackboneNumbers]:
    """The numbers of the model that a config.json describes.

    Args:
        values: the JSON; fields that are missing or null take Hugging Face's defaults.
        where: the file, for messages.
        num_classes: classes without no-object, as the weights have them.
        masks: whether the weights hold a mask head.

    Raises:
        UserError: a field that cannot be honoured, with its name.
    """
    fields = Fields(values, where)
    fields.known(_MODEL, BOOKKEEPING)
    for name, alias in (("d_model", "hidden_size"), ("encoder_layers", "num_hidden_layers")):
        _same(fields, name, alias)
    _same(fields, "encoder_attention_heads", "num_attention_heads")
    fields.expect("num_channels", 3)
    if fields.truth("masks", masks) != masks:
        raise fields.fault("masks", "the weights say otherwise")
    backbone = _backbone(fields)
    if masks and backbone.stages != (1, 2, 3, 4):
        raise UserError(
            "a mask head wants the feature maps of all four stages", where=where, mend="see backbone_config"
        )
    activation, positions = fields.text("activation_function", "relu"), fields.text("position_embedding_type", "sine")
    if activation not in ACTIVATIONS:
        raise fields.fault("activation_function", f"known: {', '.join(ACTIVATIONS)}")
    if positions not in ("sine", "learned"):
        raise fields.fault("position_embedding_type", "known: sine, learned")
    try:
        config = DetrConfig(
            backbone=backbone.name,
            backbone_width=backbone.width,
            backbone_stages=backbone.stages[-1],
            dilation=backbone.dilation,
            num_classes=num_classes,
            num_queries=fields.whole("num_queries", 100),
            dim=fields.whole("d_model", fields.whole("hidden_size", 256)),
            num_heads=fields.whole("encoder_attention_heads", fields.whole("num_attention_heads", 8)),
            decoder_num_heads=fields.whole("decoder_attention_heads", 8),
            encoder_layers=fields.whole("encoder_layers", fields.whole("num_hidden_layers", 6)),
            decoder_layers=fields.whole("decoder_layers", 6),
            feedforward_dim=fields.whole("encoder_ffn_dim", 2048),
            decoder_feedforward_dim=fields.whole("decoder_ffn_dim", 2048),
            dropout=fields.number("dropout", 0.1),
            attention_dropout=fields.number("attention_dropout", 0.0),
            activation_dropout=fields.number("activation_dropout", 0.0),
            activation=ACTIVATIONS[activation],
            positions="sine" if positions == "sine" else "learned",
            norm_between_layers=fields.truth("auxiliary_loss", False),
            masks=masks,
        )
    except ValueError as error:
        raise UserError(f"the numbers make no model: {error}", where=where) from error
    return config, backbone


def read_loss(values: Mapping[str, Any], where: object) -> dict[str, float]:
    """The weights of losses and matching costs, under the names of `DetectionLossConfig`; fine-tuning may use them."""
    fields = Fields(values, where)
    return {ours: fields.number(theirs, default) for theirs, (ours, default) in LOSS_FIELDS.items()}


def _same(fields: Fields, name: str, alias: str) -> None:
    if name in fields and alias in fields and fields.values[name] != fields.values[alias]:
        raise fields.fault(alias, f"{name} = {fields.values[name]!r} says otherwise")


def _backbone(fields: Fields) -> BackboneNumbers:
    """The backbone, in any of the ways in which versions 4 and 5 write it."""
    dilation = fields.truth("dilation", False)
    if "backbone_config" in fields:
        inner = fields.table("backbone_config")
        kind = inner.text("model_type", "timm_backbone" if "backbone" in inner else "resnet")
        if kind == "timm_backbone":
            return _timm(inner, inner.text("backbone", ""), [-1], dilation_said=dilation)
        if kind != "resnet":
            raise inner.fault("model_type", "known: timm_backbone, resnet")
        if dilation:
            raise fields.fault("dilation", "Hugging Face's own ResNet has no dilation")
        return _resnet(inner)
    if fields.truth("use_timm_backbone", True):
        inner = fields.table("backbone_kwargs")
        if dilation and "output_stride" not in inner:
            inner = Fields({**inner.values, "output_stride": 16}, inner.where, "backbone_kwargs")
        return _timm(inner, fields.text("backbone", "resnet50"), [1, 2, 3, 4], dilation_said=dilation)
    if dilation:
        raise fields.fault("dilation", "Hugging Face's own ResNet has no dilation")
    name = fields.text("backbone", "microsoft/resnet-50")
    if name not in _HUB_RESNETS:
        raise fields.fault("backbone", f"known: {', '.join(_HUB_RESNETS)}")
    layer_type, depths = RESNETS[_HUB_RESNETS[name]]
    expansion = 4 if layer_type == "bottleneck" else 1
    sizes = {
        "layer_type": layer_type,
        "depths": list(depths),
        "hidden_sizes": [64 * expansion * 2**n for n in range(4)],
    }
    inner = fields.table("backbone_kwargs")
    return _resnet(Fields({**inner.values, **sizes}, inner.where, "backbone_kwargs"))


def _timm(fields: Fields, name: str, default_stages: list[int], *, dilation_said: bool) -> BackboneNumbers:
    fields.known(_TIMM_FIELDS, BOOKKEEPING)
    for channels in ("num_channels", "in_chans"):
        fields.expect(channels, 3)
    fields.expect("features_only", True)
    # What follows the dot says where timm's own weights come from.
    plain = name.split(".")[0]
    if plain not in _TIMM:
        raise UserError(
            f"the backbone {name!r} is not supported", where=fields.where, mend=f"known: {', '.join(_TIMM)}"
        )
    stride = fields.whole("output_stride", 32)
    if stride not in (16, 32):
        raise fields.fault("output_stride", "known: 16 and 32")
    if dilation_said and stride != 16:
        raise fields.fault("output_stride", "dilation = true says 16")
    stages = _stages(fields, default_stages, 4)
    return BackboneNumbers("timm", plain, 64, stride == 16, stages)


def _resnet(fields: Fields) -> BackboneNumbers:
    fields.known(_RESNET_FIELDS, BOOKKEEPING)
    fields.expect("num_channels", 3)
    fields.expect("hidden_act", "relu")
    for name in ("downsample_in_first_stage", "downsample_in_bottleneck"):
        fields.expect(name, False)
    layer_type = fields.text("layer_type", "bottleneck")
    depths = fields.wholes("depths", [3, 4, 6, 3])
    sizes = fields.wholes("hidden_sizes", [256, 512, 1024, 2048])
    fields.expect("embedding_size", 64)
    said = (layer_type, depths)
    fitting = [name for name, (kind, layers) in RESNETS.items() if (kind, list(layers[: len(depths)])) == said]
    if not fitting or not depths:
        known = "; ".join(f"{kind} {list(layers)}" for kind, layers in RESNETS.values())
        raise fields.fault("depths", f"with {layer_type} layers it is none of: {known}")
    expansion = 4 if layer_type == "bottleneck" else 1
    width = sizes[0] // expansion if sizes else 0
    if width < 1 or sizes != [width * expansion * 2**stage for stage in range(len(depths))]:
        each = f"a multiple of {expansion}, " if expansion > 1 else ""
        raise fields.fault(
            "hidden_sizes", f"{each}one for each of depths and twice that of the stage before is supported"
        )
    return BackboneNumbers("resnet", fitting[0], width, False, _stages(fields, [len(depths)], len(depths)))


def _stages(fields: Fields, default: list[int], last: int) -> tuple[int, ...]:
    """Stages by number; 0, the stem, is left out, since nothing reads it."""
    indices = fields.wholes("out_indices", default)
    if "out_indices" not in fields and "out_features" in fields:
        names = fields.any("out_features")
        known = {f"{word}{n}": n for word in ("stage", "layer") for n in range(1, last + 1)} | {"stem": 0, "act1": 0}
        if not isinstance(names, list | tuple) or not all(name in known for name in names):
            raise fields.fault("out_features", f"known: {', '.join(known)}")
        indices = [known[name] for name in names]
    stages = [index + last + 1 if index < 0 else index for index in indices]
    if stages != sorted(set(stages)) or not stages or stages[0] < 0 or not 1 <= stages[-1] <= last:
        raise fields.fault("out_indices", f"stages are numbered from 1 to {last}, ascending")
    return tuple(stage for stage in stages if stage)
