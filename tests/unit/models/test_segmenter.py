"""Segmenter: any size of picture, either head and either stem."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sleuth.errors import UserError
from sleuth.models.segmenter import SegmenterConfig, as_backbone, build_segmenter
from sleuth.models.segmenter_variants import SEGMENTER_VARIANTS
from sleuth.models.vit import VitConfig, build_vit
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.nn.stem import ConvolutionalStem
from sleuth.types.batches import ImageBatch

VIT = VitConfig(
    image_hw=(16, 24), patch_size=4, num_classes=0, dim=16, depth=2, num_heads=2, feedforward_dim=24, registers=1
)
SMALL = SegmenterConfig(VIT, num_classes=3, head_depth=1)


def batch(*sizes: tuple[int, int]) -> ImageBatch:
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    pixels, valid = torch.zeros(len(sizes), 3, height, width), torch.zeros(len(sizes), height, width).bool()
    for row, (h, w) in enumerate(sizes):
        pixels[row, :, :h, :w] = torch.randn(3, h, w, generator=torch.Generator().manual_seed(row))
        valid[row, :h, :w] = True
    return ImageBatch(pixels, valid)


@pytest.mark.parametrize("head", ["linear", "mask"])
@pytest.mark.parametrize("stem", ["patch", "convolutions"])
@torch.no_grad()
def test_pictures_of_any_size_get_logits_for_each_patch(head: str, stem: str):
    model = build_segmenter(replace(SMALL, head=head, vit=replace(VIT, stem=stem))).eval()
    for size, grid in (((16, 24), (4, 6)), ((13, 30), (4, 8)), ((4, 4), (1, 1))):
        found = model(batch(size))
        assert found.logits.shape == (1, 3, *grid)
        assert found.patch_size == 4
    with pytest.raises(UserError, match="smaller than a patch"):
        model(batch((3, 24)))


@pytest.mark.parametrize("head", ["linear", "mask"])
@torch.no_grad()
def test_padding_changes_nothing_in_the_answer(head: str):
    model = build_segmenter(replace(SMALL, head=head)).eval()
    sizes = ((16, 24), (12, 20))
    together = model(batch(*sizes)).logits
    alone = model(ImageBatch(batch(*sizes).pixels[1:, :, :12, :20], torch.ones(1, 12, 20).bool())).logits
    torch.testing.assert_close(together[1:, :, :3, :5], alone, atol=1e-5, rtol=1e-4)


def test_every_part_learns():
    model = build_segmenter(replace(SMALL, vit=replace(VIT, registers=0, stem="convolutions")))
    model(batch((16, 24))).logits.square().sum().backward()
    still = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not still


@torch.no_grad()
def test_the_backbone_is_that_of_a_classifier():
    config = replace(VIT_VARIANTS["vit-digits"], image_hw=(16, 24), dim=16, depth=1, feedforward_dim=24, num_heads=2)
    classifier = build_vit(config).eval()
    model = build_segmenter(SegmenterConfig(as_backbone(config))).eval()
    model.backbone.load_state_dict(classifier.backbone.state_dict())
    pictures = batch((16, 24))
    torch.testing.assert_close(model(pictures).memory.patches, classifier.backbone(pictures).patches)


@pytest.mark.parametrize("name", VIT_VARIANTS)
def test_any_vision_transformer_is_a_backbone(name: str):
    config = as_backbone(VIT_VARIANTS[name])
    assert (config.num_classes, config.norm_after_pool, config.num_prefix) == (
        0,
        False,
        VIT_VARIANTS[name].num_prefix,
    )


def test_sizes_are_those_of_the_paper():
    # Strudel et al. 2021, table 2: parameters of the backbone, in millions.
    published = {"segmenter-ti16": 6, "segmenter-s16": 22, "segmenter-b16": 86}
    for name, millions in published.items():
        with torch.device("meta"):
            model = build_segmenter(SEGMENTER_VARIANTS[name])
        assert round(sum(p.numel() for p in model.backbone.parameters()) / 1e6) == millions
    with torch.device("meta"):
        street = build_segmenter(SEGMENTER_VARIANTS["segmenter-street"])
    assert 2_500_000 < sum(p.numel() for p in street.parameters()) < 3_000_000


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"num_classes": 256}, "num_classes = 256"),
        ({"head_depth": 0}, "head_depth"),
        ({"head_dropout": 1.0}, "head_dropout"),
        ({"vit": replace(VIT, pool="mean", norm_after_pool=True)}, "norm_after_pool"),
    ],
)
def test_numbers_that_make_no_model_are_named(changes: dict, line: str):
    with pytest.raises(ValueError, match=line):
        replace(SMALL, **changes)


def test_convolutions_halve_and_want_a_power_of_two():
    for depth in (1, 3):
        stem = ConvolutionalStem(dim=10, patch_size=8, width=4, depth=depth)
        assert stem(torch.zeros(2, 3, 16, 24)).shape == (2, 6, 10)
        assert sum(isinstance(layer, nn.Conv2d) for layer in stem.layers) == 3 * depth + 1
    for size in (1, 12):
        with pytest.raises(ValueError, match="2, 4, 8"):
            ConvolutionalStem(dim=10, patch_size=size, width=4)
    with pytest.raises(ValueError, match="2, 4, 8"):
        VitConfig(patch_size=12, stem="convolutions")
