"""Checkpoints of the original Deformable DETR (fundamentalvision/Deformable-DETR), read and written."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.deformable_detr import DeformableDetrConfig
from sleuth.tasks.detection_loss import DetectionLossConfig
from sleuth.weights.checkpoint import LoadedModel
from sleuth.weights.keymap import KeyMap
from sleuth.weights.maps.deformable_detr_original import deformable_detr_original
from sleuth.weights.origins.deformable_detr_huggingface_export import deformable_detr_config
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.original_files import count, filled, resnet_of, write_weights
from sleuth.weights.origins.writing import plain_state
from sleuth.weights.pickles import PickledWeights

LOSS = DetectionLossConfig(classes="focal", class_weight=2.0, match_class=2.0)
_DC5 = "dc5"
_MEND = "take a checkpoint of fundamentalvision/Deformable-DETR"
_LEVELS, _DINO = "transformer.level_embed", "transformer.decoder.ref_point_head.layers.0.weight"


def is_deformable_detr(keys: Collection[str]) -> bool:
    """Whether weights with these names are the original's."""
    return _LEVELS in keys and _DINO not in keys


def read_deformable_detr(
    pickled: PickledWeights, path: Path, *, num_heads: int | None = None, dilation: bool | None = None
) -> LoadedModel:
    """A model from a checkpoint of the original project, ready to answer.

    Sizes are read off the weights. What they do not show is taken from the arguments, then from the checkpoint's own
    options, then as published: 8 heads, 300 proposals, dilation where the file's name says ``dc5``.

    Args:
        pickled: the weights, and options.
        path: where they came from.
        num_heads: attention heads.
        dilation: whether the last stage of the backbone is dilated (DC5).

    Raises:
        UserError: the file holds another model.
    """
    options, tensors = Fields(pickled.args, path), pickled.tensors
    heads = options.whole("nheads", 8) if num_heads is None else num_heads
    numbers = common_numbers(tensors, path, heads, mend=_MEND)
    two_stage = "transformer.enc_output.weight" in tensors
    queries = tensors.get("query_embed.weight")
    published = _DC5 in path.stem.lower()
    try:
        config = DeformableDetrConfig(
            **numbers,
            dropout=options.number("dropout", 0.1),
            dilation=options.truth("dilation", published) if dilation is None else dilation,
            num_queries=options.whole("num_queries", 300) if queries is None else len(queries),
            positions="learned" if "backbone.1.row_embed.weight" in tensors else "sine",
            refine="transformer.decoder.bbox_embed.0.layers.0.weight" in tensors,
            two_stage=two_stage,
        )
    except ValueError as error:
        raise UserError(f"the numbers make no model: {error}", where=path, mend=_MEND) from error
    return filled(config, _keys(config), pickled, path, mend=_MEND, loss=LOSS)


def write_deformable_detr(path: Path, loaded: LoadedModel) -> None:
    """Write a model as the original's code loads it.

    Args:
        path: a .pth file.
        loaded: the model.

    Raises:
        UserError: the original cannot express the model, or the file cannot be written.
    """
    config = deformable_detr_config(loaded)
    refuse = refusal("the original Deformable DETR")
    check_common(config, refuse)
    if config.activation != "relu":
        raise refuse(f"its activation is {config.activation}; there, it is relu")
    if config.backbone_levels != (3 if config.num_levels > 1 else 1):
        what = f"{config.backbone_levels} maps of the backbone make {config.num_levels} levels"
        raise refuse(f"{what}; there, it is 3, and 1 where there is one level")
    if config.two_stage and config.dim != 256:
        raise refuse(f"a two-stage model of dim {config.dim}; there, it is 256")
    options = common_options(config) | {
        "position_embedding": config.positions,
        "num_queries": config.num_queries,
        "with_box_refine": config.refine,
        "two_stage": config.two_stage,
        "masks": False,
        "num_classes": config.num_classes,
    }
    write_weights(path, _keys(config).export(plain_state(loaded, counters=False)), options, loaded)


def _keys(config: DeformableDetrConfig) -> KeyMap:
    return deformable_detr_original(
        levels=config.num_levels,
        decoder_layers=config.decoder_layers,
        refine=config.refine,
        two_stage=config.two_stage,
    )


def common_numbers(tensors: Mapping[str, Tensor], path: Path, num_heads: int, *, mend: str) -> dict[str, Any]:
    """What the weights of a Deformable DETR or a DINO show, by the names in `DeformableDetrConfig`.

    Raises:
        UserError: weights that tell of them are missing.
    """

    def shape(key: str, dims: int) -> tuple[int, ...]:
        found = tensors.get(key)
        if found is None or found.dim() != dims:
            raise UserError(f"holds no {key!r}, so it is no such model of the original", where=path, mend=mend)
        return tuple(found.shape)

    levels = shape(_LEVELS, 2)[0]
    maps = sum(shape(f"input_proj.{level}.0.weight", 4)[-1] == 1 for level in range(levels))

    def points(stack: str, attention: str) -> int:
        rows, per = shape(f"transformer.{stack}.layers.0.{attention}.attention_weights.bias", 1)[0], num_heads * levels
        if num_heads < 1 or rows % per:
            raise UserError(f"{num_heads} heads do not share {rows} points on {levels} levels", where=path, mend=mend)
        return rows // per

    encoder_layers = count(tensors, "transformer.encoder.layers.", ".norm1.weight")
    return {
        "backbone": resnet_of(tensors, path),
        "backbone_width": shape("backbone.0.body.layer1.0.conv1.weight", 4)[0],
        "backbone_levels": maps,
        "num_levels": levels,
        "num_classes": shape("class_embed.0.bias", 1)[0],
        "dim": shape(_LEVELS, 2)[1],
        "num_heads": num_heads,
        "encoder_layers": encoder_layers,
        "decoder_layers": count(tensors, "transformer.decoder.layers.", ".norm1.weight"),
        "feedforward_dim": shape("transformer.decoder.layers.0.linear1.weight", 2)[0],
        "encoder_points": points("encoder", "self_attn") if encoder_layers else 4,
        "decoder_points": points("decoder", "cross_attn"),
    }


def common_options(config: DeformableDetrConfig) -> dict[str, Any]:
    """Options of the originals that both projects name alike."""
    return {
        "backbone": config.backbone,
        "dilation": config.dilation,
        "enc_layers": config.encoder_layers,
        "dec_layers": config.decoder_layers,
        "dim_feedforward": config.feedforward_dim,
        "hidden_dim": config.dim,
        "dropout": config.dropout,
        "nheads": config.num_heads,
        "num_feature_levels": config.num_levels,
        "enc_n_points": config.encoder_points,
        "dec_n_points": config.decoder_points,
    }


def refusal(whose: str) -> Callable[[str], UserError]:
    """Faults of models that someone's code cannot express."""
    return lambda what: UserError(f"{whose} cannot express this model: {what}", mend="use it with Sleuth")


def check_common(config: DeformableDetrConfig, refuse: Callable[[str], UserError]) -> None:
    """What neither original can express.

    Raises:
        UserError: the model has it.
    """
    same_heads = config.decoder_num_heads in (None, config.num_heads)
    if not same_heads or config.decoder_feedforward_dim not in (None, config.feedforward_dim):
        raise refuse("heads and feed-forward sizes of encoder and decoder differ")
    known = config.backbone in ("resnet50", "resnet101")
    if not known or config.backbone_width != 64 or config.backbone_stages != 4:
        what = f"its backbone is a {config.backbone} of width {config.backbone_width}"
        raise refuse(f"{what} and {config.backbone_stages} stages; there, it is resnet50 or resnet101, whole")
