"""Linear layers on a processor for the same number of rows again and again: weights in the order that MKL reads them.

Before it multiplies, MKL copies a matrix into the order in which its kernel reads it; for the patches of one picture
that is a tenth to a quarter of the time. It can be copied once.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sleuth.nn.swapped import SwappedForwards


class PackedWeights(SwappedForwards):
    """Packed copies of weights; within a ``with`` block their layers compute with them.

    The order depends on the number of rows. A layer packs its weights when it sees a number of rows for the second
    time in a row; other numbers are computed as ever. The copies take as much memory as the weights.

    Args:
        layers: whose weights to copy.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__(layers if can_pack() else (), lambda layer: _Packed(layer))


class _Packed:
    """A layer's function, and its weights packed for the number of rows that it saw last."""

    def __init__(self, layer: nn.Linear) -> None:
        self.weight = layer.weight.detach()
        self.bias: Tensor | None = None if layer.bias is None else layer.bias.detach()
        self.seen = self.packed_for = 0
        self.packed: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.numel() // x.shape[-1]
        if rows == 0 or (rows != self.packed_for and rows != self.seen) or x.dtype != self.weight.dtype:
            self.seen = rows
            return F.linear(x, self.weight, self.bias)
        if rows != self.packed_for:
            self.packed = torch.ops.mkl._mkl_reorder_linear_weight(self.weight, rows)
            self.packed_for = rows
        self.seen = rows
        y = torch.ops.mkl._mkl_linear(x.reshape(rows, -1), self.packed, self.weight, self.bias, rows)
        return y.view(*x.shape[:-1], -1)


def can_pack() -> bool:
    """Whether this PyTorch has MKL, and its packed product."""
    names = ("_mkl_reorder_linear_weight", "_mkl_linear")
    return torch.backends.mkl.is_available() and all(hasattr(torch.ops.mkl, name) for name in names)


def packed_linears(model: nn.Module) -> PackedWeights:
    """Of all linear layers of a model."""
    return PackedWeights(module for module in model.modules() if isinstance(module, nn.Linear))
