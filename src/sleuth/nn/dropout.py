"""Dropout whose random numbers are cheap on a processor, where drawing them takes a quarter of a training step."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_STEPS = 256


def dropout(x: Float[Tensor, "*shape"], share: float) -> Float[Tensor, "*shape"]:
    """Zero a random share of the numbers, and scale the others so that the mean stays.

    On a processor one draw of 64 bits serves eight numbers: the share is rounded to a multiple of 1/256, and the scale
    is that of the rounded share, so that the mean stays exact. Elsewhere it is PyTorch's own.

    Args:
        x: any numbers.
        share: of them that become zero, at least 0 and below 1.

    Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".
    """
    if share == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, share)
    dropped = min(max(round(share * _STEPS), 1), _STEPS - 1)
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)  # all 64 bits
    kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
    return x * kept.to(x.dtype).mul_(_STEPS / (_STEPS - dropped))


class Dropout(nn.Module):
    """`dropout` while training; nothing else.

    Args:
        share: of the numbers that become zero.
    """

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"dropout = {share} is not at least 0 and below 1")
        self.share = share

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The numbers, some of them zero."""
        return dropout(x, self.share) if self.training else x

    def extra_repr(self) -> str:
        """The share, where a module is printed."""
        return f"{self.share}"
