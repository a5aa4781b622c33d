"""Models by name: configuration, preprocessing, losses and, where they are bundled, weights. One literal table.

What people want to know about them is in `listing`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sleuth.errors import UserError
from sleuth.models.deformable_detr import DeformableDetrConfig
from sleuth.models.detector import Detector, DetectorConfig
from sleuth.models.detr import DetrConfig
from sleuth.models.dfine_variants import DFINE_VARIANTS
from sleuth.models.dino import DinoConfig
from sleuth.models.families import build_detector, family_of
from sleuth.models.fcos import FcosConfig
from sleuth.models.rtdetr_variants import RTDETR_VARIANTS
from sleuth.models.sleuth_config import SleuthConfig
from sleuth.tasks.detection_loss import DetectionLossConfig
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.listing import LISTED

_BUNDLED = Path(__file__).parent / "bundled"


@dataclass(frozen=True)
class CatalogEntry:
    """A named model.

    Args:
        config: its numbers; their type says of which family it is.
        preprocess: how pictures become its input.
        weights: the bundled file, or None where the name stands for an architecture without weights.
        loss: what it is trained by, where a recipe does not say otherwise.
    """

    config: DetectorConfig
    preprocess: Preprocess
    weights: Path | None = None
    loss: DetectionLossConfig = field(default_factory=DetectionLossConfig)


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
DEFORMABLE_DETR_R50 = DeformableDetrConfig(backbone="resnet50")
DEFORMABLE_DETR_LOSS = DetectionLossConfig(classes="focal", class_weight=2.0, match_class=2.0)
DINO_R50 = DinoConfig(backbone="resnet50")
DINO_LOSS = DetectionLossConfig(classes="focal", class_weight=1.0, match_class=2.0)
_DFINE_LOSS = DetectionLossConfig(classes="varifocal", focal_alpha=0.75, match_class=2.0, match_union=True)
_SQUARE = Preprocess(resize="exact", size_hw=(640, 640), normalise=False)

SLEUTH_N = SleuthConfig()
SLEUTH_S = SleuthConfig(
    backbone="resnet18", backbone_width=48, dim=192, num_heads=6, feedforward_dim=768, fusion_depth=0.67
)
SLEUTH_M = SleuthConfig(
    num_queries=300,
    backbone="resnet34",
    backbone_width=64,
    dim=256,
    num_heads=8,
    feedforward_dim=1024,
    fusion_depth=1.0,
    decoder_layers=4,
)
SLEUTH_L = replace(SLEUTH_M, backbone="resnet50", fusion_expansion=1.0, decoder_layers=6)
# Pictures keep their shape; sides need not be multiples of anything.
SLEUTH_SIZES = Preprocess(shortest=480, longest=800)
SLEUTH_LOSS = DetectionLossConfig(classes="matchability", focal_gamma=1.5, match_class=2.0)
FCOS_R50 = FcosConfig(backbone="resnet50")
# Of the size of detr-small, for pictures as small: objects go to coarser levels sooner.
FCOS_SMALL = FcosConfig(
    backbone="resnet18", backbone_width=32, frozen_norm=False, dim=128, num_levels=3, tower_layers=3, reach=4.0
)
FCOS_LOSS = DetectionLossConfig(assignment="points", classes="focal", giou_weight=1.0)
_RTDETR_LOSS = DetectionLossConfig(classes="varifocal", focal_alpha=0.75, match_class=2.0)

CATALOG: Mapping[str, CatalogEntry] = {
    "sleuth-n": CatalogEntry(SLEUTH_N, SLEUTH_SIZES, loss=SLEUTH_LOSS),
    "sleuth-s": CatalogEntry(SLEUTH_S, SLEUTH_SIZES, loss=SLEUTH_LOSS),
    "sleuth-m": CatalogEntry(SLEUTH_M, SLEUTH_SIZES, loss=SLEUTH_LOSS),
    "sleuth-l": CatalogEntry(SLEUTH_L, SLEUTH_SIZES, loss=SLEUTH_LOSS),
    "detr-r18": CatalogEntry(replace(DETR_R50, backbone="resnet18"), Preprocess()),
    "detr-r34": CatalogEntry(replace(DETR_R50, backbone="resnet34"), Preprocess()),
    "detr-r50": CatalogEntry(DETR_R50, Preprocess()),
    "detr-r50-dc5": CatalogEntry(replace(DETR_R50, dilation=True), Preprocess()),
    "detr-r101": CatalogEntry(replace(DETR_R50, backbone="resnet101"), Preprocess()),
    "detr-r101-dc5": CatalogEntry(replace(DETR_R50, backbone="resnet101", dilation=True), Preprocess()),
    "detr-vit-ti": CatalogEntry(replace(DETR_R50, backbone="vit-ti16"), Preprocess()),
    "detr-vit-s": CatalogEntry(replace(DETR_R50, backbone="vit-s16"), Preprocess()),
    "detr-vit-b": CatalogEntry(replace(DETR_R50, backbone="vit-b16"), Preprocess()),
    "detr-small": CatalogEntry(DETR_SMALL, Preprocess(shortest=128, longest=128)),
    "sleuth-scenes": CatalogEntry(
        replace(SLEUTH_N, num_classes=15, num_queries=30),
        Preprocess(shortest=192, longest=192),
        weights=_BUNDLED / "sleuth-scenes.safetensors",
        loss=SLEUTH_LOSS,
    ),
    "detr-scenes": CatalogEntry(
        DETR_SMALL, Preprocess(shortest=128, longest=128), weights=_BUNDLED / "detr-scenes.safetensors"
    ),
    "detr-scenes-panoptic": CatalogEntry(
        replace(DETR_SMALL, num_classes=22, masks=True),
        Preprocess(shortest=128, longest=128),
        weights=_BUNDLED / "detr-scenes-panoptic.safetensors",
    ),
    "deformable-detr-r50": CatalogEntry(DEFORMABLE_DETR_R50, Preprocess(), loss=DEFORMABLE_DETR_LOSS),
    "deformable-detr-r50-refined": CatalogEntry(
        replace(DEFORMABLE_DETR_R50, refine=True), Preprocess(), loss=DEFORMABLE_DETR_LOSS
    ),
    "deformable-detr-r50-two-stage": CatalogEntry(
        replace(DEFORMABLE_DETR_R50, refine=True, two_stage=True), Preprocess(), loss=DEFORMABLE_DETR_LOSS
    ),
    "dino-r50": CatalogEntry(DINO_R50, Preprocess(), loss=DINO_LOSS),
    "dino-r50-5scale": CatalogEntry(replace(DINO_R50, backbone_levels=4, num_levels=5), Preprocess(), loss=DINO_LOSS),
    "dense-small": CatalogEntry(FCOS_SMALL, Preprocess(shortest=128, longest=128), loss=FCOS_LOSS),
    "dense-r18": CatalogEntry(replace(FCOS_R50, backbone="resnet18"), Preprocess(), loss=FCOS_LOSS),
    "dense-r50": CatalogEntry(FCOS_R50, Preprocess(), loss=FCOS_LOSS),
    "dense-vit-s": CatalogEntry(replace(FCOS_R50, backbone="vit-s16", num_levels=1), Preprocess(), loss=FCOS_LOSS),
    **{name: CatalogEntry(config, _SQUARE, loss=_DFINE_LOSS) for name, config in DFINE_VARIANTS.items()},
    **{name: CatalogEntry(config, _SQUARE, loss=_RTDETR_LOSS) for name, config in RTDETR_VARIANTS.items()},
}


_NO_DETECTORS: Mapping[str, tuple[str, str]] = {
    "translation": ("translates text", "`sleuth translate`, `sleuth train` and `sleuth trace`"),
    "classification": ("names pictures", "`sleuth predict`, `sleuth train` and `sleuth evaluate`"),
    "semantic segmentation": ("gives every pixel a class", "`sleuth predict`, `sleuth train` and `sleuth evaluate`"),
}
"""What listed models do that are no detectors, and the commands that they are of, by task."""


def entry(name: str) -> CatalogEntry:
    """The entry of a name.

    Raises:
        UserError: no such model; the message names the nearest.
    """
    if name in CATALOG:
        return CATALOG[name]
    if name in LISTED and LISTED[name].task in _NO_DETECTORS:
        what, commands = _NO_DETECTORS[LISTED[name].task]
        raise UserError(f"{name!r} {what} and finds no objects", mend=f"use it with {commands}")
    # Of the hub's names, people leave out the first part.
    spoken = {known.split("/")[-1]: known for known in LISTED} | {known: known for known in (*LISTED, *CATALOG)}
    near = get_close_matches(name, spoken, n=1, cutoff=0.6)
    mend = f"did you mean {spoken[near[0]]!r}?" if near else f"known: {', '.join(dict.fromkeys((*CATALOG, *LISTED)))}"
    raise UserError(f"unknown model {name!r}", mend=f"{mend} A trained model is named by its .safetensors file")


def build(name: str, **overrides: Any) -> Detector:
    """A named architecture with fresh weights; ``overrides`` change its config."""
    return build_detector(replace(entry(name).config, **overrides))


def names_of(family: str) -> tuple[str, ...]:
    """The names of the models of one family."""
    return tuple(name for name, known in CATALOG.items() if family_of(known.config).name == family)
