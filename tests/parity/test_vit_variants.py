"""The named vision Transformers have the numbers of the published ones, as timm builds them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from sleuth.models.vit import build_vit
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.weights.maps.vit_timm import VIT_TIMM
from sleuth.weights.origins.vit_timm import read_vit_timm

PUBLISHED = {
    "vit-ti16": "vit_tiny_patch16_224",
    "vit-s16": "vit_small_patch16_224",
    "vit-s32": "vit_small_patch32_224",
    "vit-b16": "vit_base_patch16_224",
    "vit-b32": "vit_base_patch32_224",
    "vit-l16": "vit_large_patch16_224",
    "vit-l32": "vit_large_patch32_224",
    "vit-h14": "vit_huge_patch14_224",
    "deit-ti16": "deit_tiny_patch16_224",
    "deit-s16": "deit_small_patch16_224",
    "deit-b16": "deit_base_patch16_224",
    "deit-ti16-distilled": "deit_tiny_distilled_patch16_224",
    "deit-s16-distilled": "deit_small_distilled_patch16_224",
    "deit-b16-distilled": "deit_base_distilled_patch16_224",
    "dinov2-s14": "vit_small_patch14_dinov2.lvd142m",
    "dinov2-b14": "vit_base_patch14_dinov2.lvd142m",
    "dinov2-l14": "vit_large_patch14_dinov2.lvd142m",
    "dinov2-g14": "vit_giant_patch14_dinov2.lvd142m",
    "dinov2-s14-reg4": "vit_small_patch14_reg4_dinov2.lvd142m",
    "dinov2-b14-reg4": "vit_base_patch14_reg4_dinov2.lvd142m",
    "dinov2-l14-reg4": "vit_large_patch14_reg4_dinov2.lvd142m",
    "dinov2-g14-reg4": "vit_giant_patch14_reg4_dinov2.lvd142m",
}


def test_every_name_is_compared() -> None:
    assert PUBLISHED.keys() == VIT_VARIANTS.keys() - {"vit-cifar", "vit-digits"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_numbers_are_the_published_ones(name: str, tmp_path: Path) -> None:
    peer = timm.create_model(PUBLISHED[name], num_classes=VIT_VARIANTS[name].num_classes, device="meta")
    arguments = {"img_size": list(peer.patch_embed.img_size)}
    values = {"architecture": PUBLISHED[name].split(".")[0], "num_classes": peer.num_classes, "model_args": arguments}
    (tmp_path / "config.json").write_text(
        json.dumps(values | {"pretrained_cfg": {"input_size": [3, *arguments["img_size"]]}})
    )
    theirs, ours = read_vit_timm(values, tmp_path / "config.json"), VIT_VARIANTS[name]
    # timm reads every model's positions with its own resizing, and DINOv2's registers with the class token's position
    # already added to it.
    assert theirs == replace(ours, resizing="antialiased", prefix_positions=theirs.prefix_positions)
    with torch.device("meta"):
        model = build_vit(theirs)
    wanted = {key: tensor.shape for key, tensor in model.state_dict().items()}
    # Loading is total: every key of theirs has its place, and every place of ours is filled.
    assert VIT_TIMM.load(peer.state_dict(), wanted).keys() == wanted.keys()
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == sum(parameter.numel() for parameter in peer.parameters())
