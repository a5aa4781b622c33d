"""The HGNetV2 backbone: sizes, levels, widths, frozen norms."""

import pytest
import torch
from torch import nn

from sleuth.backbones.hgnetv2 import HgNetV2
from sleuth.backbones.resnet import FrozenBatchNorm2d


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("b0", (256, 512, 1024)),
        ("b1", (256, 512, 1024)),
        ("b2", (384, 768, 1536)),
        ("b3", (512, 1024, 2048)),
        ("b4", (512, 1024, 2048)),
        ("b5", (512, 1024, 2048)),
        ("b6", (512, 1024, 2048)),
    ],
)
def test_each_size(name: str, channels: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = HgNetV2(name=name)
        maps = model(torch.zeros(1, 3, 64, 96))
    assert model.channels == channels
    assert model.strides == (8, 16, 32)
    assert [level.shape for level in maps] == [
        (1, channels[0], 8, 12),
        (1, channels[1], 4, 6),
        (1, channels[2], 2, 3),
    ]
    assert not [key for key in model.state_dict() if "head" in key]


def test_fewer_levels_are_the_coarser_ones() -> None:
    model = HgNetV2(width=0.25, levels=2).eval()
    maps = model(torch.randn(1, 3, 64, 64))
    assert model.strides == (16, 32)
    assert [level.shape for level in maps] == [(1, 128, 4, 4), (1, 256, 2, 2)]
    with pytest.raises(ValueError, match="levels = 5"):
        HgNetV2(levels=5)


def test_sizes_that_do_not_divide_are_rounded_up() -> None:
    maps = HgNetV2(width=0.25).eval()(torch.randn(1, 3, 70, 33))
    assert [tuple(level.shape[-2:]) for level in maps] == [(9, 5), (5, 3), (3, 2)]


def test_affine_blocks_are_optional() -> None:
    with_, without = (HgNetV2(width=0.25, affine=affine).state_dict() for affine in (True, False))
    assert {key for key in with_ if ".lab." not in key} == set(without)
    assert len(with_) > len(without)


def test_frozen_norms_leave_nothing_to_learn_but_convolutions_and_affine_blocks() -> None:
    model = HgNetV2(width=0.25, frozen_norm=True)
    assert not [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [module for module in model.modules() if isinstance(module, FrozenBatchNorm2d)]
    assert {key.split(".")[-2] for key, _ in model.named_parameters()} == {"conv", "lab"}


def test_freezing_the_stem_and_first_stages() -> None:
    model = HgNetV2(width=0.25)
    model.freeze_stem(1)
    frozen = {".".join(key.split(".")[1:3]) for key, value in model.named_parameters() if not value.requires_grad}
    assert {place.split(".")[0] for place in frozen} == {"stem", "stages"}
    assert {place for place in frozen if place.startswith("stages")} == {"stages.0"}
