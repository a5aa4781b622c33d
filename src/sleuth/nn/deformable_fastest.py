"""The fastest exact core of deformable attention for where a model is, chosen at each call."""

import torch
from jaxtyping import Float
from torch import Tensor

from sleuth.nn.deformable_bag import bagged_attention
from sleuth.nn.deformable_triton import LARGEST_HEAD, triton_attention, triton_available


def fastest_attention(
    value: Float[Tensor, "batch tokens heads head_dim"],
    grids_hw: tuple[tuple[int, int], ...],
    locations: Float[Tensor, "batch queries heads points 2"],
    weights: Float[Tensor, "batch queries heads points"],
    num_points: tuple[int, ...],
) -> Float[Tensor, "batch queries dim"]:
    """As `sampled_attention`: by bags on the processor, by Triton's kernels on a GPU that runs them.

    Grid sampling itself is used where a graph is compiled, exported or traced, which sees plain PyTorch only; where
    deterministic algorithms are asked for on a GPU, so that PyTorch says what it thinks of them; and elsewhere.

    Args:
        value: tokens, level after level, each level row by row.
        grids_hw: height and width of each level.
        locations: x and y of each point, 0 to 1 over its level's width and height; level after level.
        weights: of each point.
        num_points: how many of the points lie on each level.
    """
    from sleuth.nn.deformable import sampled_attention  # whose module has this core as its default

    core = sampled_attention
    if not (torch.compiler.is_compiling() or torch.jit.is_tracing()):  # type: ignore[attr-defined]
        if value.device.type == "cpu":
            core = bagged_attention
        elif _kernels_fit(value):
            core = triton_attention
    return core(value, grids_hw, locations, weights, num_points)


def _kernels_fit(value: Tensor) -> bool:
    fitting = value.is_cuda and value.shape[-1] <= LARGEST_HEAD and not torch.are_deterministic_algorithms_enabled()
    return fitting and triton_available()
