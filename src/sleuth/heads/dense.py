"""Heads of dense detectors: convolutions that ask every cell of every level the same questions."""

import math

from torch import nn

from sleuth.heads.scores import PRIOR

GROUPS = 32
"""Groups of the norm in towers; their width is a multiple of twice of it, as a group of one channel has no spread in a
level of one cell."""


class Tower(nn.Sequential):
    """3x3 convolutions with group norm and ReLU, of one width.

    Args:
        dim: channels; a multiple of 64.
        num_layers: convolutions.

    Source: Tian et al. 2019, figure 2, with the group norm of its section 4.
    """

    def __init__(self, *, dim: int, num_layers: int) -> None:
        layers: list[nn.Module] = []
        for _ in range(num_layers):
            layers += [small(nn.Conv2d(dim, dim, 3, padding=1)), nn.GroupNorm(GROUPS, dim), nn.ReLU()]
        super().__init__(*layers)


class DenseClassHead(nn.Conv2d):
    """Logits of every class in every cell, which start at a small probability.

    Args:
        dim: channels.
        num_classes: classes.
    """

    def __init__(self, *, dim: int, num_classes: int) -> None:
        super().__init__(dim, num_classes, 3, padding=1)
        small(self)
        assert self.bias is not None
        nn.init.constant_(self.bias, -math.log((1 - PRIOR) / PRIOR))

    @property
    def out_features(self) -> int:
        """Classes, by the name that linear heads have for it."""
        return self.out_channels


def small(conv: nn.Conv2d) -> nn.Conv2d:
    """A convolution that says about nothing at first.

    Source: Lin et al. 2017, "Focal Loss", section 4.1, "initialization".
    """
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
