"""From a backbone's maps to the levels of a pyramid, all of one width."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

GROUPS = 32
"""Groups of the norm; the embedding size is a multiple of it."""


class LevelProjection(nn.Module):
    """Projects each map of a backbone, and makes further, coarser levels: of the last map, then of one another.

    Args:
        channels: channels of the maps, fine to coarse.
        dim: embedding size; a multiple of 32.
        num_levels: levels; those beyond the maps halve the resolution one after another.

    Raises:
        ValueError: fewer levels than maps, or a ``dim`` that 32 groups do not divide.

    Source: Zhu et al. 2021, appendix A.2, "constructing multi-scale feature maps".
    """

    def __init__(self, *, channels: Sequence[int], dim: int, num_levels: int) -> None:
        super().__init__()
        if num_levels < len(channels):
            raise ValueError(f"{num_levels} levels are fewer than the {len(channels)} maps")
        if dim % GROUPS:
            raise ValueError(f"dim = {dim} is not a multiple of {GROUPS}")
        self.maps = len(channels)
        convs = [nn.Conv2d(given, dim, kernel_size=1) for given in channels]
        further = num_levels - self.maps
        coarser = [channels[-1], *[dim] * further][:further]
        convs += [nn.Conv2d(given, dim, kernel_size=3, stride=2, padding=1) for given in coarser]
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, dim) for _ in range(num_levels))
        for conv in convs:
            nn.init.xavier_uniform_(conv.weight)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, maps: Sequence[Float[Tensor, "batch _ _ _"]]) -> list[Float[Tensor, "batch dim _ _"]]:
        """The levels, fine to coarse."""
        levels: list[Tensor] = []
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            given = [*maps, maps[-1], *levels[self.maps :]][number]
            levels.append(norm(conv(given)))
        return levels
