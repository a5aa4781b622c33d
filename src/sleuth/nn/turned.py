"""Linear layers on a processor for a handful of rows: how a product is computed decides how fast weights are read.

A product of few rows with a large matrix takes as long as reading the matrix. Beyond eight rows PyTorch's own layout of
weights, [out, in], costs MKL up to 1.6 times what [in, out] does, until there are some sixty. A head over a large
vocabulary is read fastest by oneDNN, as it is.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.swapped import Forward, SwappedForwards

# Numbers of rows, the last not included: of those that read turned weights, and of those that oneDNN reads a head for.
_TURNED = range(9, 64)
_ONEDNN = range(3, 33)
_LARGE = 2**24


class TurnedProduct:
    """A linear layer as one product, ``x W^T + b``; turned weights are made when a number of rows first wants them.

    Args:
        weight: as `nn.Linear` keeps it; it must not change as long as this is used.
        bias: as there; None for none.
    """

    def __init__(self, weight: Float[Tensor, "out dim"], bias: Float[Tensor, " out"] | None) -> None:
        self.weight = weight.detach()
        self.matrix = self.weight.T
        self.bias = None if bias is None else bias.detach()
        self._large = weight.numel() >= _LARGE and has_onednn()
        self._turned: Tensor | None = None

    def __call__(self, rows: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows out"]:
        """What the layer makes of rows."""
        count = rows.shape[0]
        if self._large:
            if count in _ONEDNN:
                return torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
            matrix = self.matrix
        else:
            matrix = self._turned_matrix() if count in _TURNED else self.matrix
        return rows @ matrix if self.bias is None else torch.addmm(self.bias, rows, matrix)

    def _turned_matrix(self) -> Tensor:
        if self._turned is None:
            self._turned = self.matrix.contiguous()
        return self._turned


def has_onednn() -> bool:
    """Whether this PyTorch has oneDNN's product."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class TurnedWeights(SwappedForwards):
    """Other products of layers; within a ``with`` block they compute with them.

    Args:
        layers: whose weights to read.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__(layers, _forward)


def _forward(layer: nn.Linear) -> Forward:
    product = TurnedProduct(layer.weight, layer.bias)

    def forward(x: Tensor) -> Tensor:
        y = product(x.reshape(-1, x.shape[-1]))
        return y.view(*x.shape[:-1], y.shape[-1])

    return forward
