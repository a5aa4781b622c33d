"""The published RT-DETRs by name: numbers only."""

from collections.abc import Mapping
from dataclasses import replace

from sleuth.models.rtdetr import RtDetrConfig

_R50 = RtDetrConfig(backbone="resnet50")
_R18 = replace(_R50, backbone="resnet18", frozen_norm=False, decoder_layers=3, encoder_expansion=0.5)
_SECOND: Mapping[str, RtDetrConfig] = {
    "r18": _R18,
    "r34": replace(_R18, backbone="resnet34", decoder_layers=4),
    # Half the channels in the encoder's blocks; of six decoder layers, three run.
    "r50-m": replace(_R50, encoder_expansion=0.5, eval_layers=3),
    "r50": _R50,
    "r101": replace(_R50, backbone="resnet101", encoder_dim=384, encoder_feedforward_dim=2048),
}

RTDETR_VARIANTS: Mapping[str, RtDetrConfig] = {
    **{f"rtdetr-{size}": replace(config, version=1) for size, config in _SECOND.items()},
    **{f"rtdetrv2-{size}": config for size, config in _SECOND.items()},
}
"""Version 2 differs from version 1 in how it was trained; its S, M*, M, L and X are r18, r34, r50-m, r50 and r101."""
