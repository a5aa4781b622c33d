"""Segmenters by name: numbers only."""

from collections.abc import Mapping
from dataclasses import replace

from sleuth.models.segmenter import SegmenterConfig, as_backbone
from sleuth.models.vit import VitConfig
from sleuth.models.vit_variants import VIT_VARIANTS


def _of(name: str) -> SegmenterConfig:
    return SegmenterConfig(replace(as_backbone(VIT_VARIANTS[name]), image_hw=(512, 512), drop_path=0.1))


# For some hundred pictures of a few hundred pixels, from scratch on one machine.
_STREET = SegmenterConfig(
    VitConfig(
        image_hw=(192, 256),
        patch_size=8,
        num_classes=0,
        dim=192,
        depth=4,
        num_heads=3,
        feedforward_dim=576,
        pool="mean",
        class_token=False,
        prefix_positions=0,
        stem="convolutions",
        stem_dim=48,
        stem_depth=2,
    ),
    head_depth=1,
    head_dropout=0.0,
)

SEGMENTER_VARIANTS: Mapping[str, SegmenterConfig] = {
    "segmenter-ti16": _of("vit-ti16"),
    "segmenter-s16": _of("vit-s16"),
    "segmenter-b16": _of("vit-b16"),
    "segmenter-l16": _of("vit-l16"),
    "segmenter-street": _STREET,
}
"""Sizes of Strudel et al. 2021, table 2, with the mask head; segmenter-street (2.8 million parameters) is this
project's own."""
