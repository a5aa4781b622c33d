"""Stochastic depth and layer scale: two ways to begin with short paths through a deep network."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class DropPath(nn.Module):
    """Leaves out a residual branch for some pictures of a batch while training; the others' are made larger for it.

    Args:
        share: of the pictures for which the branch is left out; at least 0 and below 1.

    Source: Huang et al. 2016, "Deep Networks with Stochastic Depth", section 3; per picture, as in timm.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, branch: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        """The branch, or zeros."""
        if not self.training or self.share == 0:
            return branch
        kept = torch.empty(len(branch), 1, 1, dtype=branch.dtype, device=branch.device).bernoulli_(1 - self.share)
        return branch * (kept / (1 - self.share))

    def extra_repr(self) -> str:
        """The share, for printing."""
        return f"share={self.share}"


class LayerScale(nn.Module):
    """Multiplies each channel of a residual branch by a learned number that starts small.

    Args:
        dim: channels.
        start: the number at first.

    Source: Touvron et al. 2021, "Going deeper with Image Transformers", section 2.
    """

    def __init__(self, *, dim: int, start: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((dim,), start))

    def forward(self, branch: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        """The scaled branch."""
        return branch * self.weight


def drop_path_shares(greatest: float, depth: int) -> list[float]:
    """Shares for the layers of a network: 0 for the first, the greatest for the last, even steps between.

    >>> drop_path_shares(0.5, 3)
    [0.0, 0.25, 0.5]
    """
    return [greatest * layer / max(depth - 1, 1) for layer in range(depth)]
