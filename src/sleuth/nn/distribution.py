"""Box edges as distributions: how far each edge of a reference box is to move, as a chance for each of a few steps.

Steps are fine near zero and coarse far out. What is expected over them is the distance; how sharp a distribution is
tells how sure the edge is.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.feedforward import MLP, zero_ended

EDGES = 4
"""Left, top, right, bottom: the order of distances and of their distributions."""

Number = float | Float[Tensor, "..."]


def edge_steps(bins: int, up: Number, reg_scale: Number) -> Float[Tensor, "{bins}+1"]:
    """W(n): the distance that each step stands for, from far inside to far outside; zero in the middle.

    Args:
        bins: number of steps less one; even.
        up: the greatest distance, but for the two outermost steps, which reach twice as far; in sides of the box.
        reg_scale: curvature: how much finer steps are near zero; distances are in sides over this number.

    Source: Peng et al. 2024, "D-FINE", equation 5.
    """
    up = torch.as_tensor(up, dtype=torch.float32).reshape(1).abs()
    scale = torch.as_tensor(reg_scale, dtype=torch.float32, device=up.device).reshape(1).abs()
    bound = up * scale
    growth = (bound + 1) ** (2 / (bins - 2))
    outside = growth ** torch.arange(1, bins // 2, device=up.device) - 1
    return torch.cat((-2 * bound, -outside.flip(0), torch.zeros_like(bound), outside, 2 * bound))


def expected_distances(
    logits: Float[Tensor, "*shape edges_bins"], steps: Float[Tensor, " bins"]
) -> Float[Tensor, "*shape 4"]:
    """The mean distance of each edge under its distribution."""
    return logits.unflatten(-1, (EDGES, len(steps))).softmax(-1) @ steps


def moved_edges(
    references: Float[Tensor, "*shape 4"], distances: Float[Tensor, "*shape 4"], reg_scale: Number
) -> Float[Tensor, "*shape 4"]:
    """Boxes (cxcywh) whose edges have moved outwards from those of the references (cxcywh).

    Args:
        references: the boxes that move.
        distances: of left, top, right and bottom, in sides over ``reg_scale``.
        reg_scale: as for `edge_steps`.

    Source: Peng et al. 2024, equation 2.
    """
    centre, side = references[..., :2], references[..., 2:]
    unit = side / _size(reg_scale)
    low = centre - side / 2 - distances[..., :2] * unit
    high = centre + side / 2 + distances[..., 2:] * unit
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def edge_distances(
    references: Float[Tensor, "*shape 4"], boxes_cxcywh: Float[Tensor, "*shape 4"], reg_scale: Number
) -> Float[Tensor, "*shape 4"]:
    """How far the edges of the references have to move to become the boxes: the inverse of `moved_edges`."""
    centre, side = references[..., :2], references[..., 2:]
    unit = side / _size(reg_scale) + 1e-16
    low = boxes_cxcywh[..., :2] - boxes_cxcywh[..., 2:] / 2
    high = boxes_cxcywh[..., :2] + boxes_cxcywh[..., 2:] / 2
    half = _size(reg_scale) / 2
    return torch.cat(((centre - low) / unit - half, (high - centre) / unit - half), dim=-1)


def _size(number: Number) -> Tensor | float:
    return number.abs() if isinstance(number, Tensor) else abs(number)


class LocationQuality(nn.Module):
    """Lifts or lowers a query's class logits by how sharp its edges are.

    Args:
        bins: number of steps less one.
        top: how many of the greatest chances of each edge are looked at; their mean as well.
        hidden_dim: size within.
        num_layers: linear layers.

    Source: Li et al. 2021, "Generalized Focal Loss V2"; Peng et al. 2024, through its code (LQE).
    """

    def __init__(self, *, bins: int = 32, top: int = 4, hidden_dim: int = 64, num_layers: int = 2) -> None:
        super().__init__()
        self.bins = bins
        self.top = top
        self.mlp = zero_ended(MLP(in_dim=EDGES * (top + 1), hidden_dim=hidden_dim, out_dim=1, num_layers=num_layers))

    def forward(
        self, logits: Float[Tensor, "batch queries classes"], corners: Float[Tensor, "batch queries edges_bins"]
    ) -> Float[Tensor, "batch queries classes"]:
        """Class logits that know of their box.

        Args:
            logits: of the classes.
            corners: of the steps of each edge.
        """
        chances = corners.unflatten(-1, (EDGES, self.bins + 1)).softmax(-1).topk(self.top, dim=-1).values
        sharpness = torch.cat((chances, chances.mean(-1, keepdim=True)), dim=-1).flatten(-2)
        return logits + self.mlp(sharpness)
