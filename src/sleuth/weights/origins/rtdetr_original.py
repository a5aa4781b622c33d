"""Checkpoints of the original RT-DETR (lyuwenyu/RT-DETR), versions 1 and 2: .pth files, read and written."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.families import config_from
from sleuth.models.rtdetr import RtDetrConfig
from sleuth.queries.anchors import grid_anchors
from sleuth.tasks.detection_loss import DetectionLossConfig
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.checkpoint import LoadedModel
from sleuth.weights.maps.rtdetr_original import CONSTANTS, POINT_SCALE, rtdetr_original
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.huggingface_backbone import RESNETS
from sleuth.weights.origins.original_files import count, filled, write_weights
from sleuth.weights.origins.rtdetr_huggingface_export import is_square, point_shares, rtdetr_config
from sleuth.weights.origins.writing import plain_state
from sleuth.weights.pickles import PickledWeights

PREPROCESS = Preprocess(resize="exact", size_hw=(640, 640), normalise=False)
"""As the original prepares pictures: a square of 640 pixels, from 0 to 1."""

LOSS = DetectionLossConfig(classes="varifocal", focal_alpha=0.75, match_class=2.0)

_MEND = "take a checkpoint of lyuwenyu/RT-DETR with a ResNet"
_STRIDES = (4, 8, 16, 32)


def is_rtdetr(keys: Collection[str]) -> bool:
    """Whether weights with these names are the original's: its own ResNet, and a score head for each layer."""
    return "backbone.conv1.conv1_1.conv.weight" in keys and "decoder.dec_score_head.0.bias" in keys


def read_rtdetr(
    pickled: PickledWeights,
    path: Path,
    *,
    num_heads: int = 8,
    num_queries: int = 300,
    eval_layers: int | None = None,
    discrete: bool | None = None,
) -> LoadedModel:
    """A model from a checkpoint of the original project, ready to answer.

    Sizes are read off the weights. What they do not show is taken from a file that `sleuth convert` wrote, from the
    arguments, or from the published names: ``_m_`` in the file's name runs three of the six decoder layers, ``dsp``
    samples the nearest cell. 80 classes are COCO's; others are LABEL_0, LABEL_1, ...

    Args:
        pickled: the weights.
        path: where they came from.
        num_heads: attention heads of encoder and decoder.
        num_queries: the most objects in a picture; learned queries say it themselves.
        eval_layers: decoder layers that run in evaluation.
        discrete: whether cross-attention takes the nearest cell.

    Raises:
        UserError: the file holds another model.
    """
    kept = Fields(pickled.args, path).table("config").values
    try:
        config: Any = config_from("rtdetr", kept) if kept else None
    except (TypeError, ValueError) as error:
        raise UserError(f"its options make no model: {error}", where=path, mend=_MEND) from error
    if config is None:
        name = f"_{path.stem.lower()}_"
        layers = count(pickled.tensors, "decoder.decoder.layers.", ".norm1.weight")
        if eval_layers is None and layers == 6 and "r50vd_m_" in name:
            eval_layers = 3
        numbers: dict[str, Any] = {
            "num_heads": num_heads,
            "encoder_num_heads": num_heads,
            "num_queries": num_queries,
            "eval_layers": eval_layers,
            "cross_attention": "discrete" if ("_dsp_" in name if discrete is None else discrete) else "default",
        }
        config = _config(pickled.tensors, path, numbers)
    keys = rtdetr_original(config.version)
    return filled(config, keys, pickled, path, mend=_MEND, loss=LOSS, usual=PREPROCESS)


def write_rtdetr(path: Path, loaded: LoadedModel) -> None:
    """Write a model as the code of its own version loads it, for a configuration with its numbers.

    Constants that this code keeps among the weights are made again; anchors where all pictures have one size.

    Args:
        path: a .pth file.
        loaded: the model.

    Raises:
        UserError: the original cannot express the model, or the file cannot be written.
    """
    config = rtdetr_config(loaded)
    _check_expressible(config, loaded)
    tensors = rtdetr_original(config.version).export(plain_state(loaded))
    if config.version == 2:
        shares = point_shares(config)
        tensors |= {POINT_SCALE.format(layer=layer): shares.clone() for layer in range(config.decoder_layers)}
        tensors |= anchors_of(config, loaded.preprocess)
    options = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}
    write_weights(path, tensors, {"config": options}, loaded)


def anchors_of(config: RtDetrConfig, preprocess: Preprocess) -> dict[str, Tensor]:
    """The anchors that version 2 keeps among the weights, for pictures of one size."""
    if preprocess.resize != "exact" or preprocess.size_hw is None or len(config.num_points) > config.levels:
        return {}
    height, width = preprocess.size_hw
    grids = tuple((height // stride, width // stride) for stride in _STRIDES[-config.levels :])
    anchors, usable = grid_anchors(grids)
    return dict(zip(CONSTANTS, (anchors, usable[..., None]), strict=True))


def _config(tensors: Mapping[str, Tensor], path: Path, numbers: dict[str, Any]) -> RtDetrConfig:
    """What the weights show, and the numbers that they do not."""

    def rows(key: str) -> int:
        found = tensors.get(key)
        if found is None or found.dim() < 1:
            raise UserError(f"holds no {key!r}, so it is no RT-DETR of the original", where=path, mend=_MEND)
        return found.shape[0]

    version: Literal[1, 2] = 1 if "decoder.enc_output.0.weight" in tensors else 2
    convolution = "0" if version == 1 else "conv"
    levels = count(tensors, "encoder.input_proj.", f".{convolution}.weight")
    encoder_layers = count(tensors, "encoder.encoder.0.layers.", ".norm1.weight")
    encoder_dim = rows(f"encoder.input_proj.0.{convolution}.weight")
    classes = rows("decoder.dec_score_head.0.bias")
    scores = rows("decoder.enc_score_head.bias")
    learned = "decoder.tgt_embed.weight" in tensors
    if learned:
        numbers["num_queries"] = rows("decoder.tgt_embed.weight")
    try:
        return RtDetrConfig(
            version=version,
            **_backbone(tensors, path),
            levels=levels,
            num_classes=classes,
            dim=rows("decoder.decoder.layers.0.norm1.weight"),
            feedforward_dim=rows("decoder.decoder.layers.0.linear1.bias"),
            decoder_layers=count(tensors, "decoder.decoder.layers.", ".norm1.weight"),
            num_points=_points(tensors, numbers["num_heads"], path),
            query_select="agnostic" if scores == 1 < classes else "default",
            learned_queries=learned,
            encoder_dim=encoder_dim,
            encoder_layers=encoder_layers,
            encoder_feedforward_dim=rows("encoder.encoder.0.layers.0.linear1.bias") if encoder_layers else 1024,
            encoder_expansion=rows("encoder.fpn_blocks.0.conv1.conv.weight") / encoder_dim if levels > 1 else 1.0,
            encoder_depth=count(tensors, "encoder.fpn_blocks.0.bottlenecks.", ".conv1.conv.weight") / 3,
            positions="original",
            num_denoising=100 if "decoder.denoising_class_embed.weight" in tensors else 0,
            **numbers,
        )
    except ValueError as error:
        raise UserError(f"the numbers make no model: {error}", where=path, mend=_MEND) from error


def _points(tensors: Mapping[str, Tensor], num_heads: int, path: Path) -> tuple[int, ...]:
    """Points of each level: in version 2 each point says one over their number, in version 1 they are shared evenly."""
    levels = count(tensors, "decoder.input_proj.", ".conv.weight")
    shares = tensors.get(POINT_SCALE.format(layer=0))
    every = len(tensors.get("decoder.decoder.layers.0.cross_attn.attention_weights.bias", ())) // num_heads
    points: list[int] = []
    if shares is None:
        points = [every // max(levels, 1)] * levels
    else:
        while sum(points) < len(shares):
            points.append(max(1, round(1 / float(shares[sum(points)]))))
    if sum(points) != every or len(points) != levels:
        what = f"{every} points for each of {num_heads} heads do not make {levels} levels"
        raise UserError(what, where=path, mend=_MEND)
    return tuple(points)


def _backbone(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The fields of an `RtDetrConfig` that say what the backbone is."""
    depths = tuple(
        count(tensors, f"backbone.res_layers.{stage}.blocks.", ".branch2a.conv.weight") for stage in range(4)
    )
    kind = "bottleneck" if "backbone.res_layers.0.blocks.0.branch2c.conv.weight" in tensors else "basic"
    found = [name for name, known in RESNETS.items() if known == (kind, depths)]
    if not found:
        what = f"a backbone of {kind} blocks {list(depths)} is not supported"
        raise UserError(what, where=path, mend=f"known: {', '.join(RESNETS)}")
    stem = tensors.get("backbone.conv1.conv1_3.conv.weight")
    return {
        "backbone": found[0],
        "backbone_width": 64 if stem is None else len(stem),
        "frozen_norm": "backbone.conv1.conv1_1.norm.num_batches_tracked" not in tensors,
    }


def _check_expressible(config: RtDetrConfig, loaded: LoadedModel) -> None:
    def refuse(what: str) -> UserError:
        return UserError(f"the original RT-DETR cannot express this model: {what}", mend="use it with Sleuth")

    if config.backbone == "resnet10" or config.backbone_width != 64:
        what = f"its backbone is a {config.backbone} of width {config.backbone_width}"
        raise refuse(f"{what}; there, ResNets have 18 layers and more, and width 64")
    if config.positions == "rows" and config.encoder_layers and not is_square(loaded):
        raise refuse("its pictures are no squares, on which it numbers positions in another order")
