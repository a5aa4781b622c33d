"""The published D-FINEs by name: numbers only."""

from collections.abc import Mapping
from dataclasses import replace

from sleuth.models.dfine import DfineConfig

_L = DfineConfig(backbone="hgnetv2_b4", frozen_norm=True)
_S = replace(
    _L,
    backbone="hgnetv2_b0",
    backbone_affine=True,
    frozen_norm=False,
    decoder_layers=3,
    encoder_expansion=0.5,
    encoder_depth=0.34,
)

DFINE_VARIANTS: Mapping[str, DfineConfig] = {
    # Without the level of stride 8, and half as wide.
    "dfine-n": replace(
        _S,
        levels=2,
        num_points=(6, 6),
        dim=128,
        feedforward_dim=512,
        encoder_dim=128,
        encoder_feedforward_dim=512,
        encoder_expansion=0.34,
        encoder_depth=0.5,
    ),
    "dfine-s": _S,
    "dfine-m": replace(_S, backbone="hgnetv2_b2", decoder_layers=4, encoder_expansion=1.0, encoder_depth=0.67),
    "dfine-l": _L,
    "dfine-x": replace(_L, backbone="hgnetv2_b5", encoder_dim=384, encoder_feedforward_dim=2048, reg_scale=8.0),
}
