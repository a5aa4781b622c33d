"""A Deformable DETR in Hugging Face's terms; what its Deformable DETR cannot express is refused."""

from typing import Any

from sleuth.errors import UserError
from sleuth.models.deformable_detr import DeformableDetrConfig
from sleuth.weights.checkpoint import LoadedModel
from sleuth.weights.maps.deformable_detr_huggingface import deformable_detr_huggingface
from sleuth.weights.origins.deformable_detr_huggingface import DETECTION, LOSS_FIELDS, MODEL_TYPE, PROCESSOR
from sleuth.weights.origins.huggingface_backbone import BackboneNumbers, backbone_json, backbone_kind
from sleuth.weights.origins.writing import Writing, card_json, plain_state


def express_deformable_detr(loaded: LoadedModel) -> Writing:
    """A Deformable DETR in Hugging Face's terms.

    Batch norm that was trained is written frozen: there it always is, and the answers are the same.

    Raises:
        UserError: Hugging Face's Deformable DETR cannot express the model.
    """
    config = deformable_detr_config(loaded)
    kind = backbone_kind(config.backbone, config.backbone_width)
    if config.dilation and kind == "resnet":
        what = f"a dilated {config.backbone} of width {config.backbone_width}; there, only timm's ResNets of width 64"
        raise UserError(
            f"Hugging Face's Deformable DETR cannot express this model: {what} can be dilated",
            mend="use it with Sleuth",
        )
    keys = deformable_detr_huggingface(
        backbone=kind,
        levels=config.num_levels,
        decoder_layers=config.decoder_layers,
        refine=config.refine,
        two_stage=config.two_stage,
        stages=config.backbone_stages,
    )
    tensors = keys.export(plain_state(loaded, counters=False))
    # Heads that are one here stand there under several names, and a file of theirs holds each of them apart.
    apart = {key: tensor.clone() for key, tensor in tensors.items()}
    return Writing(config_json(loaded), apart, PROCESSOR)


def deformable_detr_config(loaded: LoadedModel) -> DeformableDetrConfig:
    """The numbers of a model that is known to be a Deformable DETR.

    Raises:
        TypeError: it is none.
    """
    config = loaded.config
    if not isinstance(config, DeformableDetrConfig):
        raise TypeError(f"{type(config).__name__} is no DeformableDetrConfig")
    return config


def config_json(loaded: LoadedModel) -> dict[str, Any]:
    """The config.json of a model."""
    config, loss = deformable_detr_config(loaded), loaded.card.notes.get("loss")
    loss = loss if isinstance(loss, dict) else {}
    values: dict[str, Any] = {
        "architectures": [DETECTION],
        "model_type": MODEL_TYPE,
        "num_channels": 3,
        "num_queries": config.num_queries,
        "two_stage_num_proposals": config.num_queries,
        "d_model": config.dim,
        "encoder_layers": config.encoder_layers,
        "encoder_attention_heads": config.num_heads,
        "encoder_ffn_dim": config.feedforward_dim,
        "encoder_n_points": config.encoder_points,
        "decoder_layers": config.decoder_layers,
        "decoder_attention_heads": config.decoder_num_heads or config.num_heads,
        "decoder_ffn_dim": config.decoder_feedforward_dim or config.feedforward_dim,
        "decoder_n_points": config.decoder_points,
        "num_feature_levels": config.num_levels,
        "dropout": config.dropout,
        "attention_dropout": config.dropout if config.attention_dropout is None else config.attention_dropout,
        "activation_dropout": config.dropout if config.activation_dropout is None else config.activation_dropout,
        "activation_function": config.activation,
        "position_embedding_type": config.positions,
        "dilation": config.dilation,
        "with_box_refine": config.refine,
        "two_stage": config.two_stage,
        "auxiliary_loss": True,
    } | card_json(loaded.card)
    for theirs, (ours, default) in LOSS_FIELDS.items():
        value = loss.get(ours, default)
        # Their costs and coefficients are typed as whole numbers.
        values[theirs] = int(value) if float(value).is_integer() and theirs != "focal_alpha" else value
    first = config.backbone_stages - config.backbone_levels + 1
    numbers = BackboneNumbers(
        kind=backbone_kind(config.backbone, config.backbone_width),
        name=config.backbone,
        width=config.backbone_width,
        dilation=config.dilation,
        stages=tuple(range(first, config.backbone_stages + 1)),
    )
    return values | backbone_json(numbers, usual=numbers.stages == ((2, 3, 4) if config.num_levels > 1 else (4,)))
