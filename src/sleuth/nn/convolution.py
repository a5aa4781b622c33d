"""Convolution, batch norm, activation: the brick of pyramids, and how it folds into one convolution for inference."""

from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.feedforward import Activation

_Module = TypeVar("_Module", bound=nn.Module)


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
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.activation = activation

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out h w"]:
        """Convolve, normalise, activate."""
        x = self.norm(self.conv(x))
        return x if self.activation is None else self.activation(x)

    def fuse(self) -> None:
        """Fold the norm, as it is in evaluation, into the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv, self.norm = folded(self.conv, self.norm), nn.Identity()


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
        self.conv2: ConvNorm | None = ConvNorm(in_channels=channels, out_channels=channels)
        self.activation = activation

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """Both views of the map, added."""
        y = self.conv1(x)
        return self.activation(y if self.conv2 is None else y + self.conv2(x))

    def fuse(self) -> None:
        """Fold both branches into the 3x3 convolution."""
        if self.conv2 is None:
            return
        self.conv1.fuse()
        self.conv2.fuse()
        wide, narrow = self.conv1.conv, self.conv2.conv
        with torch.no_grad():
            wide.weight += F.pad(narrow.weight, (1, 1, 1, 1))
            if wide.bias is not None and narrow.bias is not None:
                wide.bias += narrow.bias
        self.conv2 = None


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution with a bias that does what a convolution and its norm do in evaluation."""
    with torch.no_grad():
        fused: nn.Conv2d = torch.nn.utils.fusion.fuse_conv_bn_eval(conv.eval(), norm.eval())
    return fused.requires_grad_(conv.weight.requires_grad)


def fuse_convolutions(model: _Module) -> _Module:
    """Fold every `ConvNorm` and `RepVgg` of a model into one convolution each, in place; for inference only.

    Args:
        model: a model in evaluation mode; its state dict has other keys afterwards.

    Returns:
        The model itself.

    Raises:
        ValueError: the model is training.
    """
    if model.training:
        raise ValueError("only a model in evaluation mode can be fused")
    # Branches first: a block folds its own convolutions on the way.
    for kind in (RepVgg, ConvNorm):
        for module in model.modules():
            if isinstance(module, kind):
                module.fuse()
    return model
