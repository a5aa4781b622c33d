"""Anchors on the grids of a pyramid: where a two-stage model's proposals start from. Not boxes that are matched."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sleuth.nn.deformable import Grids

SIDE = 0.05
"""Side of an anchor on the finest level, relative to the picture; each coarser level doubles it."""

MARGIN = 0.01


def grid_anchors(
    grids_hw: Grids,
    *,
    valid: Bool[Tensor, "batch tokens"] | None = None,
    device: torch.device | None = None,
    side: float = SIDE,
    margin: float = MARGIN,
) -> tuple[Float[Tensor, "#batch tokens 4"], Bool[Tensor, "#batch tokens"]]:
    """One box on each cell, as logits of cx, cy, w, h; and which of them may be proposed.

    A box whose centre or side lies within ``margin`` of 0 or 1 may not: its logits are infinite, as are those of
    padding.

    Args:
        grids_hw: height and width of each level.
        valid: True on tokens of the picture; None where there is no padding. Boxes are relative to the picture.
        device: of the result, where ``valid`` does not tell.
        side: of an anchor on the first level.
        margin: how near to 0 or 1 a number may be.

    Source: Zhu et al. 2021, appendix A.4, "two-stage"; as in the original code.
    """
    levels = []
    start = 0
    for level, (height, width) in enumerate(grids_hw):
        if valid is None:
            y = ((torch.arange(height, device=device) + 0.5) / height)[None, :, None].expand(1, height, width)
            x = ((torch.arange(width, device=device) + 0.5) / width)[None, None, :].expand(1, height, width)
        else:
            grid = valid[:, start : start + height * width].unflatten(1, (height, width))
            start += height * width
            rows, columns = grid[:, :, 0].sum(1), grid[:, 0, :].sum(1)
            y = (torch.arange(height, device=valid.device) + 0.5)[None, :, None] / rows[:, None, None]
            x = (torch.arange(width, device=valid.device) + 0.5)[None, None, :] / columns[:, None, None]
            y, x = y.expand(-1, -1, width), x.expand(-1, height, -1)
        sides = torch.full_like(x, side * 2.0**level)
        levels.append(torch.stack((x, y, sides, sides), dim=-1).flatten(1, 2))
    boxes = torch.cat(levels, dim=1)
    usable = ((boxes > margin) & (boxes < 1 - margin)).all(-1)
    if valid is not None:
        usable = usable & valid
    logits = (boxes / (1 - boxes)).clamp(min=0).log()
    return logits.masked_fill(~usable[..., None], torch.inf), usable
