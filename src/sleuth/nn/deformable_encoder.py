"""The deformable encoder: every token of a pyramid looks around itself on all levels, layer after layer."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sleuth.nn.deformable import Grids
from sleuth.nn.deformable_layers import DeformableEncoderLayer


def valid_ratios(valid: Bool[Tensor, "batch tokens"], grids_hw: Grids) -> Float[Tensor, "batch levels 2"]:
    """The part of each level's width and height that is picture: what is relative to the picture times this is
    relative to the padded level.

    Args:
        valid: True on tokens of the picture, which lies at the top left of each level.
        grids_hw: height and width of each level.
    """
    grids = zip(valid.split([height * width for height, width in grids_hw], dim=1), grids_hw, strict=True)
    ratios = []
    for level, (height, width) in grids:
        grid = level.unflatten(1, (height, width))
        ratios.append(torch.stack((grid[:, 0, :].sum(1) / width, grid[:, :, 0].sum(1) / height), dim=-1))
    return torch.stack(ratios, dim=1)


def cell_references(
    grids_hw: Grids, ratios: Float[Tensor, "batch levels 2"] | None = None, *, device: torch.device | None = None
) -> Float[Tensor, "#batch tokens #levels 2"]:
    """The centre of each cell (x, y), relative to each level in turn.

    Args:
        grids_hw: height and width of each level.
        ratios: as from `valid_ratios`; None where nothing is padded, and a centre is the same on all levels.
        device: of the result, where ``ratios`` does not tell.
    """
    device = device if ratios is None else ratios.device
    centres = []
    for level, (height, width) in enumerate(grids_hw):
        y = torch.arange(height, device=device) + 0.5
        x = torch.arange(width, device=device) + 0.5
        grid = torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)), dim=-1).flatten(0, 1)
        size = grid.new_tensor((width, height))
        centres.append((grid / size)[None] if ratios is None else grid / (ratios[:, None, level] * size))
    references = torch.cat(centres, dim=1)[:, :, None]
    return references if ratios is None else references * ratios[:, None]


class DeformableEncoder(nn.Module):
    """A stack of deformable encoder layers.

    Args:
        layers: the layers, first to last.

    Source: Zhu et al. 2021, section 4.1.
    """

    def __init__(self, layers: Sequence[DeformableEncoderLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        pos: Float[Tensor, "#batch tokens dim"],
        grids_hw: Grids,
        valid: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Tokens that have looked around.

        Args:
            tokens: of all levels, level after level.
            pos: their positions, the level's embedding included.
            grids_hw: height and width of each level.
            valid: True on tokens of the picture; None where there is no padding.
        """
        ratios = None if valid is None else valid_ratios(valid, grids_hw)
        references = cell_references(grids_hw, ratios, device=tokens.device).to(tokens.dtype)
        references = references.expand(len(tokens), -1, -1, -1)
        for layer in self.layers:
            tokens = layer(tokens, pos, references, grids_hw, valid)
        return tokens
