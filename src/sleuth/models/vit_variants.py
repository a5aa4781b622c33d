"""Vision Transformers by name: numbers only."""

from collections.abc import Mapping
from dataclasses import replace

from sleuth.models.vit import VitConfig

_SIZES: Mapping[str, VitConfig] = {
    "ti": VitConfig(dim=192, num_heads=3, feedforward_dim=768),
    "s": VitConfig(dim=384, num_heads=6, feedforward_dim=1536),
    "b": VitConfig(),
    "l": VitConfig(dim=1024, depth=24, num_heads=16, feedforward_dim=4096),
    "h": VitConfig(dim=1280, depth=32, num_heads=16, feedforward_dim=5120),
    # Its hidden size is two thirds of what an mlp would have, since a gated unit has three matrices.
    "g": VitConfig(dim=1536, depth=40, num_heads=24, feedforward_dim=4096, feedforward="swiglu"),
}


def _plain(size: str, patch_size: int) -> VitConfig:
    return replace(_SIZES[size], patch_size=patch_size)


def _distilled(size: str) -> VitConfig:
    return replace(_plain(size, 16), distillation="head", prefix_positions=2)


def _dinov2(size: str) -> VitConfig:
    """Trained without classes, at last on pictures of 518 pixels."""
    return replace(_plain(size, 14), image_hw=(518, 518), num_classes=0, layer_scale=1e-5, resizing="offset")


def _with_registers(size: str) -> VitConfig:
    """Four registers, and positions that are resized with antialiasing."""
    return replace(_dinov2(size), registers=4, resizing="antialiased")


# Sizes for small pictures, which learn from scratch on one machine. Without a class token all patches are asked alike;
# convolutions know from the start that neighbouring pixels belong together.
_CIFAR = VitConfig(
    image_hw=(32, 32),
    patch_size=4,
    num_classes=10,
    dim=192,
    depth=6,
    num_heads=3,
    feedforward_dim=384,
    activation="relu",
    stem="convolutions",
    stem_dim=64,
    stem_depth=2,
    pool="mean",
    norm_after_pool=True,
    class_token=False,
    prefix_positions=0,
)
_DIGITS = VitConfig(image_hw=(8, 8), patch_size=2, num_classes=10, dim=64, depth=4, num_heads=4, feedforward_dim=128)

VIT_VARIANTS: Mapping[str, VitConfig] = {
    "vit-ti16": _plain("ti", 16),
    "vit-s16": _plain("s", 16),
    "vit-s32": _plain("s", 32),
    "vit-b16": _plain("b", 16),
    "vit-b32": _plain("b", 32),
    "vit-l16": _plain("l", 16),
    "vit-l32": _plain("l", 32),
    "vit-h14": _plain("h", 14),
    "deit-ti16": _plain("ti", 16),
    "deit-s16": _plain("s", 16),
    "deit-b16": _plain("b", 16),
    "deit-ti16-distilled": _distilled("ti"),
    "deit-s16-distilled": _distilled("s"),
    "deit-b16-distilled": _distilled("b"),
    "dinov2-s14": _dinov2("s"),
    "dinov2-b14": _dinov2("b"),
    "dinov2-l14": _dinov2("l"),
    "dinov2-g14": _dinov2("g"),
    "dinov2-s14-reg4": _with_registers("s"),
    "dinov2-b14-reg4": _with_registers("b"),
    "dinov2-l14-reg4": _with_registers("l"),
    "dinov2-g14-reg4": _with_registers("g"),
    "vit-cifar": _CIFAR,
    "vit-digits": _DIGITS,
}
"""Sizes of Dosovitskiy et al. 2021, table 1, Touvron et al. 2021, table 1, Oquab et al. 2024, table 16, and Darcet et
al. 2024; vit-cifar (2.1 million parameters) and vit-digits are this project's own. A DeiT without distillation token is
a ViT that was trained in another way."""
