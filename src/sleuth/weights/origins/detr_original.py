"""Checkpoints of the original project (facebookresearch/detr): read from .pth files, and written for its code."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.detr import DetrConfig
from sleuth.weights.checkpoint import LoadedModel
from sleuth.weights.maps.detr_original import DETR_ORIGINAL, DETR_ORIGINAL_MASKS
from sleuth.weights.origins.detr_huggingface_export import detr_config
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.original_files import count, filled, resnet_of, write_weights
from sleuth.weights.origins.writing import plain_state
from sleuth.weights.pickles import PickledWeights

_MASKS = "detr."
_DC5 = "dc5"
_MEND = "take a checkpoint of facebookresearch/detr"


def is_detr(keys: Collection[str]) -> bool:
    """Whether weights with these names are the original's: one class head, for all layers."""
    return "class_embed.bias" in keys or f"{_MASKS}class_embed.bias" in keys


def read_detr(
    pickled: PickledWeights, path: Path, *, num_heads: int | None = None, dilation: bool | None = None
) -> LoadedModel:
    """A model from a checkpoint of the original project, ready to answer.

    Sizes are read off the weights. What the weights do not show, heads and dilation, is taken from the arguments, then
    from the checkpoint's own options, then from the published names (``dc5`` in the file's name), else it is 8 heads
    and no dilation, as published. 91 classes are COCO's, 250 those of COCO panoptic; other classes are LABEL_0,
    LABEL_1, ..., unless `sleuth convert` kept their names.

    Args:
        pickled: the weights of a detector or of one with masks, and options.
        path: where they came from.
        num_heads: attention heads.
        dilation: whether the last stage of the backbone is dilated (DC5).

    Raises:
        UserError: the file holds another model.
    """
    options = Fields(pickled.args, path)
    masks = any(key.startswith(_MASKS) for key in pickled.tensors)
    config = _config(pickled.tensors, path, masks=masks)
    published = _DC5 in path.stem.lower()
    try:
        config = replace(
            config,
            num_heads=options.whole("nheads", 8) if num_heads is None else num_heads,
            dilation=options.truth("dilation", published) if dilation is None else dilation,
            dropout=options.number("dropout", 0.1),
        )
    except ValueError as error:
        raise UserError(f"the numbers make no model: {error}", where=path, mend=_MEND) from error
    keys = DETR_ORIGINAL_MASKS if masks else DETR_ORIGINAL
    return filled(config, keys, pickled, path, mend=_MEND)


def write_detr(path: Path, loaded: LoadedModel) -> None:
    """Write a model as the original's code loads it: the state dict under ``model``.

    Options and class names go along as plain values, so that the file is read without running code. Batch norm that
    was trained is written frozen, as it is there.

    Args:
        path: a .pth file.
        loaded: the model.

    Raises:
        UserError: the original cannot express the model, or the file cannot be written.
    """
    config = detr_config(loaded)
    _check_expressible(config)
    keys = DETR_ORIGINAL_MASKS if config.masks else DETR_ORIGINAL
    options = {
        "backbone": config.backbone,
        "dilation": config.dilation,
        "position_embedding": config.positions,
        "enc_layers": config.encoder_layers,
        "dec_layers": config.decoder_layers,
        "dim_feedforward": config.feedforward_dim,
        "hidden_dim": config.dim,
        "dropout": config.dropout,
        "nheads": config.num_heads,
        "num_queries": config.num_queries,
        "pre_norm": config.pre_norm,
        "masks": config.masks,
        "num_classes": config.num_classes,
    }
    write_weights(path, keys.export(plain_state(loaded, counters=False)), options, loaded)


def _config(tensors: Mapping[str, Tensor], path: Path, *, masks: bool) -> DetrConfig:
    """What the weights show: sizes, depths, norms, positions and the kind of ResNet."""
    prefix = _MASKS if masks else ""

    def shape(key: str, dims: int) -> torch.Size:
        found = tensors.get(prefix + key)
        if found is None or found.dim() != dims:
            raise UserError(f"holds no {key!r}, so it is no DETR of the original", where=path, mend=_MEND)
        return found.shape

    num_queries, dim = shape("query_embed.weight", 2)
    width = shape("backbone.0.body.layer1.0.conv1.weight", 4)[0]
    pre_norm = f"{prefix}transformer.encoder.norm.weight" in tensors
    learned = f"{prefix}backbone.1.row_embed.weight" in tensors
    try:
        return DetrConfig(
            backbone=resnet_of(tensors, path, prefix=prefix),
            backbone_width=width,
            num_classes=shape("class_embed.bias", 1)[0] - 1,
            num_queries=num_queries,
            dim=dim,
            num_heads=1,
            encoder_layers=count(tensors, f"{prefix}transformer.encoder.layers.", ".norm1.weight"),
            decoder_layers=count(tensors, f"{prefix}transformer.decoder.layers.", ".norm1.weight"),
            feedforward_dim=shape("transformer.decoder.layers.0.linear1.weight", 2)[0],
            pre_norm=pre_norm,
            positions="learned" if learned else "sine",
            masks=masks,
        )
    except ValueError as error:
        raise UserError(f"the numbers make no model: {error}", where=path, mend=_MEND) from error


def _check_expressible(config: DetrConfig) -> None:
    def refuse(what: str) -> UserError:
        return UserError(f"the original DETR cannot express this model: {what}", mend="use it with Sleuth")

    same_heads = config.decoder_num_heads in (None, config.num_heads)
    if not same_heads or config.decoder_feedforward_dim not in (None, config.feedforward_dim):
        raise refuse("heads and feed-forward sizes of encoder and decoder differ")
    if not config.backbone.startswith("resnet"):
        raise refuse(f"its backbone is {config.backbone}; there, it is a ResNet")
    if config.backbone == "resnet10" or config.backbone_width != 64 or config.backbone_stages != 4:
        what = f"its backbone is a {config.backbone} of width {config.backbone_width}"
        raise refuse(f"{what} and {config.backbone_stages} stages; there, ResNets have width 64 and four stages")
    if config.dilation and config.backbone in ("resnet18", "resnet34"):
        raise refuse(f"a dilated {config.backbone}; there, only resnet50 and resnet101 can be dilated")
    if config.activation != "relu":
        raise refuse(f"its activation is {config.activation}; there, it is relu")
    if config.norm_between_layers:
        raise refuse("its decoder layers hand on normalised states")
    if config.masks and config.backbone not in ("resnet50", "resnet101"):
        raise refuse(f"a mask head on {config.backbone}; there, it takes resnet50 and resnet101 alone")
    if config.masks and (config.dim % 128 or (config.dim + config.num_heads) % 8):
        raise refuse(f"a mask head of dim {config.dim} with {config.num_heads} heads; there, groups of eight must fit")
