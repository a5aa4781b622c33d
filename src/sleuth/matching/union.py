"""The union of the matchings of several layers: whom each query answered for most often."""

from collections.abc import Sequence

import torch

from sleuth.types.predictions import Match


def matching_union(matches: Sequence[Match]) -> Match:
    """Every query that is matched anywhere, with the object it is matched to most often; of several, the first.

    Box losses of all layers on one set of pairs keep a query at its object while layers disagree.

    Args:
        matches: of each layer.

    Source: Peng et al. 2024, "D-FINE", section 4.2 (global optimal localisation: union set).
    """
    rows = torch.cat([torch.stack((m.picture, m.query, m.target), dim=1) for m in matches]).cpu()
    pairs, counts = rows.unique(dim=0, return_counts=True)
    best: dict[tuple[int, int], tuple[int, int]] = {}
    for (picture, query, target), count in zip(pairs.tolist(), counts.tolist(), strict=True):
        if count > best.get((picture, query), (0, 0))[0]:
            best[picture, query] = (count, target)
    found = torch.tensor([(*place, target) for place, (_, target) in best.items()], dtype=torch.int64).view(-1, 3)
    return Match(*found.to(matches[0].query.device).unbind(1))
