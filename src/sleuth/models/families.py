"""Every family of detectors in one table: what its numbers are called, and what builds a model from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from sleuth.models.deformable_detr import DeformableDetrConfig, build_deformable_detr
from sleuth.models.detector import Detector, DetectorConfig, field_names, has_masks, takes_masks
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.models.dfine import DfineConfig, build_dfine
from sleuth.models.dino import DinoConfig, build_dino
from sleuth.models.fcos import FcosConfig, build_fcos
from sleuth.models.rtdetr import RtDetrConfig, build_rtdetr
from sleuth.models.sleuth import build_sleuth
from sleuth.models.sleuth_config import SleuthConfig

__all__ = [
    "FAMILIES",
    "Detector",
    "DetectorConfig",
    "Family",
    "build_detector",
    "computation",
    "config_from",
    "family_of",
    "has_masks",
    "options",
    "takes_masks",
]


@dataclass(frozen=True)
class Family:
    """Detectors that share a config and a builder.

    Args:
        name: as files and recipes name it.
        config: the dataclass of its numbers.
        build: from numbers to a model with fresh weights.
        silent: the numbers that change what the same weights compute, where no shape tells.
        dense: it answers in every cell, and what overlaps is suppressed afterwards; there are no queries.
    """

    name: str
    config: type[Any]
    build: Callable[[Any], Detector]
    silent: tuple[str, ...] = ()
    dense: bool = False


_DETR = ("num_heads", "activation", "pre_norm", "positions", "norm_between_layers", "decoder_num_heads")
_LEVELS = ("backbone_levels", "num_levels", "encoder_points", "decoder_points")
_DEFORMABLE_DETR = ("num_heads", "activation", "positions", "refine", "two_stage", "decoder_num_heads", *_LEVELS)
_DINO = ("num_heads", "activation", "temperature", *_LEVELS)

_DFINE = ("num_heads", "encoder_num_heads", "num_points", "sampling", "answer_layer", "positions")
_RTDETR = (
    *("num_heads", "activation", "encoder_num_heads", "encoder_activation", "positions"),
    *("num_points", "offset_scale", "cross_attention", "query_select", "eval_layers"),
)

FAMILIES: Mapping[str, Family] = {
    "detr": Family("detr", DetrConfig, build_detr, _DETR),
    "deformable-detr": Family("deformable-detr", DeformableDetrConfig, build_deformable_detr, _DEFORMABLE_DETR),
    "dino": Family("dino", DinoConfig, build_dino, _DINO),
    "sleuth": Family("sleuth", SleuthConfig, build_sleuth, ("num_heads",)),
    "dfine": Family("dfine", DfineConfig, build_dfine, _DFINE),
    "rtdetr": Family("rtdetr", RtDetrConfig, build_rtdetr, _RTDETR),
    "fcos": Family("fcos", FcosConfig, build_fcos, dense=True),
}
"""By name, as it stands in a model's card as ``architecture``."""


def family_of(config: DetectorConfig) -> Family:
    """The family that a config belongs to.

    Raises:
        ValueError: it belongs to none.

    >>> family_of(DetrConfig()).name
    'detr'
    """
    for family in FAMILIES.values():
        if type(config) is family.config:
            return family
    raise ValueError(f"{type(config).__name__} is the config of no family")


def build_detector(config: DetectorConfig) -> Detector:
    """A model of any family with fresh weights.

    Raises:
        ValueError: numbers that make no model.
    """
    return family_of(config).build(config)


def config_from(family: str, values: Mapping[str, Any]) -> DetectorConfig:
    """A family's config from plain JSON values, in which tuples are lists.

    Raises:
        KeyError: there is no such family.
        TypeError: a number that it does not know.
        ValueError: numbers that make no model.

    >>> config_from("detr", {"num_queries": 5}).num_queries
    5
    """
    return cast(DetectorConfig, FAMILIES[family].config(**{name: frozen(value) for name, value in values.items()}))


def computation(config: DetectorConfig) -> dict[str, object]:
    """The numbers that change what the same weights compute, where no shape tells.

    Those of a decoder that are None are the encoder's.

    >>> computation(DetrConfig(num_heads=4))["decoder_num_heads"]
    4
    """
    found: dict[str, object] = {}
    for name in family_of(config).silent:
        value = getattr(config, name)
        found[name] = getattr(config, name.removeprefix("decoder_")) if value is None else value
    return found


def options(config: DetectorConfig, **wanted: object) -> dict[str, Any]:
    """Those of the wanted numbers that a config's family has."""
    known = field_names(type(config))
    return {name: value for name, value in wanted.items() if name in known}


def frozen(value: Any) -> Any:
    """A plain JSON value as a config holds it: lists are tuples."""
    return tuple(map(frozen, value)) if isinstance(value, list) else value
