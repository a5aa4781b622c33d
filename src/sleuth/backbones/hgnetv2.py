"""HGNetV2 through timm, as D-FINE uses it: a pyramid of maps, with learnable affine blocks in the small sizes."""

from typing import Any, Literal

import timm.models.hgnet as timm_hgnet
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.backbones.resnet import FrozenBatchNorm2d

HgNetV2Name = Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6"]

_STRIDES = (4, 8, 16, 32)


class HgNetV2(nn.Module):
    """HGNetV2 cut off before its classifier: blocks that keep every intermediate result and mix them all at the end.

    Args:
        name: b0 to b6.
        affine: a learned scale and shift (one number each) after every activation, as in b0 to b3 of D-FINE.
        frozen_norm: frozen batch norm; False trains the norms.
        levels: how many maps come out: the last ones, of strides up to 32.
        width: a factor on all channels, rounded to multiples of 8; 1 in the published models.

    Attributes:
        channels: channels of each map, fine to coarse.
        strides: pixels of the picture for one cell of each map.

    Raises:
        ValueError: levels that are not 1 to 4.

    Source: PaddleClas, PP-HGNetV2; Peng et al. 2024, "D-FINE".
    """

    def __init__(
        self,
        *,
        name: HgNetV2Name = "b0",
        affine: bool = True,
        frozen_norm: bool = False,
        levels: int = 3,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if not 1 <= levels <= 4:
            raise ValueError(f"levels = {levels} is none of 1 to 4")
        self.body = timm_hgnet.HighPerfGpuNet(layer_table(name, width), use_lab=affine)
        del self.body.head
        for module in self.body.modules():
            if isinstance(module, nn.ReLU):
                # Its input is a norm's result, which nobody else reads.
                module.inplace = True
        if frozen_norm:
            _freeze_norms(self.body)
        self.levels = levels
        self.channels = tuple(info["num_chs"] for info in self.body.feature_info[-levels:])
        self.strides = _STRIDES[-levels:]

    def forward(self, pixels: Float[Tensor, "batch 3 height width"]) -> tuple[Float[Tensor, "batch _ _ _"], ...]:
        """The maps of the last stages, fine to coarse."""
        x = self.body.stem(pixels.contiguous(memory_format=torch.channels_last))
        maps = []
        for stage in self.body.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps[-self.levels :])

    def freeze_stem(self, stages: int = 0) -> None:
        """Stop training the stem and the first ``stages`` stages."""
        for module in (self.body.stem, *self.body.stages[:stages]):
            module.requires_grad_(False)


def layer_table(name: HgNetV2Name, width: float = 1.0) -> dict[str, Any]:
    """timm's table of the layers of one size, with all channels multiplied.

    Returns: the two channels of the stem under ``stem_chs``; under ``stage1`` to ``stage4`` channels in, within and
        out, blocks, whether the size is halved, whether layers are light, their kernel, and layers of a block.
    """
    config: dict[str, Any] = timm_hgnet.model_cfgs[f"hgnetv2_{name}"]
    if width == 1.0:
        return config

    def channels(count: int) -> int:
        return max(8, round(count * width / 8) * 8)

    scaled = dict(config, stem_chs=[channels(count) for count in config["stem_chs"]])
    for stage in range(1, 5):
        inside, mid, outside, *rest = config[f"stage{stage}"]
        scaled[f"stage{stage}"] = [channels(inside), channels(mid), channels(outside), *rest]
    return scaled


def _freeze_norms(body: nn.Module) -> None:
    for parent in list(body.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, FrozenBatchNorm2d(child.num_features, child.eps, inplace=True))
