"""Batch norms folded into convolutions while a model only predicts: the same answers, fewer passes over feature maps.

A model keeps its modules and its weights: it is saved, trained further and recorded as ever. What is folded are copies.
"""

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sleuth.nn.convolution import RepVgg

_Forward = Callable[[Tensor], Tensor]
_Pair = tuple[nn.Conv2d, nn.BatchNorm2d]
_State = tuple[tuple[int, int], ...]

_NAMES = (("conv", "norm"), ("conv", "bn"), *((f"conv{number}", f"bn{number}") for number in range(1, 4)))
"""What a convolution and the norm right after it are called, here and in timm's ResNet and HGNetV2."""


class FoldedConvolutions:
    """Within a ``with`` block a model in evaluation mode computes each convolution and its batch norm as one.

    A `RepVgg` computes both its branches as one convolution. Only float32 is folded: elsewhere, rounding would show.
    Copies of the weights of the convolutions are made when the block is first entered, and again when weights have
    changed since. A model that is training computes as ever. Several threads may be within the block at once.

    Args:
        model: any model; frozen norms, which work in place, stay.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._branches = [module for module in model.modules() if isinstance(module, RepVgg)]
        within = {id(branch.conv2) for branch in self._branches}
        self._pairs = [pair for parent in model.modules() if id(parent) not in within for pair in _pairs_in(parent)]
        self._forwards: list[tuple[nn.Module, Any]] = []
        self._state: _State | None = None
        self._entered: list[nn.Module] = []
        self._inside = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0 and not self._model.training:
                self._swap()
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                while self._entered:
                    del self._entered.pop().forward

    def _swap(self) -> None:
        state = tuple(_version(tensor) for pair in self._every_pair() for tensor in _tensors(pair))
        if state != self._state:
            # Also where predictions run in inference mode, whose tensors could not be used outside.
            with torch.inference_mode(mode=False), torch.no_grad():
                self._forwards = list(self._folded())
            self._state = state
        for module, forward in self._forwards:
            if "forward" not in vars(module):
                module.forward = forward
                self._entered.append(module)

    def _every_pair(self) -> Iterator[_Pair]:
        yield from self._pairs
        for branch in self._branches:
            yield from _pairs_in(branch.conv2)

    def _folded(self) -> Iterator[tuple[nn.Module, Any]]:
        """Modules with what they compute instead."""
        added = {id(branch.conv1.conv): branch for branch in self._branches}
        for conv, norm in self._pairs:
            if not _can_fold(conv, norm):
                continue
            weight, bias = _fold(conv, norm)
            branch = added.get(id(conv))
            if branch is not None:
                narrow, more = _fold(branch.conv2.conv, branch.conv2.norm)
                weight, bias = weight + F.pad(narrow, (1, 1, 1, 1)), bias + more
                yield branch, _one_branch(branch)
            yield conv, _convolution(conv, weight, bias)
            yield norm, _same


def _pairs_in(parent: nn.Module) -> Iterator[_Pair]:
    """Each convolution among the children of a module that a batch norm follows at once."""
    children = parent._modules
    neighbours = pairwise(children) if isinstance(parent, nn.Sequential) else _NAMES
    for first, second in neighbours:
        conv, norm = children.get(first), children.get(second)
        if isinstance(conv, nn.Sequential) and len(conv):
            conv = conv[-1]  # a stem of several convolutions, the last without a norm of its own
        if isinstance(conv, nn.Conv2d) and type(norm) is nn.BatchNorm2d:
            yield conv, norm


def _can_fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    return conv.weight.dtype == torch.float32 and not norm.training and norm.running_mean is not None


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one convolution that does what both do in evaluation."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = torch.nn.utils.fusion.fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    return weight.detach(), bias.detach()


def _convolution(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> _Forward:
    return lambda x: conv._conv_forward(x, weight, bias)


def _one_branch(branch: RepVgg) -> _Forward:
    return lambda x: branch.activation(branch.conv1(x))


def _same(x: Tensor) -> Tensor:
    return x


def _tensors(pair: _Pair) -> Iterator[Tensor]:
    conv, norm = pair
    for tensor in (conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var):
        if tensor is not None:
            yield tensor


def _version(tensor: Tensor) -> tuple[int, int]:
    """Where the numbers lie and how often they were changed; tensors of inference mode do not count."""
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version
