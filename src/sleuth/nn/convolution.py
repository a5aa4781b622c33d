"""Convolution, batch norm, activation: the brick of pyramids; `sleuth.nn.folding` folds it into one convolution."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.feedforward import Activation


class ConvNorm(nn.Module):
    """A convolution without bias, batch norm, and an activation if there is one.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: of the convolution, padded such that stride 1 keeps the size.
        stride: of the convolution.
        groups: of the convolution; ``in_channels`` makes it depth-wise.
        activation: applied at the end; None for none.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: Activation | None = None,
    ) -> None:
        super().__init__()
        padding = (kernel_size - 1) // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = activation

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out h w"]:
        """Convolve, normalise, activate."""
        x = self.norm(self.conv(x))
        return dense_gradient(x) if self.activation is None else self.activation(x)


def dense_gradient(x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
    """The same map, whose gradient will lie in memory as the map does.

    A map that is concatenated gets a slice of a gradient back, and the backward pass of batch norm takes a path ten
    times as slow for one on a CPU.
    """
    if x.requires_grad:
        last = x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        x.register_hook(lambda gradient: gradient.contiguous(memory_format=layout))
    return x


class RepVgg(nn.Module):
    """A 3x3 and a 1x1 convolution side by side while training; their sum, one 3x3 convolution, for inference.

    Args:
        channels: channels in and out.
        activation: applied to the sum.

    Source: Ding et al. 2021, "RepVGG: Making VGG-style ConvNets Great Again"; without its identity branch, as in
        RT-DETR.
    """

    def __init__(self, *, channels: int, activation: Activation = F.silu) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels=channels, out_channels=channels, kernel_size=3)
        self.conv2 = ConvNorm(in_channels=channels, out_channels=channels)
        self.activation = activation

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """Both views of the map, added."""
        return self.activation(self.conv1(x) + self.conv2(x))
