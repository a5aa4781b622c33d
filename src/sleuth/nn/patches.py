"""A picture as words: cut into square patches, each of which becomes a token by one matrix product."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def grid_of(size_hw: tuple[int, int], patch_size: int) -> tuple[int, int]:
    """Rows and columns of patches that cover a picture; the last ones may reach beyond it.

    >>> grid_of((224, 225), 16)
    (14, 15)
    """
    return -(-size_hw[0] // patch_size), -(-size_hw[1] // patch_size)


def padded_to_patches(pixels: Float[Tensor, "batch channels height width"], patch_size: int) -> Float[Tensor, "..."]:
    """Pictures padded with zeros at the bottom and right to whole patches."""
    height, width = pixels.shape[-2:]
    more = (0, -width % patch_size, 0, -height % patch_size)
    return F.pad(pixels, more) if any(more) else pixels


def unfolded(
    pixels: Float[Tensor, "batch channels height width"], patch_size: int
) -> Float[Tensor, "batch patches values"]:
    """The pixels of each patch as one row: channel by channel, and in each row by row."""
    batch, channels, height, width = pixels.shape
    rows, columns = height // patch_size, width // patch_size
    cut = pixels.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, channels * patch_size**2)


class PatchEmbedding(nn.Module):
    """Patches to tokens: the same linear map for each patch.

    This is a convolution whose stride is its kernel (`by_convolution`), or a product of unfolded patches with a matrix
    (`forward`), which is the faster on a processor and as fast elsewhere.

    Args:
        dim: size of a token.
        patch_size: side of a patch in pixels.
        channels: of the picture.

    Source: Dosovitskiy et al. 2021, equation 1.
    """

    def __init__(self, *, dim: int, patch_size: int, channels: int = 3) -> None:
        super().__init__()
        self.dim, self.patch_size = dim, patch_size
        self.weight = nn.Parameter(torch.empty(dim, channels, patch_size, patch_size))
        self.bias = nn.Parameter(torch.zeros(dim))
        nn.init.trunc_normal_(self.weight, std=1 / math.sqrt(channels * patch_size**2))

    def forward(self, pixels: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch patches dim"]:
        """Tokens, row by row; the sides are multiples of the patch."""
        return F.linear(unfolded(pixels, self.patch_size), self.weight.flatten(1), self.bias)

    def by_convolution(
        self, pixels: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch patches dim"]:
        """The same tokens by a convolution."""
        return F.conv2d(pixels, self.weight, self.bias, stride=self.patch_size).flatten(2).transpose(1, 2)
