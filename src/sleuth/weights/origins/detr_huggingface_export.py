"""A DETR in Hugging Face's terms; what its DETR cannot express is refused."""

from typing import Any

from sleuth.errors import UserError
from sleuth.models.detr import DetrConfig
from sleuth.weights.checkpoint import LoadedModel
from sleuth.weights.maps.detr_huggingface import detr_huggingface
from sleuth.weights.origins.detr_huggingface_config import DETECTION, LOSS_FIELDS, MODEL_TYPE, SEGMENTATION
from sleuth.weights.origins.huggingface_backbone import BackboneNumbers, backbone_json, backbone_kind
from sleuth.weights.origins.writing import Writing, card_json, plain_state


def express_detr(loaded: LoadedModel) -> Writing:
    """A DETR in Hugging Face's terms.

    Batch norm that was trained is written frozen: there it always is, and the answers are the same.

    Raises:
        UserError: Hugging Face's DETR cannot express the model.
    """
    config = detr_config(loaded)
    values = config_json(loaded)
    keys = detr_huggingface(
        backbone=backbone_kind(config.backbone, config.backbone_width),
        masks=config.masks,
        stages=config.backbone_stages,
    )
    tensors = keys.export(plain_state(loaded, counters=False))
    return Writing(values, tensors, "DetrImageProcessor", "coco_panoptic" if config.masks else "coco_detection")


def detr_config(loaded: LoadedModel) -> DetrConfig:
    """The numbers of a model that is known to be a DETR.

    Raises:
        TypeError: it is none.
    """
    config = loaded.config
    if not isinstance(config, DetrConfig):
        raise TypeError(f"{type(config).__name__} is no DetrConfig")
    return config


def config_json(loaded: LoadedModel) -> dict[str, Any]:
    """The config.json of a model.

    Raises:
        UserError: Hugging Face's DETR cannot express the model.
    """
    config, card = detr_config(loaded), loaded.card
    _check_expressible(config)
    loss = card.notes.get("loss")
    loss = loss if isinstance(loss, dict) else {}
    values: dict[str, Any] = {
        "architectures": [SEGMENTATION if config.masks else DETECTION],
        "model_type": MODEL_TYPE,
        "num_channels": 3,
        "num_queries": config.num_queries,
        "d_model": config.dim,
        "encoder_layers": config.encoder_layers,
        "encoder_attention_heads": config.num_heads,
        "encoder_ffn_dim": config.feedforward_dim,
        "decoder_layers": config.decoder_layers,
        "decoder_attention_heads": config.decoder_num_heads or config.num_heads,
        "decoder_ffn_dim": config.decoder_feedforward_dim or config.feedforward_dim,
        "dropout": config.dropout,
        "attention_dropout": config.dropout if config.attention_dropout is None else config.attention_dropout,
        "activation_dropout": config.dropout if config.activation_dropout is None else config.activation_dropout,
        "activation_function": config.activation,
        "position_embedding_type": config.positions,
        "auxiliary_loss": config.norm_between_layers,
        "dilation": config.dilation,
    } | card_json(card)
    for theirs, (ours, default) in LOSS_FIELDS.items():
        value = loss.get(ours, default)
        # Their costs and coefficients are typed as whole numbers.
        values[theirs] = int(value) if float(value).is_integer() and theirs != "eos_coefficient" else value
    return values | _backbone_json(config)


def _backbone_json(config: DetrConfig) -> dict[str, Any]:
    stages = tuple(range(1, config.backbone_stages + 1))
    numbers = BackboneNumbers(
        kind=backbone_kind(config.backbone, config.backbone_width),
        name=config.backbone,
        width=config.backbone_width,
        dilation=config.dilation,
        stages=stages,
    )
    return backbone_json(numbers, usual=config.backbone_stages == 4)


def _check_expressible(config: DetrConfig) -> None:
    def refuse(what: str) -> UserError:
        return UserError(f"Hugging Face's DETR cannot express this model: {what}", mend="use it with Sleuth")

    if not config.backbone.startswith("resnet"):
        raise refuse(f"its backbone is {config.backbone}; there, it is a ResNet")
    if config.pre_norm:
        raise refuse("it normalises before attention (pre_norm)")
    if config.dilation and backbone_kind(config.backbone, config.backbone_width) == "resnet":
        what = f"a dilated {config.backbone} of width {config.backbone_width}; there, only timm's ResNets of width 64"
        raise refuse(f"{what} can be dilated")
    if config.masks:
        widths = (config.dim + config.num_heads, *(config.dim // part for part in (2, 4, 8, 16)))
        if any(width % 8 and (width > 8 or width == widths[0]) for width in widths):
            raise refuse(f"its mask head has widths {widths}, which there fall into groups of eight")
