"""Checkpoints of the original D-FINE (Peterande/D-FINE): read from .pth files, and written for its code."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from sleuth.backbones.hgnetv2 import HgNetV2Name, layer_table
from sleuth.errors import UserError
from sleuth.files import atomic_write
from sleuth.models.dfine import DfineConfig, build_dfine
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.checkpoint import LoadedModel, detector_card, fill
from sleuth.weights.maps.dfine_original import DFINE_ORIGINAL
from sleuth.weights.origins.coco_names import THINGS
from sleuth.weights.origins.dfine_huggingface import LOSS_FIELDS
from sleuth.weights.origins.writing import plain_state
from sleuth.weights.pickles import PickledWeights

PREPROCESS = Preprocess(resize="exact", size_hw=(640, 640), normalise=False)
"""As the original prepares pictures: a square of 640 pixels, from 0 to 1."""

_MEND = "take a checkpoint of Peterande/D-FINE"
_QUERIES = 300


def is_dfine(keys: Collection[str]) -> bool:
    """Whether weights with these names are the original's: a plain box head beside the decoder's heads."""
    return "decoder.pre_bbox_head.layers.0.weight" in keys


def read_dfine(pickled: PickledWeights, path: Path) -> LoadedModel:
    """A model from a checkpoint of the original project, ready to answer.

    Sizes are read off the weights. What they do not show is as published: 300 queries, 8 heads in the encoder, and the
    last layer answers. 80 classes are COCO's; others are LABEL_0, LABEL_1, ...

    Args:
        pickled: the weights.
        path: where they came from.

    Raises:
        UserError: the file holds another model.
    """
    config = _config(pickled.tensors, path)
    classes = THINGS if config.num_classes == len(THINGS) else {n: f"LABEL_{n}" for n in range(config.num_classes)}
    loss: dict[str, Any] = dict(LOSS_FIELDS.values())
    card = detector_card(
        config,
        names=tuple(classes.values()),
        category_ids=tuple(classes),
        preprocess=PREPROCESS,
        notes={"origin": "original", "loss": loss | {"classes": "varifocal", "match_union": True}},
    )
    model = build_dfine(config)
    wanted = {key: tensor.shape for key, tensor in model.state_dict().items()}
    try:
        ours = DFINE_ORIGINAL.load(pickled.tensors, wanted)
    except UserError as error:
        raise UserError(error.what, where=path, mend=_MEND) from error
    fill(model, ours, path)
    return LoadedModel(model.eval(), card)


def write_dfine(path: Path, loaded: LoadedModel) -> None:
    """Write a model as the original code loads it, for its own configuration of that size.

    Args:
        path: a .pth file.
        loaded: the model.

    Raises:
        UserError: the file cannot be written.
    """
    config = loaded.config
    if not isinstance(config, DfineConfig):
        raise TypeError(f"{type(config).__name__} is no DfineConfig")
    tensors = DFINE_ORIGINAL.export(plain_state(loaded))
    # A constant, which its code keeps among the weights.
    shares = torch.tensor([1 / count for count in config.num_points for _ in range(count)])
    for layer in range(config.decoder_layers):
        tensors[f"decoder.decoder.layers.{layer}.cross_attn.num_points_scale"] = shares.clone()
    with atomic_write(path) as temporary:
        torch.save({"model": tensors}, temporary)


def _config(tensors: Mapping[str, Tensor], path: Path) -> DfineConfig:
    """What the weights show."""

    def tensor(key: str, dims: int) -> Tensor:
        found = tensors.get(key)
        if found is None or found.dim() != dims:
            raise UserError(f"holds no {key!r}, so it is no D-FINE of the original", where=path, mend=_MEND)
        return found

    def count(before: str, after: str) -> int:
        number = 0
        while f"{before}{number}{after}" in tensors:
            number += 1
        return number

    layer = "decoder.decoder.layers.0"
    dim = tensor("decoder.enc_output.proj.weight", 2).shape[0]
    encoder_dim = tensor("encoder.input_proj.0.conv.weight", 4).shape[0]
    layers = count("decoder.decoder.layers.", ".norm1.weight")
    levels = count("encoder.input_proj.", ".conv.weight")
    points = _points(tensor(f"{layer}.cross_attn.num_points_scale", 1), levels, path)
    branch = tensor("encoder.fpn_blocks.0.cv2.0.conv1.conv.weight", 4).shape[0]
    widths = [tensor(f"decoder.decoder.layers.{n}.norm1.weight", 1).shape[0] for n in range(layers)]
    encoder_layers = count("encoder.encoder.0.layers.", ".norm1.weight")
    hidden = tensor("encoder.encoder.0.layers.0.linear1.bias", 1).shape[0] if encoder_layers else 1024
    try:
        return DfineConfig(
            **_backbone(tensors, path),
            levels=levels,
            num_classes=tensor("decoder.enc_score_head.bias", 1).shape[0],
            num_queries=_QUERIES,
            encoder_dim=encoder_dim,
            encoder_layers=encoder_layers,
            encoder_feedforward_dim=hidden,
            encoder_expansion=branch * 2 / encoder_dim,
            encoder_depth=round(count("encoder.fpn_blocks.0.cv2.0.bottlenecks.", ".conv1.conv.weight") / 3, 2),
            dim=dim,
            num_heads=tensor(f"{layer}.cross_attn.attention_weights.bias", 1).shape[0] // sum(points),
            decoder_layers=layers,
            # Wider layers come after the one that answers.
            answer_layer=widths.count(dim) - 1 if max(widths, default=dim) > dim else -1,
            wide_scale=max(widths, default=dim) / dim,
            feedforward_dim=tensor(f"{layer}.linear1.bias", 1).shape[0],
            num_points=points,
            bins=tensor("decoder.dec_bbox_head.0.layers.2.bias", 1).shape[0] // 4 - 1,
            reg_scale=float(tensor("decoder.reg_scale", 1)),
            up=float(tensor("decoder.up", 1)),
            num_denoising=100 if "decoder.denoising_class_embed.weight" in tensors else 0,
        )
    except ValueError as error:
        raise UserError(f"the numbers make no model: {error}", where=path, mend=_MEND) from error


def _points(shares: Tensor, levels: int, path: Path) -> tuple[int, ...]:
    """Points of each level: each point says one over their number."""
    points, at = [], 0
    while at < len(shares):
        points.append(max(1, round(1 / float(shares[at]))))
        at += points[-1]
    if at != len(shares) or len(points) != levels:
        raise UserError(f"{len(shares)} points do not make {levels} levels", where=path, mend=_MEND)
    return tuple(points)


def _backbone(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The fields of a `DfineConfig` that say what the backbone is."""
    said = [_stage(tensors, f"backbone.stages.{stage}") for stage in range(4)]
    for size in get_args(HgNetV2Name):
        width = said[-1][1] / layer_table(size)["stage4"][2]
        table = layer_table(size, width) if width else {}
        if said == [(row[1], row[2], row[3], row[7]) for row in (table.get(f"stage{n}", [0] * 8) for n in range(1, 5))]:
            return {
                "backbone": f"hgnetv2_{size}",
                "backbone_width": width,
                "backbone_affine": "backbone.stem.stem1.lab.scale" in tensors,
                "frozen_norm": "backbone.stem.stem1.bn.num_batches_tracked" not in tensors,
            }
    raise UserError("its backbone is no HGNetV2 from B0 to B6, in any width", where=path, mend=_MEND)


def _stage(tensors: Mapping[str, Tensor], stage: str) -> tuple[int, int, int, int]:
    """Channels within and out, blocks, and layers of a block of one stage; zeros where there is none."""

    def rows(*keys: str) -> int:
        return next((tensors[key].shape[0] for key in keys if key in tensors), 0)

    first = f"{stage}.blocks.0"
    blocks, layers = (
        len({key.split(".")[at] for key in tensors if key.startswith(f"{place}.")})
        for place, at in ((f"{stage}.blocks", 4), (f"{first}.layers", 6))
    )
    within = rows(f"{first}.layers.0.conv.weight", f"{first}.layers.0.conv1.conv.weight")
    return within, rows(f"{first}.aggregation.1.conv.weight"), blocks, layers
