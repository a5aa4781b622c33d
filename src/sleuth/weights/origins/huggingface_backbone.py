"""The ResNets of Hugging Face's detectors: what a config.json says of them, and how one is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sleuth.errors import UserError
from sleuth.weights.maps.huggingface_parts import Backbone
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.huggingface_fields import BOOKKEEPING

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


def read_backbone(fields: Fields, timm_stages: Sequence[int] = (1, 2, 3, 4)) -> BackboneNumbers:
    """The backbone, in any of the ways in which versions 4 and 5 write it.

    Args:
        fields: of the whole config.json.
        timm_stages: the stages of timm's ResNet that are handed on, where nothing else is said.

    Raises:
        UserError: a field that cannot be honoured, with its name.
    """
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
        return _timm(inner, fields.text("backbone", "resnet50"), [*timm_stages], dilation_said=dilation)
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


def backbone_kind(name: str, width: int) -> Backbone:
    """Timm's ResNet where it has one of that name and width; Hugging Face's own takes any width, but never dilates."""
    return "timm" if width == 64 and name in _TIMM else "resnet"


def backbone_json(numbers: BackboneNumbers, *, usual: bool) -> dict[str, Any]:
    """The fields of config.json that describe a backbone.

    Args:
        numbers: of the backbone.
        usual: the stages that are handed on are those that are meant where nothing is said.
    """
    if numbers.kind == "resnet":
        layer_type, depths = RESNETS[numbers.name]
        expansion, last = 4 if layer_type == "bottleneck" else 1, numbers.stages[-1]
        inner: dict[str, Any] = {
            "model_type": "resnet",
            "embedding_size": 64,
            "hidden_sizes": [numbers.width * expansion * 2**stage for stage in range(last)],
            "depths": list(depths[:last]),
            "layer_type": layer_type,
            "out_features": [f"stage{stage}" for stage in numbers.stages],
        }
        return {"backbone_config": inner, "use_timm_backbone": False}
    if usual:  # as the hub's files say it: every version understands this
        return {"backbone": numbers.name, "use_timm_backbone": True, "use_pretrained_backbone": False}
    inner = {
        "model_type": "timm_backbone",
        "backbone": numbers.name,
        "features_only": True,
        "use_pretrained_backbone": False,
        "out_indices": list(numbers.stages),
    }
    return {"backbone_config": inner | ({"output_stride": 16} if numbers.dilation else {}), "use_timm_backbone": False}
