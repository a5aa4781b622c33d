"""Blocks that fuse two neighbouring levels of a pyramid: RT-DETR's cross-stage block, and D-FINE's finer one."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.convolution import ConvNorm, RepVgg
from sleuth.nn.feedforward import Activation


class CspRep(nn.Module):
    """Two 1x1 views of the input: one goes through RepVGG blocks, the other around them; their sum is the output.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        num_blocks: RepVGG blocks on the way.
        expansion: channels within, as a share of ``out_channels``.
        activation: after each convolution.

    Source: Zhao et al. 2023, "DETRs Beat YOLOs on Real-time Object Detection", figure 4 (fusion block).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        num_blocks: int = 3,
        expansion: float = 1.0,
        activation: Activation = F.silu,
    ) -> None:
        super().__init__()
        hidden = int(out_channels * expansion)
        self.conv1 = ConvNorm(in_channels=in_channels, out_channels=hidden, activation=activation)
        self.conv2 = ConvNorm(in_channels=in_channels, out_channels=hidden, activation=activation)
        self.blocks = nn.Sequential(*(RepVgg(channels=hidden, activation=activation) for _ in range(num_blocks)))
        self.conv3: nn.Module = nn.Identity()
        if hidden != out_channels:
            self.conv3 = ConvNorm(in_channels=hidden, out_channels=out_channels, activation=activation)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out height width"]:
        """Through the blocks, around them, and the sum."""
        return self.conv3(self.blocks(self.conv1(x)) + self.conv2(x))


class CspElan(nn.Module):
    """Halves of a wide map, one of them refined twice in a row, and all four intermediate results side by side.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        branch_channels: channels of each refined branch.
        num_blocks: RepVGG blocks of each branch.
        activation: after each convolution.

    Source: Peng et al. 2024, "D-FINE", appendix (GELAN in place of RT-DETR's blocks); Wang et al. 2024, YOLOv9.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        branch_channels: int,
        num_blocks: int = 3,
        activation: Activation = F.silu,
    ) -> None:
        super().__init__()
        half, wide = out_channels, 2 * out_channels
        self.conv1 = ConvNorm(in_channels=in_channels, out_channels=wide, activation=activation)
        self.branch1 = self._branch(half, branch_channels, num_blocks, activation)
        self.branch2 = self._branch(branch_channels, branch_channels, num_blocks, activation)
        joined = wide + 2 * branch_channels
        self.conv2 = ConvNorm(in_channels=joined, out_channels=out_channels, activation=activation)

    @staticmethod
    def _branch(in_channels: int, channels: int, num_blocks: int, activation: Activation) -> nn.Sequential:
        return nn.Sequential(
            CspRep(in_channels=in_channels, out_channels=channels, num_blocks=num_blocks, activation=activation),
            ConvNorm(in_channels=channels, out_channels=channels, kernel_size=3, activation=activation),
        )

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out height width"]:
        """Widen, refine, refine again, and join."""
        wide = self.conv1(x)
        once = self.branch1(wide.chunk(2, dim=1)[1])
        return self.conv2(torch.cat((wide, once, self.branch2(once)), dim=1))


class SeparableDown(nn.Module):
    """Half the size in two cheap steps: mix channels, then a depth-wise convolution of stride 2; no activation.

    Args:
        channels: channels in and out.

    Source: Wang et al. 2024, "YOLOv10", section 3.2 (spatial-channel decoupled downsampling).
    """

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels=channels, out_channels=channels)
        self.conv2 = ConvNorm(in_channels=channels, out_channels=channels, kernel_size=3, stride=2, groups=channels)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels h w"]:
        """A map of half the height and width, rounded up."""
        return self.conv2(self.conv1(x))
