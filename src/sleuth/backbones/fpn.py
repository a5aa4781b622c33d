"""The feature pyramid of dense detectors: coarse maps are added to fine ones, so that each level knows what it sees."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7

FURTHER = 2
"""Coarser levels that can be added, each of half the size."""


class FeaturePyramid(nn.Module):
    """Levels of one width from a backbone's maps, by torchvision's feature pyramid network.

    Args:
        channels: channels of the maps, fine to coarse.
        dim: channels of every level.
        num_levels: as many as there are maps, or two more, made of the coarsest level.

    Raises:
        ValueError: another number of levels.

    Source: Lin et al. 2017, "Feature Pyramid Networks"; the further levels as in Tian et al. 2019, section 3.2.
    """

    def __init__(self, *, channels: Sequence[int], dim: int, num_levels: int) -> None:
        super().__init__()
        maps = len(channels)
        if num_levels not in (maps, maps + FURTHER):
            raise ValueError(f"num_levels = {num_levels} is neither {maps} nor {maps + FURTHER}")
        further = LastLevelP6P7(dim, dim) if num_levels > maps else None
        self.net = FeaturePyramidNetwork(list(channels), dim, extra_blocks=further)

    def forward(self, maps: Sequence[Float[Tensor, "batch _ _ _"]]) -> list[Float[Tensor, "batch dim _ _"]]:
        """The levels, fine to coarse."""
        return list(self.net({str(level): each for level, each in enumerate(maps)}).values())
