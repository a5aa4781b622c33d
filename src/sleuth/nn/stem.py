"""Convolutions in place of the one large patch: a vision Transformer that learns from few pictures."""

import math
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn


class ConvolutionalStem(nn.Module):
    """Pictures to tokens by 3x3 convolutions that each halve the sides, in place of one linear map for each patch.

    Neighbouring patches overlap in what they see, and edges need not be learned from scratch by attention, so that
    training is steadier and takes less data. Channels double with each halving, up to ``dim``; a 1x1 convolution ends.
    Batch norm and ReLU follow each 3x3 convolution.

    Args:
        dim: size of a token.
        patch_size: side in pixels of what a token stands for: 2, 4, 8, ...
        width: channels of the first convolution.
        depth: convolutions at each size: one that halves, and further ones that keep the sides.
        channels: of the picture.

    Raises:
        ValueError: the side of a patch is no power of two above 1.

    Source: Xiao et al. 2021, "Early Convolutions Help Transformers See Better", section 3 (the stem of ViT-C).
    """

    def __init__(self, *, dim: int, patch_size: int, width: int, depth: int = 1, channels: int = 3) -> None:
        super().__init__()
        if patch_size < 2 or patch_size & (patch_size - 1):
            raise ValueError(f"convolutions that halve make no patch of {patch_size}: 2, 4, 8, 16 and so on")
        self.dim, self.patch_size = dim, patch_size
        halvings = int(math.log2(patch_size))
        widths = [channels, *(min(dim, width * 2**step) for step in range(halvings))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            for place in range(depth):
                first = place == 0
                convolution = nn.Conv2d(before if first else after, after, 3, 2 if first else 1, padding=1, bias=False)
                layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], dim, 1))

    def forward(self, pixels: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch patches dim"]:
        """Tokens, row by row; the sides are multiples of the patch."""
        return self.layers(pixels).flatten(2).transpose(1, 2)
