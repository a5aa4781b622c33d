"""Linear layers on a processor for a handful of rows: with turned weights, reading them is all the work there is.

A product of few rows with a large matrix takes as long as reading the matrix. For 4 to 64 rows PyTorch's own layout of
weights, [out, in], costs MKL up to 1.7 times what [in, out] does.
"""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TypeGuard

import torch
from torch import Tensor, nn


class TurnedWeights:
    """Copies of weights, turned; within a ``with`` block their layers compute with them, without gradients.

    Layers that are no plain `nn.Linear` in float32 on a processor are left alone. The weights must not change as long
    as the copies are used.

    Args:
        layers: whose weights to copy.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        self._forwards: list[tuple[nn.Module, Callable[[Tensor], Tensor]]] = [
            (layer, _forward(layer.weight.detach().T.contiguous(), layer.bias)) for layer in layers if _is_plain(layer)
        ]
        self._entered: list[nn.Module] = []

    def __enter__(self) -> None:
        for layer, forward in self._forwards:
            if "forward" not in vars(layer):
                layer.forward = forward
                self._entered.append(layer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._entered:
            del self._entered.pop().forward


def _is_plain(layer: nn.Module) -> TypeGuard[nn.Linear]:
    return type(layer) is nn.Linear and layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32


def _forward(turned: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    bias = None if bias is None else bias.detach()

    def forward(x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        y = rows @ turned if bias is None else torch.addmm(bias, rows, turned)
        return y.view(*x.shape[:-1], -1)

    return forward
