"""From the states of a picture's tokens to the one vector that a class head reads."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.types.memory import PatchMemory

Pool = Literal["class", "mean", "class+mean"]
"""The class token; the mean over the picture's patches; or both, side by side, as DINOv2's classifier reads them."""


def mean_of_patches(memory: PatchMemory) -> Float[Tensor, "batch dim"]:
    """The mean over the patches of the picture; padding does not count."""
    if memory.valid is None:
        return memory.patches.mean(dim=1)
    valid = memory.valid[..., None].to(memory.patches.dtype)
    return (memory.patches * valid).sum(dim=1) / valid.sum(dim=1)


class Pooling(nn.Module):
    """One vector for a picture.

    Args:
        pool: which.
        norm: after pooling; the identity where all tokens were normalised before.
        projection: a last layer with tanh, as BERT has it, or None for none.
    """

    def __init__(self, *, pool: Pool, norm: nn.Module, projection: nn.Linear | None = None) -> None:
        super().__init__()
        self.pool = pool
        self.norm = norm
        self.projection = projection

    def forward(self, memory: PatchMemory) -> Float[Tensor, "batch features"]:
        """The states of the tokens to one vector."""
        parts = []
        if self.pool != "mean":
            parts.append(memory.prefix[:, 0])
        if self.pool != "class":
            parts.append(mean_of_patches(memory))
        features = self.norm(torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0])
        return features if self.projection is None else torch.tanh(self.projection(features))
