"""Levels of a pyramid from a backbone's maps."""

import pytest
import torch

from sleuth.backbones.levels import LevelProjection


def test_levels_beyond_the_maps_halve_one_after_another() -> None:
    project = LevelProjection(channels=(4, 8), dim=32, num_levels=4)
    levels = project([torch.randn(2, 4, 12, 10), torch.randn(2, 8, 6, 5)])
    assert [level.shape for level in levels] == [(2, 32, 12, 10), (2, 32, 6, 5), (2, 32, 3, 3), (2, 32, 2, 2)]
    assert [conv.in_channels for conv in project.convs] == [4, 8, 8, 32]


def test_what_makes_no_pyramid_is_refused() -> None:
    with pytest.raises(ValueError, match="1 levels are fewer than the 2 maps"):
        LevelProjection(channels=(4, 8), dim=32, num_levels=1)
    with pytest.raises(ValueError, match="dim = 40 is not a multiple of 32"):
        LevelProjection(channels=(4,), dim=40, num_levels=1)
