"""FCOS: an encoder-only detector. Every cell of a feature map is asked at once, and answers for the object it lies in.

There is no decoder and no query that looks for an object: many cells answer for the same one, since none of them knows
what the others say. So overlapping answers are suppressed afterwards, which DETR's queries settle among themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from sleuth.backbones.fpn import FeaturePyramid
from sleuth.backbones.levels import LevelProjection
from sleuth.backbones.resnet import ResNet
from sleuth.backbones.vit_features import VitFeatures
from sleuth.geometry.boxes import xyxy_to_cxcywh
from sleuth.heads.dense import GROUPS, DenseClassHead, Tower, small
from sleuth.models.detector import Detector
from sleuth.models.detr import DetrBackbone
from sleuth.models.frame import picture_share
from sleuth.models.vit import build_vit_backbone
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.memory import Memory
from sleuth.types.predictions import Points, SetPrediction, Suppression

MAPS = 3
"""Maps of a ResNet that are used: those of strides 8, 16 and 32."""

_MOST = 9.0
"""Logarithm of the largest distance in strides: beyond any picture, and its exponential is finite in half precision."""


@dataclass(frozen=True)
class FcosConfig:
    """The numbers of an FCOS.

    Args:
        backbone: resnet10, resnet14, resnet18, resnet34, resnet50 or resnet101; or a vision Transformer: vit-ti16,
            vit-s16, vit-b16, dinov2-s14, dinov2-b14, vit-cifar or vit-digits.
        num_classes: classes.
        num_queries: the most objects in a picture, after suppression.
        dim: channels of levels and towers; a multiple of 64, so that norms have two channels a group or more.
        num_levels: of a ResNet 3 (strides 8, 16, 32) or 5 (64 and 128 as well); of a vision Transformer any number,
            the first of the patch's size.
        tower_layers: convolutions before the heads.
        reach: the greatest distance from a point to an edge of its box, in strides; larger objects belong to the next
            level, those of less than half of it to the one before.
        nms_iou: overlap above which the less sure of two boxes of a class is suppressed.
        candidates: answers of a picture that suppression looks at, the surest first.
        frozen_norm: frozen batch norm in the ResNet (published weights); False trains it (from scratch).
        backbone_width: channels of the ResNet's first stage.

    Raises:
        ValueError: a number that makes no model, with its name.
    """

    backbone: Literal[DetrBackbone, "resnet14"] = "resnet50"
    num_classes: int = 80
    num_queries: int = 100
    dim: int = 256
    num_levels: int = 5
    tower_layers: int = 4
    reach: float = 8.0
    nms_iou: float = 0.6
    candidates: int = 1000
    frozen_norm: bool = True
    backbone_width: int = 64

    def __post_init__(self) -> None:
        known = get_args(type(self).__annotations__["backbone"])
        if self.backbone not in known:
            raise ValueError(f"backbone = {self.backbone!r} is none of {', '.join(known)}")
        for field in fields(self):
            least = {"tower_layers": 0}.get(field.name, 1)
            if field.type is int and getattr(self, field.name) < least:
                raise ValueError(f"{field.name} = {getattr(self, field.name)} is less than {least}")
        if self.dim % (2 * GROUPS):
            raise ValueError(f"dim = {self.dim} is not a multiple of {2 * GROUPS}")
        if not self.reach > 0:
            raise ValueError(f"reach = {self.reach} is not above 0")
        if not 0 < self.nms_iou <= 1:
            raise ValueError(f"nms_iou = {self.nms_iou} is not above 0 and at most 1")
        if self.backbone not in VIT_VARIANTS and self.num_levels not in (MAPS, MAPS + 2):
            raise ValueError(f"num_levels = {self.num_levels} is neither {MAPS} nor {MAPS + 2}")


class Fcos(Detector):
    """Backbone, pyramid, towers, heads.

    Args: the parts, ready made; `build_fcos` makes them from a `FcosConfig`. ``strides`` are those of the levels,
        fine to coarse.

    Source: Tian et al. 2019, "FCOS: Fully Convolutional One-Stage Object Detection". Centreness is read off the box
    tower, and distances are in strides, as in its later version.
    """

    backbone: ResNet | VitFeatures

    def __init__(
        self,
        *,
        backbone: ResNet | VitFeatures,
        pyramid: FeaturePyramid | LevelProjection,
        class_tower: nn.Module,
        box_tower: nn.Module,
        class_head: nn.Module,
        box_head: nn.Module,
        centre_head: nn.Module,
        strides: Sequence[int],
        reach: float,
        suppression: Suppression,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = pyramid
        self.class_tower = class_tower
        self.box_tower = box_tower
        self.class_head = class_head
        self.box_head = box_head
        self.centre_head = centre_head
        self.scales = nn.Parameter(torch.ones(len(strides)))
        self.strides = tuple(strides)
        self.reach = reach
        self.suppression = suppression

    def forward(self, images: ImageBatch, targets: Sequence[Target] | None = None) -> SetPrediction:
        """Ask every cell: memory, heads. What overlaps is suppressed when answers are decoded.

        Args:
            images: the pictures, of any size.
            targets: not read.
        """
        levels = self.encode(images)
        logits, distances, centreness = self.ask(levels)
        points = self.points(images, levels, distances, centreness)
        boxes = points.boxes_xyxy_px() / points.pictures_wh_px.repeat(1, 2)[:, None]
        return SetPrediction(
            logits=logits[None],
            boxes_cxcywh=xyxy_to_cxcywh(boxes.clamp(0, 1))[None],
            memory=_as_memory(levels, images),
            activation="sigmoid",
            points=points,
            suppression=self.suppression,
        )

    def encode(self, images: ImageBatch) -> list[Tensor]:
        """The levels of the picture, fine to coarse: as far as this, a dense detector is an encoder."""
        finer: list[Tensor] = []
        last, _ = self.backbone.features(images, finer)
        return self.pyramid((*finer, last)[-MAPS:])

    def ask(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Class logits, distances in strides, and logits of centreness, of the cells of all levels in a row."""
        logits, distances, centreness = [], [], []
        for level, scale in zip(levels, self.scales, strict=True):
            of_boxes = self.box_tower(level)
            logits.append(_row(self.class_head(self.class_tower(level))))
            distances.append((_row(self.box_head(of_boxes)).float() * scale).clamp(max=_MOST).exp())
            centreness.append(_row(self.centre_head(of_boxes))[..., 0])
        return torch.cat(logits, 1), torch.cat(distances, 1), torch.cat(centreness, 1)

    def points(self, images: ImageBatch, levels: Sequence[Tensor], distances: Tensor, centreness: Tensor) -> Points:
        """Where the cells stand in the picture, and which objects they are for."""
        height, width = images.pixels.shape[-2:]
        share = picture_share(images.valid)[:, :2]
        last = len(levels) - 1
        centres, strides, ranges = [], [], []
        for number, (level, stride) in enumerate(zip(levels, self.strides, strict=True)):
            y, x = (stride * (torch.arange(side, device=level.device) + 0.5) for side in level.shape[-2:])
            centres.append(torch.cartesian_prod(y, x).flip(-1))
            low = self.reach / 2 * stride if number else 0.0
            ranges.append((low, self.reach * stride if number < last else torch.inf))
            strides.append(float(stride))
        counts = torch.tensor([len(each) for each in centres], device=distances.device)
        return Points(
            centres_px=torch.cat(centres),
            strides=distances.new_tensor(strides).repeat_interleave(counts),
            ranges_px=distances.new_tensor(ranges).repeat_interleave(counts, dim=0),
            distances=distances,
            centreness=centreness,
            pictures_wh_px=(share * share.new_tensor([width, height])).to(distances),
        )


def _row(maps: Tensor) -> Tensor:
    """A map of cells as a row of them, [batch, cells, channels]."""
    return maps.flatten(2).transpose(1, 2)


def _as_memory(levels: Sequence[Tensor], images: ImageBatch) -> Memory:
    tokens = torch.cat([_row(level) for level in levels], dim=1)
    return Memory(
        tokens=tokens,
        pos=tokens.new_zeros(()).expand_as(tokens),
        valid=None,
        grids_hw=tuple((level.shape[-2], level.shape[-1]) for level in levels),
        input_hw=(images.pixels.shape[-2], images.pixels.shape[-1]),
    )


def build_fcos(config: FcosConfig) -> Fcos:
    """An FCOS with fresh weights."""
    dim = config.dim
    backbone: ResNet | VitFeatures
    pyramid: FeaturePyramid | LevelProjection
    if config.backbone in VIT_VARIANTS:
        backbone = VitFeatures(build_vit_backbone(replace(VIT_VARIANTS[config.backbone], norm_after_pool=False)))
        pyramid = LevelProjection(channels=(backbone.channels,), dim=dim, num_levels=config.num_levels)
        finest = backbone.stride
    else:
        backbone = ResNet(name=config.backbone, frozen_norm=config.frozen_norm, width=config.backbone_width)
        pyramid = FeaturePyramid(channels=backbone.stage_channels[-MAPS:], dim=dim, num_levels=config.num_levels)
        finest = backbone.stage_strides[-MAPS]
    return Fcos(
        backbone=backbone,
        pyramid=pyramid,
        class_tower=Tower(dim=dim, num_layers=config.tower_layers),
        box_tower=Tower(dim=dim, num_layers=config.tower_layers),
        class_head=DenseClassHead(dim=dim, num_classes=config.num_classes),
        box_head=small(nn.Conv2d(dim, 4, 3, padding=1)),
        centre_head=small(nn.Conv2d(dim, 1, 3, padding=1)),
        strides=[finest * 2**level for level in range(config.num_levels)],
        reach=config.reach,
        suppression=Suppression(iou=config.nms_iou, candidates=config.candidates, most=config.num_queries),
    )
