"""RT-DETR's hybrid encoder: attention within the coarsest level alone, convolutions between the levels."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.backbones.csp import CspElan, CspRep, SeparableDown
from sleuth.nn.convolution import ConvNorm
from sleuth.nn.feedforward import Activation
from sleuth.nn.layers import EncoderLayer
from sleuth.nn.positions import GridOrder, sine_positions_grid
from sleuth.nn.stacks import Encoder

Fusion = Literal["csp", "elan"]


class HybridEncoder(nn.Module):
    """Project the backbone's maps, let the coarsest look at itself, then pass knowledge down and up the pyramid.

    Attention where tokens are few and meaningful, convolutions where they are many: that is what makes DETR real-time.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        dim: channels of every level within and at the end.
        num_heads: attention heads of the intra-scale layers.
        feedforward_dim: hidden size of their feed-forward networks.
        num_layers: intra-scale layers on the coarsest level; 0 for none.
        dropout: in these layers.
        fusion: the blocks between levels: csp as in RT-DETR, elan as in D-FINE, which also halves sizes more cheaply.
        expansion: channels within the blocks, as a share of ``dim``.
        depth: RepVGG blocks of each fusion, as a share of 3.
        activation: of the convolutions.
        positions: how sine positions meet tokens. rows: each token has its own. original: as RT-DETR and D-FINE
            compute them, column by column, while tokens go row by row; equal to rows on squares, wrong elsewhere.

    Attributes:
        channels: ``dim`` for each level.

    Source: Zhao et al. 2023, "DETRs Beat YOLOs on Real-time Object Detection", section 4.2.
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        dim: int = 256,
        num_heads: int = 8,
        feedforward_dim: int = 1024,
        num_layers: int = 1,
        dropout: float = 0.0,
        fusion: Fusion = "csp",
        expansion: float = 1.0,
        depth: float = 1.0,
        activation: Activation = F.silu,
        positions: GridOrder = "rows",
    ) -> None:
        super().__init__()
        steps = len(in_channels) - 1
        self.dim = dim
        self.channels = (dim,) * len(in_channels)
        self.positions = positions
        self.input_proj = nn.ModuleList(ConvNorm(in_channels=width, out_channels=dim) for width in in_channels)
        layers = [
            EncoderLayer(
                dim=dim, num_heads=num_heads, feedforward_dim=feedforward_dim, dropout=dropout, activation=F.gelu
            )
            for _ in range(num_layers)
        ]
        self.intra_scale = Encoder(layers)

        def block() -> nn.Module:
            blocks = round(3 * depth)
            if fusion == "csp":
                return CspRep(
                    in_channels=2 * dim,
                    out_channels=dim,
                    num_blocks=blocks,
                    expansion=expansion,
                    activation=activation,
                )
            return CspElan(
                in_channels=2 * dim,
                out_channels=dim,
                branch_channels=round(expansion * dim // 2),
                num_blocks=blocks,
                activation=activation,
            )

        def down() -> nn.Module:
            if fusion == "elan":
                return SeparableDown(channels=dim)
            return ConvNorm(in_channels=dim, out_channels=dim, kernel_size=3, stride=2, activation=activation)

        lateral_activation = activation if fusion == "csp" else None
        self.laterals = nn.ModuleList(
            ConvNorm(in_channels=dim, out_channels=dim, activation=lateral_activation) for _ in range(steps)
        )
        self.top_down = nn.ModuleList(block() for _ in range(steps))
        self.downs = nn.ModuleList(down() for _ in range(steps))
        self.bottom_up = nn.ModuleList(block() for _ in range(steps))

    def forward(self, maps: Sequence[Float[Tensor, "batch _ _ _"]]) -> tuple[Float[Tensor, "batch dim _ _"], ...]:
        """The pyramid, fine to coarse, each level at its own size and ``dim`` channels wide.

        Args:
            maps: the backbone's maps, fine to coarse, each half the size of the one before, rounded up. Models pad
                pictures to multiples of the coarsest stride, so that a cell is the same piece of the picture on all.
        """
        levels = [project(level) for project, level in zip(self.input_proj, maps, strict=True)]
        if self.intra_scale.layers:
            levels[-1] = self.look_within(levels[-1])
        # Down: each step hands its lateral view to the finer level, and keeps it for the way up.
        top, laterals = levels[-1], []
        for lateral, block, finer in zip(self.laterals, self.top_down, reversed(levels[:-1]), strict=True):
            laterals.append(lateral(top))
            wide = F.interpolate(laterals[-1], size=finer.shape[-2:], mode="nearest")
            top = block(torch.cat((wide, finer), dim=1))
        out = [top]
        for down, block, coarser in zip(self.downs, self.bottom_up, reversed(laterals), strict=True):
            out.append(block(torch.cat((down(out[-1]), coarser), dim=1)))
        return tuple(out)

    def look_within(self, level: Float[Tensor, "batch dim height width"]) -> Float[Tensor, "batch dim height width"]:
        """Self-attention among the cells of one level (AIFI)."""
        height, width = level.shape[-2:]
        pos = sine_positions_grid((height, width), self.dim, order=self.positions).to(level)
        tokens = self.intra_scale(level.flatten(2).transpose(1, 2), pos[None])
        # Channels stay the innermost axis, as convolutions want them.
        return tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)
