"""Models by name: configuration, preprocessing and, where they are bundled, weights. One literal table."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sleuth.errors import UserError
from sleuth.models.detr import Detr, DetrConfig, build_detr
from sleuth.tasks.detection import Preprocess

_BUNDLED = Path(__file__).parent / "bundled"


@dataclass(frozen=True)
class CatalogEntry:
    """A named model.

    Args:
        config: its numbers.
        preprocess: how pictures become its input.
        about: one line for `sleuth models`.
        weights: the bundled file, or None where the name stands for an architecture without weights.
    """

    config: DetrConfig
    preprocess: Preprocess
    about: str
    weights: Path | None = None


DETR_R50 = DetrConfig(backbone="resnet50")
DETR_SMALL = DetrConfig(
    backbone="resnet18",
    backbone_width=32,
    dilation=True,
    frozen_norm=False,
    num_classes=15,
    num_queries=16,
    dim=128,
    num_heads=4,
    encoder_layers=2,
    decoder_layers=3,
    feedforward_dim=512,
    dropout=0.0,
    supervise_encoder=True,
)

CATALOG: Mapping[str, CatalogEntry] = {
    "detr-r18": CatalogEntry(replace(DETR_R50, backbone="resnet18"), Preprocess(), "DETR with ResNet-18"),
    "detr-r34": CatalogEntry(replace(DETR_R50, backbone="resnet34"), Preprocess(), "DETR with ResNet-34"),
    "detr-r50": CatalogEntry(DETR_R50, Preprocess(), "DETR with ResNet-50, the paper's baseline"),
    "detr-r50-dc5": CatalogEntry(
        replace(DETR_R50, dilation=True), Preprocess(), "DETR with ResNet-50 and a dilated last stage"
    ),
    "detr-r101": CatalogEntry(replace(DETR_R50, backbone="resnet101"), Preprocess(), "DETR with ResNet-101"),
    "detr-r101-dc5": CatalogEntry(
        replace(DETR_R50, backbone="resnet101", dilation=True),
        Preprocess(),
        "DETR with ResNet-101 and a dilated last stage",
    ),
    "detr-small": CatalogEntry(
        DETR_SMALL, Preprocess(shortest=128, longest=128), "a small DETR that learns from scratch on one machine"
    ),
    "detr-scenes": CatalogEntry(
        DETR_SMALL,
        Preprocess(shortest=128, longest=128),
        "detr-small trained on the built-in scenes; its weights are bundled",
        weights=_BUNDLED / "detr-scenes.safetensors",
    ),
}


def entry(name: str) -> CatalogEntry:
    """The entry of a name.

    Raises:
        UserError: no such model; the message names the nearest.
    """
    if name in CATALOG:
        return CATALOG[name]
    near = get_close_matches(name, CATALOG, n=1, cutoff=0.4)
    mend = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(CATALOG)}"
    raise UserError(f"unknown model {name!r}", mend=f"{mend} A trained model is named by its .safetensors file")


def build(name: str, **overrides: Any) -> Detr:
    """A named architecture with fresh weights; ``overrides`` change its `DetrConfig`."""
    return build_detr(replace(entry(name).config, **overrides))
