"""Muon: weight matrices move by orthogonal steps, everything else by AdamW.

AdamW scales each weight by itself. A weight matrix works as a whole: its gradient is dominated by a few directions, and
many small ones that matter as much hardly move. Muon takes the momentum of a matrix and makes all of its singular
values about 1, so that every direction moves alike.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic that drives singular values towards 1: steep at 0, within 0.7 to 1.2 after five."""

_STEPS = 5

_RMS = 0.2
"""Root mean square of AdamW's steps, as a share of the rate: so AdamW's rates and decay serve matrices too."""


class Muon(torch.optim.AdamW):
    """AdamW whose groups with ``muon`` set move by orthogonalised momentum.

    Args:
        groups: parameter groups; those with ``muon`` true hold weights of two dimensions or more, the first of which
            counts outputs: matrices, or kernels of convolutions.
        momentum: of these groups.
        adamw: as of `torch.optim.AdamW`.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Liu et al. 2025, "Muon is
        Scalable for LLM Training", section 2.2 (the size of a step).
    """

    def __init__(self, groups: list[dict[str, Any]], *, momentum: float = 0.95, **adamw: Any) -> None:
        super().__init__([{"muon": False} | group for group in groups], **adamw)
        for group in self.param_groups:
            group["momentum"] = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move all parameters that have a gradient."""
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if not group["muon"]]
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["muon"]:
                self._turn(group)
        return loss

    def _turn(self, group: dict[str, Any]) -> None:
        """Move the matrices of a group, those of one shape together."""
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not parameters:
            return
        gradients = [parameter.grad for parameter in parameters]
        buffers = [self._started(parameter)["momentum"] for parameter in parameters]
        torch._foreach_add_([self.state[parameter]["step"] for parameter in parameters], 1)
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        alike: dict[torch.Size, list[int]] = {}
        for place, parameter in enumerate(parameters):
            alike.setdefault(parameter.shape, []).append(place)
        for shape, places in alike.items():
            ahead = torch.empty(len(places), *_sides(shape), dtype=torch.bfloat16, device=parameters[places[0]].device)
            # Laid out as the weights are, which gradients need not be.
            scratch = torch.empty_like(parameters[places[0]])
            for matrix, place in zip(ahead, places, strict=True):
                # Nesterov's momentum: where one more gradient like this would take it.
                torch.lerp(gradients[place], buffers[place], group["momentum"], out=scratch)
                matrix.copy_(as_matrix(scratch))
            size = -group["lr"] * _RMS * max(_sides(shape)) ** 0.5
            for step, place in zip(orthogonal(ahead), places, strict=True):
                as_matrix(parameters[place]).add_(step, alpha=size)

    def _started(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            # Steps are counted since AdamW looks for them in every state that it restores.
            state["step"], state["momentum"] = torch.tensor(0.0), torch.zeros_like(parameter)
        return state


def _sides(shape: torch.Size) -> tuple[int, int]:
    return shape[0], shape[1:].numel()


def as_matrix(weight: Float[Tensor, "out *rest"]) -> Float[Tensor, "out inputs"]:
    """A view of a weight as a matrix from all it reads to its outputs; a kernel's inputs in the order of memory.

    >>> as_matrix(torch.zeros(8, 3, 5, 5)).shape
    torch.Size([8, 75])
    """
    if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        weight = weight.permute(0, 2, 3, 1)
    return weight.view(weight.shape[0], -1)


def orthogonal(matrices: Float[Tensor, "count rows columns"]) -> Float[Tensor, "count rows columns"]:
    """The nearest matrices with orthonormal rows or columns, roughly: singular values from 0.7 to 1.2.

    Five Newton-Schulz steps in bfloat16; a matrix of zeros stays one.
    """
    first, third, fifth = _NEWTON_SCHULZ
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(_STEPS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=third, alpha=fifth), x, beta=first)
    return (x.mT if tall else x).to(matrices.dtype)
