"""Layers that compute in another way for a while: with copies of their weights that a processor reads faster."""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TypeGuard

import torch
from torch import Tensor, nn

Forward = Callable[[Tensor], Tensor]


class SwappedForwards:
    """Within a ``with`` block layers compute by other functions, without gradients.

    Layers that are no plain `nn.Linear` in float32 on a processor are left alone. The weights must not change as long
    as the functions are used.

    Args:
        layers: of a model.
        make: the other function of a layer.
    """

    def __init__(self, layers: Iterable[nn.Module], make: Callable[[nn.Linear], Forward]) -> None:
        self._forwards: list[tuple[nn.Module, Forward]] = [
            (layer, make(layer)) for layer in layers if is_plain_linear(layer)
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


def is_plain_linear(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether it is no adapter or other kind of linear layer, and computes in float32 on a processor."""
    return type(layer) is nn.Linear and layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32
