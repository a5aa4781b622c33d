"""Hugging Face's Deformable DETR, for `open_folder`: whatever changes the model is honoured or refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sleuth.errors import UserError
from sleuth.models.deformable_detr import DeformableDetrConfig
from sleuth.weights.maps.deformable_detr_huggingface import deformable_detr_huggingface
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.huggingface_backbone import BackboneNumbers, read_backbone
from sleuth.weights.origins.huggingface_fields import ACTIVATIONS, BOOKKEEPING, agree
from sleuth.weights.origins.reading import FolderWeights, Reader, Reading

MODEL_TYPE = "deformable_detr"
DETECTION = "DeformableDetrForObjectDetection"
PROCESSOR = "DeformableDetrImageProcessor"

LOSS_FIELDS: Mapping[str, tuple[str, float]] = {
    "class_cost": ("match_class", 1.0),
    "bbox_cost": ("match_l1", 5.0),
    "giou_cost": ("match_giou", 2.0),
    "bbox_loss_coefficient": ("l1_weight", 5.0),
    "giou_loss_coefficient": ("giou_weight", 2.0),
    "focal_alpha": ("focal_alpha", 0.25),
}
"""Their weights of losses and matching costs: our names in `DetectionLossConfig` and their defaults."""

_ENCODER = {"encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", "encoder_n_points"}
_DECODER = {"decoder_layers", "decoder_attention_heads", "decoder_ffn_dim", "decoder_n_points"}
_MODEL = frozenset(
    {
        *("activation_dropout", "activation_function", "attention_dropout", "auxiliary_loss"),
        *("backbone", "backbone_config", "backbone_kwargs", "d_model", "dilation", "dropout"),
        *("hidden_size", "id2label", "model_type", "num_attention_heads", "num_channels", "num_feature_levels"),
        *("num_hidden_layers", "num_labels", "num_queries", "position_embedding_type", "return_intermediate"),
        *("sleuth", "two_stage", "two_stage_num_proposals", "use_timm_backbone", "with_box_refine"),
        *LOSS_FIELDS,
        *_ENCODER,
        *_DECODER,
    }
)
# Which kernels compute it, and losses of masks and of no-object, of which its detector has neither.
_UNREAD = frozenset({"disable_custom_kernels", "mask_loss_coefficient", "dice_loss_coefficient", "eos_coefficient"})


def _read(values: Mapping[str, Any], where: Path, weights: FolderWeights | None) -> Reading:
    rows = 1 if weights is None else weights.rows("class_embed.0.bias", "model.decoder.class_embed.0.bias")
    config, backbone = read_config(values, where, num_classes=rows)
    keys = deformable_detr_huggingface(
        backbone=backbone.kind,
        levels=config.num_levels,
        decoder_layers=config.decoder_layers,
        refine=config.refine,
        two_stage=config.two_stage,
        stages=config.backbone_stages,
    )
    fields = Fields(values, where)
    loss: dict[str, Any] = {ours: fields.number(theirs, default) for theirs, (ours, default) in LOSS_FIELDS.items()}
    return Reading(config, keys, loss | {"classes": "focal", "class_weight": 1.0})


def read_config(
    values: Mapping[str, Any], where: object, *, num_classes: int
) -> tuple[DeformableDetrConfig, BackboneNumbers]:
    """The numbers of the model that a config.json describes.

    Args:
        values: the JSON; fields that are missing or null take Hugging Face's defaults.
        where: the file, for messages.
        num_classes: classes, as the weights have them.

    Raises:
        UserError: a field that cannot be honoured, with its name.
    """
    fields = Fields(values, where)
    fields.known(_MODEL, _UNREAD, BOOKKEEPING)
    for name, alias in (("d_model", "hidden_size"), ("encoder_layers", "num_hidden_layers")):
        agree(fields, name, alias)
    agree(fields, "encoder_attention_heads", "num_attention_heads")
    fields.expect("num_channels", 3)
    fields.expect("return_intermediate", True)
    num_levels = fields.whole("num_feature_levels", 4)
    backbone = read_backbone(fields, (2, 3, 4) if num_levels > 1 else (4,))
    first, last = backbone.stages[0], backbone.stages[-1]
    if backbone.stages != tuple(range(first, last + 1)):
        what = f"the backbone hands on the stages {list(backbone.stages)}, which do not follow one another"
        raise UserError(what, where=where, mend="see backbone_config")
    activation, positions = fields.text("activation_function", "relu"), fields.text("position_embedding_type", "sine")
    if activation not in ACTIVATIONS:
        raise fields.fault("activation_function", f"known: {', '.join(ACTIVATIONS)}")
    if positions not in ("sine", "learned"):
        raise fields.fault("position_embedding_type", "known: sine, learned")
    two_stage = fields.truth("two_stage", False)
    queries = fields.whole("two_stage_num_proposals" if two_stage else "num_queries", 300)
    try:
        config = DeformableDetrConfig(
            backbone=backbone.name,
            backbone_width=backbone.width,
            backbone_stages=last,
            backbone_levels=len(backbone.stages),
            num_levels=num_levels,
            dilation=backbone.dilation,
            num_classes=num_classes,
            num_queries=queries,
            dim=fields.whole("d_model", fields.whole("hidden_size", 256)),
            num_heads=fields.whole("encoder_attention_heads", fields.whole("num_attention_heads", 8)),
            decoder_num_heads=fields.whole("decoder_attention_heads", 8),
            encoder_layers=fields.whole("encoder_layers", fields.whole("num_hidden_layers", 6)),
            decoder_layers=fields.whole("decoder_layers", 6),
            feedforward_dim=fields.whole("encoder_ffn_dim", 1024),
            decoder_feedforward_dim=fields.whole("decoder_ffn_dim", 1024),
            encoder_points=fields.whole("encoder_n_points", 4),
            decoder_points=fields.whole("decoder_n_points", 4),
            dropout=fields.number("dropout", 0.1),
            attention_dropout=fields.number("attention_dropout", 0.0),
            activation_dropout=fields.number("activation_dropout", 0.0),
            activation=ACTIVATIONS[activation],
            positions="sine" if positions == "sine" else "learned",
            refine=fields.truth("with_box_refine", False),
            two_stage=two_stage,
        )
    except ValueError as error:
        raise UserError(f"the numbers make no model: {error}", where=where) from error
    return config, backbone


DEFORMABLE_DETR = Reader((DETECTION,), PROCESSOR, _read)
