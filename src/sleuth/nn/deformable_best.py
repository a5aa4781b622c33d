"""The core of deformable attention that suits where the tensors are."""

from jaxtyping import Float
from torch import Tensor

from sleuth.nn.deformable import Grids, sampled_attention
from sleuth.nn.deformable_bag import bagged_attention


def best_attention(
    value: Float[Tensor, "batch tokens heads head_dim"],
    grids_hw: Grids,
    locations: Float[Tensor, "batch queries heads points 2"],
    weights: Float[Tensor, "batch queries heads points"],
    num_points: tuple[int, ...],
) -> Float[Tensor, "batch queries dim"]:
    """As `sampled_attention`, by the fastest exact form for the device."""
    if value.device.type == "cpu":
        return bagged_attention(value, grids_hw, locations, weights, num_points)
    return sampled_attention(value, grids_hw, locations.to(value.dtype), weights.to(value.dtype), num_points)
