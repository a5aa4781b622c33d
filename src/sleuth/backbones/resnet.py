"""ResNet through timm: one feature map as DETR uses it, or a pyramid as its descendants do; frozen or trained norms."""

from functools import partial
from typing import Literal

import timm.models.resnet as timm_resnet
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sleuth.types.batches import ImageBatch

ResNetName = Literal["resnet10", "resnet14", "resnet18", "resnet34", "resnet50", "resnet101"]
ResNetVariant = Literal["b", "d"]

_BLOCKS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "resnet10": (timm_resnet.BasicBlock, (1, 1, 1, 1)),
    "resnet14": (timm_resnet.BasicBlock, (1, 1, 2, 2)),
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
        name: resnet10, 14, 18, 34, 50 or 101.
        frozen_norm: frozen batch norm, as for published weights; False trains the norms, as from scratch.
        dilate_last: DC5: the last stage keeps its resolution and dilates instead.
        num_stages: how many of the four stages are used; 3 gives features at stride 16 instead of 32.
        width: channels of the first stage, 64 in the published models; the later ones double it.
        variant: b: a 7x7 stem and strided shortcuts, as in DETR. d: a stem of three 3x3 convolutions, shortcuts that
            average before they project, and a projection in the very first one, as in RT-DETR.

    Attributes:
        channels: channels of the feature map.
        stage_channels: channels of every stage in use.
        stage_strides: pixels of the picture for one cell of every stage in use.
        stride: pixels of the picture for one cell of the feature map.

    Raises:
        ValueError: an odd width for variant d, whose stem starts with half of it.

    Source: He et al. 2016; He et al. 2019, "Bag of Tricks", section 4 (variant d).
    """

    def __init__(
        self,
        *,
        name: str = "resnet50",
        frozen_norm: bool = True,
        dilate_last: bool = False,
        num_stages: int = 4,
        width: int = 64,
        variant: ResNetVariant = "b",
    ) -> None:
        super().__init__()
        if variant == "d" and width % 2:
            raise ValueError(f"variant d wants an even width, not {width}")
        block, depths = _BLOCKS[name]
        norm = partial(FrozenBatchNorm2d, inplace=True) if frozen_norm else nn.BatchNorm2d
        self.body = timm_resnet.ResNet(
            block,
            depths,
            output_stride=16 if dilate_last else 32,
            stem_width=width // 2 if variant == "d" else width,
            stem_type="deep" if variant == "d" else "",
            avg_down=variant == "d",
            channels=tuple(width * 2**stage for stage in range(4)),
            norm_layer=norm,
            zero_init_last=not frozen_norm,
        )
        if variant == "d" and self.body.layer1[0].downsample is None:
            # RT-DETR projects here too, where input and output already agree; timm leaves basic blocks without.
            project = nn.Conv2d(width, width, 1, bias=False)
            nn.init.kaiming_normal_(project.weight, mode="fan_out", nonlinearity="relu")
            self.body.layer1[0].downsample = nn.Sequential(nn.Identity(), project, norm(width))
        self.num_stages = num_stages
        self.stage_strides = (4, 8, 16, 16 if dilate_last else 32)[:num_stages]
        self.stride = self.stage_strides[-1]
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

    def features(
        self, images: ImageBatch, finer: list[Tensor] | None = None
    ) -> tuple[Float[Tensor, "batch channels h w"], Bool[Tensor, "batch h w"]]:
        """The feature map, and which of its cells belong to the picture.

        Args:
            images: the pictures.
            finer: a list that takes the maps of the stages before it, fine to coarse.
        """
        maps = self(images.pixels, finer)
        return maps, feature_mask(images.valid, (maps.shape[-2], maps.shape[-1]))

    def pyramid(
        self, pixels: Float[Tensor, "batch 3 height width"], levels: int = 3
    ) -> tuple[Float[Tensor, "batch _ _ _"], ...]:
        """The maps of the last ``levels`` stages in use, fine to coarse; three of four have strides 8, 16 and 32."""
        maps: list[Tensor] = []
        maps.append(self(pixels, maps))
        return tuple(maps[-levels:])

    def freeze_stem(self, stages: int = 1) -> None:
        """Stop training the stem and the first stages: one as DETR does with pre-trained weights, none as RT-DETR."""
        frozen = [self.body.conv1, self.body.bn1, *(getattr(self.body, f"layer{n + 1}") for n in range(stages))]
        for module in frozen:
            module.requires_grad_(False)


def feature_mask(valid: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """The pixel mask on the feature grid, by nearest neighbour.

    Args:
        valid: True on the picture, [batch, height, width].
        size_hw: height and width of the feature map.
    """
    # uint8, since nearest interpolation knows no bool; as floats in the original, with equal picks.
    return nn.functional.interpolate(valid[:, None].to(torch.uint8), size=size_hw, mode="nearest")[:, 0].bool()
