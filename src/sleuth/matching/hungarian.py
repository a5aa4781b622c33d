"""Hungarian matching: the one-to-one assignment of objects to queries that costs least in total."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from sleuth.matching.costs import CostWeights, matching_costs, pad_targets
from sleuth.types.batches import Target
from sleuth.types.predictions import Match

__all__ = ["Match", "hungarian_match"]


@torch.no_grad()
def hungarian_match(
    logits: Float[Tensor, "layers batch queries classes"],
    boxes_cxcywh: Float[Tensor, "layers batch queries 4"],
    targets: Sequence[Target],
    weights: CostWeights,
) -> list[Match]:
    """The cheapest assignment of each layer, each afresh.

    Costs are computed for all layers and pictures at once and moved to the CPU in one transfer. With more objects
    than queries, the cheapest objects are served.

    Returns: one match for each layer.

    Source: Carion et al. 2020, equation 1; Kuhn 1955.
    """
    costs = matching_costs(logits, boxes_cxcywh, pad_targets(targets, logits.device), weights).cpu().numpy()
    counts = [len(target.labels) for target in targets]
    return [_assign(layer, counts, logits.device) for layer in costs]


def _assign(costs: np.ndarray, counts: list[int], device: torch.device) -> Match:
    """The assignment of one layer; ``costs`` is [batch, queries, objects], padded beyond ``counts``."""
    rows = [linear_sum_assignment(cost[:, :count]) for cost, count in zip(costs, counts, strict=True)]
    picture = np.repeat(np.arange(len(rows)), [len(query) for query, _ in rows])
    query = np.concatenate([query for query, _ in rows]) if rows else np.zeros(0, np.int64)
    target = np.concatenate([target for _, target in rows]) if rows else np.zeros(0, np.int64)
    return Match(*(torch.as_tensor(x, dtype=torch.int64).to(device) for x in (picture, query, target)))
