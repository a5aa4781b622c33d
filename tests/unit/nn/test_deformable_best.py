"""The core of deformable attention that suits the device."""

import torch

from sleuth.nn.deformable import sampled_attention
from sleuth.nn.deformable_best import best_attention


def test_it_gives_what_sampling_gives() -> None:
    grids, points = ((3, 4), (2, 2)), (2, 1)
    value = torch.randn(2, 16, 2, 4)
    locations, weights = torch.rand(2, 5, 2, 3, 2) * 1.2 - 0.1, torch.rand(2, 5, 2, 3).softmax(-1)
    expected = sampled_attention(value, grids, locations, weights, points)
    torch.testing.assert_close(best_attention(value, grids, locations, weights, points), expected)
