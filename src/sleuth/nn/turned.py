"""Linear layers on a processor for a handful of rows: with turned weights, reading them is all the work there is.

A product of few rows with a large matrix takes as long as reading the matrix. For some numbers of rows PyTorch's own
layout of weights, [out, in], costs MKL up to 1.6 times what [in, out] does; for fewer and for more, no more.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.swapped import Forward, SwappedForwards

# Where turned weights are read faster: from, and up to but not including.
_ROWS = (9, 64)


class TurnedProduct:
    """A linear layer as one product, ``x W^T + b``; turned weights are made when a number of rows first wants them.

    Args:
        weight: as `nn.Linear` keeps it; it must not change as long as this is used.
        bias: as there; None for none.
    """

    def __init__(self, weight: Float[Tensor, "out dim"], bias: Float[Tensor, " out"] | None) -> None:
        self.matrix = weight.detach().T
        self.bias = None if bias is None else bias.detach()
        self._turned: Tensor | None = None

    def __call__(self, rows: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows out"]:
        """What the layer makes of rows."""
        matrix = self._turned_matrix() if _ROWS[0] <= rows.shape[0] < _ROWS[1] else self.matrix
        return rows @ matrix if self.bias is None else torch.addmm(self.bias, rows, matrix)

    def _turned_matrix(self) -> Tensor:
        if self._turned is None:
            self._turned = self.matrix.contiguous()
        return self._turned


class TurnedWeights(SwappedForwards):
    """Copies of weights, turned; within a ``with`` block their layers compute with them.

    Args:
        layers: whose weights to copy.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__(layers, _forward)


def _forward(layer: nn.Linear) -> Forward:
    product = TurnedProduct(layer.weight, layer.bias)

    def forward(x: Tensor) -> Tensor:
        y = product(x.reshape(-1, x.shape[-1]))
        return y.view(*x.shape[:-1], y.shape[-1])

    return forward
