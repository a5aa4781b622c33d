"""Segmenter: a plain vision Transformer whose patches are parted among classes.

Every pixel gets a class. The patches are the memory; in the mask Transformer the queries are the classes, one each, and
a class's state claims the patches that are like it.
"""

from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from sleuth.backbones.vit import VitBackbone
from sleuth.heads.semantic import LinearSemanticHead, MaskTransformerHead
from sleuth.models.vit import VitConfig, build_vit_backbone
from sleuth.nn.attention import SelfAttention
from sleuth.nn.blocks import PreNormBlock
from sleuth.nn.drop_path import drop_path_shares
from sleuth.nn.feedforward import FeedForward, gelu_of_own
from sleuth.types.batches import ImageBatch
from sleuth.types.predictions import SemanticPrediction

MOST_CLASSES = 255
"""A class is a number of 8 bits, of which the last means that nobody has said what is there."""


@dataclass(frozen=True)
class SegmenterConfig:
    """The numbers of a Segmenter.

    Args:
        vit: those of the backbone; what it says of pooling and classes is not used.
        num_classes: classes, at most 255.
        head: linear (one layer on each patch) or mask (class queries go through blocks with the patches).
        head_depth: blocks of the mask head.
        head_dropout: on both branches of these blocks, while training.
        head_drop_path: share of pictures for which the last of them is left out while training.

    Raises:
        ValueError: a number that makes no model, with its name.
    """

    vit: VitConfig
    num_classes: int = 2
    head: Literal["linear", "mask"] = "mask"
    head_depth: int = 2
    head_dropout: float = 0.1
    head_drop_path: float = 0.0

    def __post_init__(self) -> None:
        if self.head not in ("linear", "mask"):
            raise ValueError(f"head = {self.head!r} is none of linear, mask")
        if not 1 <= self.num_classes <= MOST_CLASSES:
            raise ValueError(f"num_classes = {self.num_classes} is not between 1 and {MOST_CLASSES}")
        if self.head_depth < 1:
            raise ValueError(f"head_depth = {self.head_depth} is less than 1")
        for name in ("head_dropout", "head_drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is not at least 0 and below 1")
        if self.vit.norm_after_pool:
            raise ValueError("norm_after_pool = true: here every token is read, and nothing is pooled")


def as_backbone(config: VitConfig) -> VitConfig:
    """The numbers of a classifier without what makes it answer: the tokens and blocks stay, every token is normalised.

    >>> as_backbone(VitConfig(num_classes=10)).num_classes
    0
    """
    return replace(
        config,
        num_classes=0,
        pool="class" if config.class_token else "mean",
        norm_after_pool=False,
        pooler=False,
        distillation="none" if config.distillation == "none" else "token",
    )


class Segmenter(nn.Module):
    """Backbone and head.

    Args:
        backbone: pictures to states of patches.
        head: states of patches to class logits at each patch.

    Source: Strudel et al. 2021, "Segmenter: Transformer for Semantic Segmentation".
    """

    def __init__(self, *, backbone: VitBackbone, head: LinearSemanticHead | MaskTransformerHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: ImageBatch) -> SemanticPrediction:
        """Say what each patch shows.

        Args:
            images: pictures of any sizes, padded into one batch.

        Raises:
            UserError: a picture is smaller than a patch.
        """
        memory = self.backbone(images)
        logits: Float[Tensor, "batch classes rows columns"] = self.head(memory)
        return SemanticPrediction(logits=logits, patch_size=self.backbone.patch_size, memory=memory)


def build_segmenter(config: SegmenterConfig) -> Segmenter:
    """A Segmenter with fresh weights."""
    model = Segmenter(backbone=build_vit_backbone(config.vit), head=_head(config))
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def _head(config: SegmenterConfig) -> LinearSemanticHead | MaskTransformerHead:
    vit = config.vit
    if config.head == "linear":
        return LinearSemanticHead(dim=vit.dim, num_classes=config.num_classes)
    blocks = [
        PreNormBlock(
            dim=vit.dim,
            attention=SelfAttention(dim=vit.dim, num_heads=vit.num_heads),
            feedforward=FeedForward(dim=vit.dim, hidden_dim=vit.feedforward_dim, activation=gelu_of_own),
            norm_eps=vit.norm_eps,
            drop_path=share,
            dropout=config.head_dropout,
        )
        for share in drop_path_shares(config.head_drop_path, config.head_depth)
    ]
    return MaskTransformerHead(dim=vit.dim, num_classes=config.num_classes, blocks=blocks, norm_eps=vit.norm_eps)
