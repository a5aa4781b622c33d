"""Linear layers on a processor for a handful of rows: with turned weights, reading them is all the work there is.

A product of few rows with a large matrix takes as long as reading the matrix. For 4 to 64 rows PyTorch's own layout of
weights, [out, in], costs MKL up to 1.7 times what [in, out] does.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sleuth.nn.swapped import Forward, SwappedForwards


class TurnedWeights(SwappedForwards):
    """Copies of weights, turned; within a ``with`` block their layers compute with them.

    Args:
        layers: whose weights to copy.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__(layers, _turned)


def _turned(layer: nn.Linear) -> Forward:
    weight = layer.weight.detach().T.contiguous()
    bias = None if layer.bias is None else layer.bias.detach()

    def forward(x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        y = rows @ weight if bias is None else torch.addmm(bias, rows, weight)
        return y.view(*x.shape[:-1], -1)

    return forward
