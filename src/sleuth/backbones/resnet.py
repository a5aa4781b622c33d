"""ResNet through timm, as DETR uses it: one feature map, frozen batch norm, and a last stage that can be dilated."""

from functools import partial
from typing import Literal

import timm.models.resnet as timm_resnet
import torch
from jaxtyping import Float
from torch import Tensor, nn

ResNetName = Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101"]

_BLOCKS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "resnet10": (timm_resnet.BasicBlock, (1, 1, 1, 1)),
    "resnet18": (timm_resnet.BasicBlock, (2, 2, 2, 2)),
    "resnet34": (timm_resnet.BasicBlock, (3, 4, 6, 3)),
    "resnet50": (timm_resnet.Bottleneck, (3, 4, 6, 3)),
    "resnet101": (timm_resnet.Bottleneck, (3, 4, 23, 3)),
}


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics and scale are four fixed buffers: an affine map for each channel.

    Args:
        num_features: channels.
        eps: added to the variance; 1e-5 as in the original.
        inplace: overwrite the input, as a convolution's result may be: on a CPU a quarter of the backbone's time.

    Source: Carion et al. 2020, section A.4; batches of a few pictures have no useful statistics.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        *,
        inplace: bool = False,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.inplace = inplace
        for name, fill in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((num_features,), fill, device=device, dtype=dtype))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """Scale and shift each channel."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        scale, shift = scale[:, None, None].to(x.dtype), shift[:, None, None].to(x.dtype)
        return x.mul_(scale).add_(shift) if self.inplace else torch.addcmul(shift, x, scale)


class ResNet(nn.Module):
    """A ResNet cut off before its classifier.

    Args:
        name: resnet10, 18, 34, 50 or 101.
        frozen_norm: frozen batch norm, as for published weights; False trains the norms, as from scratch.
        dilate_last: DC5: the last stage keeps its resolution and dilates instead.
        num_stages: how many of the four stages are used; 3 gives features at stride 16 instead of 32.
        width: channels of the first stage, 64 in the published models; the later ones double it.

    Attributes:
        channels: channels of the feature map.
        stage_channels: channels of every stage in use.
        stride: pixels of the picture for one cell of the feature map.
    """

    def __init__(
        self,
        *,
        name: str = "resnet50",
        frozen_norm: bool = True,
        dilate_last: bool = False,
        num_stages: int = 4,
        width: int = 64,
    ) -> None:
        super().__init__()
        block, depths = _BLOCKS[name]
        self.body = timm_resnet.ResNet(
            block,
            depths,
            output_stride=16 if dilate_last else 32,
            stem_width=width,
            channels=tuple(width * 2**stage for stage in range(4)),
            norm_layer=partial(FrozenBatchNorm2d, inplace=True) if frozen_norm else nn.BatchNorm2d,
            zero_init_last=not frozen_norm,
        )
        self.num_stages = num_stages
        self.stride = (4, 8, 16, 16 if dilate_last else 32)[num_stages - 1]
        self.stage_channels = tuple(width * 2**stage * block.expansion for stage in range(num_stages))  # type: ignore[attr-defined]
        self.channels = self.stage_channels[-1]
        del self.body.fc, self.body.global_pool
        for stage in range(num_stages + 1, 5):
            delattr(self.body, f"layer{stage}")

    def forward(
        self, pixels: Float[Tensor, "batch 3 height width"], finer: list[Tensor] | None = None
    ) -> Float[Tensor, "batch channels h w"]:
        """The feature map of the last stage in use.

        Args:
            pixels: normalised pictures.
            finer: a list that takes the maps of the stages before it, fine to coarse; without it they are let go.
        """
        body = self.body
        # Channels last is how convolutions want it; every result keeps that order, and tokens come out contiguous.
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        x = body.maxpool(body.act1(body.bn1(body.conv1(pixels))))
        for stage in range(1, self.num_stages + 1):
            x = getattr(body, f"layer{stage}")(x)
            if finer is not None and stage < self.num_stages:
                finer.append(x)
        return x

    def freeze_stem(self) -> None:
        """Stop training the stem and the first stage, as DETR does with pre-trained weights."""
        for module in (self.body.conv1, self.body.bn1, self.body.layer1):
            module.requires_grad_(False)


def feature_mask(valid: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """The pixel mask on the feature grid, by nearest neighbour.

    Args:
        valid: True on the picture, [batch, height, width].
        size_hw: height and width of the feature map.
    """
    # uint8, since nearest interpolation knows no bool; as floats in the original, with equal picks.
    return nn.functional.interpolate(valid[:, None].to(torch.uint8), size=size_hw, mode="nearest")[:, 0].bool()
