"""Deformable attention by two Triton kernels: compiled at run time where there is a GPU, never beforehand.

Importing this file does not import Triton, which is not there on every system.
"""

import functools
import importlib.util
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

_FEW_ROWS = 2**16
LARGEST_HEAD = 256


def triton_attention(
    value: Float[Tensor, "batch tokens heads head_dim"],
    grids_hw: tuple[tuple[int, int], ...],
    locations: Float[Tensor, "batch queries heads points 2"],
    weights: Float[Tensor, "batch queries heads points"],
    num_points: tuple[int, ...],
) -> Float[Tensor, "batch queries dim"]:
    """Deformable attention on a GPU, as bilinear sampling of each level with zeros outside.

    Sums are in float32, or float64 for such values. The gradient of the value is summed in no fixed order, so two runs
    differ in the last digits. The first call of a kind of input compiles and times the kernels, for some seconds.

    Args:
        value: projected tokens, level after level, each level row by row.
        grids_hw: height and width of each level.
        locations: (x, y) of each point, 0 to 1 over its level's grid; points level after level.
        weights: share of each point.
        num_points: points of each level.

    Raises:
        ValueError: tensors that are not on a GPU, sizes that disagree, or heads of more than 256 numbers.
    """
    _check(value, grids_hw, locations, num_points)
    return _Sampled.apply(value, locations, weights, [size for grid in grids_hw for size in grid], list(num_points))


def _check(
    value: Tensor, grids_hw: tuple[tuple[int, int], ...], locations: Tensor, num_points: tuple[int, ...]
) -> None:
    if value.shape[1] != sum(height * width for height, width in grids_hw):
        raise ValueError(f"{value.shape[1]} tokens do not fill the grids {grids_hw}")
    if len(num_points) != len(grids_hw) or locations.shape[-2] != sum(num_points):
        raise ValueError(f"{locations.shape[-2]} points are not {num_points} on {len(grids_hw)} levels")
    if value.shape[-1] > LARGEST_HEAD:
        raise ValueError(
            f"triton_attention has heads of up to {LARGEST_HEAD} numbers, and these have {value.shape[-1]}"
        )
    if value.shape[1:].numel() >= 2**31:
        raise ValueError("triton_attention counts the numbers of one picture in 31 bits, and these are more")


@functools.cache
def triton_available() -> bool:
    """Whether the kernels run here: Triton is installed, there is a GPU, and a trial on it succeeded.

    The trial finds a missing C compiler, which Triton needs at run time, and GPUs that it does not know. If it fails, a
    warning tells why.
    """
    if not torch.cuda.is_available() or importlib.util.find_spec("triton") is None:
        return False
    shapes = ((1, 1, 1, 4), (1, 1, 1, 1, 2), (1, 1, 1, 1))  # heads of four numbers are nobody else's to tune
    value, locations, weights = (torch.zeros(shape, device="cuda") for shape in shapes)
    try:
        with torch.no_grad():
            triton_attention(value, ((1, 1),), locations, weights, (1,))
    except Exception as reason:  # whatever Triton and its compilers raise
        warnings.warn(f"Triton does not run here, so deformable attention is slower: {reason}", stacklevel=2)
        return False
    return True


class _Sampled(torch.autograd.Function):
    """The kernels with their gradients; torch.compile sees them as two operators that it does not look into."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, locations: Tensor, weights: Tensor, sizes: list[int], num_points: list[int]
    ) -> Tensor:
        value, locations, weights = value.contiguous(), locations.contiguous(), weights.contiguous()
        ctx.save_for_backward(value, locations, weights)
        ctx.layout = sizes, num_points
        run = _forward_operator if torch.compiler.is_compiling() else _run_forward
        return run(value, locations, weights, sizes, num_points)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        run = _backward_operator if torch.compiler.is_compiling() else _run_backward
        grads = run(grad.contiguous(), *ctx.saved_tensors, *ctx.layout)
        return (*grads, None, None)


def _run_forward(value: Tensor, locations: Tensor, weights: Tensor, sizes: list[int], num_points: list[int]) -> Tensor:
    answers = _empty_answers(value, locations, weights, sizes, num_points)
    if answers.numel():
        _launch("forward_kernel", value, locations, weights, sizes, num_points, (), (answers,))
    return answers


def _run_backward(
    grad: Tensor, value: Tensor, locations: Tensor, weights: Tensor, sizes: list[int], num_points: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    # Half precision would lose what is added to a token by many queries.
    summed = torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))
    grad_locations, grad_weights = torch.empty_like(locations), torch.empty_like(weights)
    if grad.numel():
        outputs = (summed, grad_locations, grad_weights)
        _launch("backward_kernel", value, locations, weights, sizes, num_points, (grad,), outputs)
    return summed.to(value.dtype), grad_locations, grad_weights


def _launch(
    name: str,
    value: Tensor,
    locations: Tensor,
    weights: Tensor,
    sizes: list[int],
    num_points: list[int],
    before: tuple[Tensor, ...],
    after: tuple[Tensor, ...],
) -> None:
    """Start a kernel on the value's device: what it reads besides comes before, what it writes after."""
    from sleuth.nn import deformable_kernels as kernels

    if not (value.is_cuda or kernels.INTERPRETED):
        raise ValueError(f"triton_attention runs on a GPU, and the value is on {value.device}")
    _, num_tokens, heads, head_dim = value.shape
    batch, queries, _, points = weights.shape
    rows, head_block = batch * queries * heads, 1 << (head_dim - 1).bit_length()
    few_rows = int(rows < _FEW_ROWS)
    grids = _point_grids(tuple(sizes), tuple(num_points), value.device)
    with _current(value.device):
        getattr(kernels, name).launch(
            (head_dim, few_rows, value.dtype, locations.dtype, weights.dtype),
            rows,
            head_block,
            *before,
            value,
            grids,
            locations,
            weights,
            *after,
            rows,
            queries * heads,
            num_tokens,
            points,
            few_rows,
            HEADS=heads,
            HEAD_DIM=head_dim,
            HEAD_BLOCK=head_block,
            COMPUTE=kernels.DOUBLE if value.dtype == torch.float64 else kernels.SINGLE,
        )


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device, whichever the tensors are on."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(device)


@functools.lru_cache(maxsize=1024)
def _point_grids(sizes: tuple[int, ...], num_points: tuple[int, ...], device: torch.device) -> Tensor:
    """Height, width and first token of each point's level, [3, points]; kept, since a copy to a GPU makes it wait."""
    height, width = torch.tensor(sizes, dtype=torch.int32).view(-1, 2).T
    start = (height * width).cumsum(0, dtype=torch.int32) - height * width
    return torch.stack((height, width, start)).repeat_interleave(torch.tensor(num_points), dim=1).to(device)


def _empty_answers(
    value: Tensor, locations: Tensor, weights: Tensor, sizes: list[int], num_points: list[int]
) -> Tensor:
    batch, queries = locations.shape[:2]
    return value.new_empty(batch, queries, value.shape[2] * value.shape[3])


def _empty_grads(
    grad: Tensor, value: Tensor, locations: Tensor, weights: Tensor, sizes: list[int], num_points: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(value), torch.empty_like(locations), torch.empty_like(weights)


_forward_operator = torch.library.custom_op("sleuth::deformable_forward", _run_forward, mutates_args=())
_forward_operator.register_fake(_empty_answers)
_backward_operator = torch.library.custom_op("sleuth::deformable_backward", _run_backward, mutates_args=())
_backward_operator.register_fake(_empty_grads)
