"""Hugging Face's config.json of DETR as the numbers of a model: whatever changes the model is honoured or refused."""

from collections.abc import Mapping
from typing import Any

from sleuth.errors import UserError
from sleuth.models.detr import DetrConfig
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.huggingface_backbone import BackboneNumbers, read_backbone
from sleuth.weights.origins.huggingface_fields import ACTIVATIONS, BOOKKEEPING, agree

MODEL_TYPE = "detr"
DETECTION, SEGMENTATION = "DetrForObjectDetection", "DetrForSegmentation"

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
        agree(fields, name, alias)
    agree(fields, "encoder_attention_heads", "num_attention_heads")
    fields.expect("num_channels", 3)
    if fields.truth("masks", masks) != masks:
        raise fields.fault("masks", "the weights say otherwise")
    backbone = read_backbone(fields)
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
