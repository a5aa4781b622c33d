"""The numbers of Sleuth's own detectors."""

from dataclasses import dataclass, fields
from typing import Literal

STRIDES = (8, 16, 32)
"""Of the levels of their memory, in pixels."""


@dataclass(frozen=True)
class SleuthConfig:
    """The numbers of a Sleuth detector.

    Args:
        num_classes: classes.
        num_queries: the most objects in a picture.
        backbone: resnet10, resnet14, resnet18, resnet34, resnet50; all of variant d.
        backbone_width: channels of the backbone's first stage.
        dim: embedding size of the pyramid and the queries; a multiple of 4 and of num_heads.
        num_heads: attention heads.
        encoder_layers: self-attention layers on the coarsest level.
        feedforward_dim: hidden size of the feed-forward networks.
        fusion_expansion: channels within the blocks that fuse levels, as a share of ``dim``.
        fusion_depth: RepVGG blocks in each of them, as a share of 3.
        decoder_layers: layers of the decoder, each of them supervised.
        num_points: points that each head looks at on each level.
        refinement: what layers refine: boxes, or edges, D-FINE's distributions over where the edges of boxes lie.
        look_forward_twice: while training, a layer's boxes teach the layer before it too; edges always start afresh.
        num_denoising: about how many denoising queries join while training; 0 for none.
        label_noise: chance of a noised label, half of which is taken.
        box_noise: how far noised boxes move.
        dense: while training, read a second pair of heads on every token of the memory.
        dropout: in the transformer layers.
        frozen_norm: frozen batch norm in the backbone, for pre-trained ones.

    Raises:
        ValueError: a number that makes no model, with its name.
    """

    num_classes: int = 80
    num_queries: int = 100
    backbone: Literal["resnet10", "resnet14", "resnet18", "resnet34", "resnet50"] = "resnet14"
    backbone_width: int = 32
    dim: int = 128
    num_heads: int = 4
    encoder_layers: int = 1
    feedforward_dim: int = 512
    fusion_expansion: float = 0.5
    fusion_depth: float = 0.34
    decoder_layers: int = 3
    num_points: int = 4
    refinement: Literal["boxes", "edges"] = "boxes"
    look_forward_twice: bool = True
    num_denoising: int = 0
    label_noise: float = 0.5
    box_noise: float = 1.0
    dense: bool = False
    dropout: float = 0.0
    frozen_norm: bool = False

    def __post_init__(self) -> None:
        least = {field.name: 1 for field in fields(self) if field.type is int}
        least |= {"encoder_layers": 0, "num_denoising": 0, "backbone_width": 4}
        for name, limit in least.items():
            if getattr(self, name) < limit:
                raise ValueError(f"{name} = {getattr(self, name)} is less than {limit}")
        if self.dim % 4 or self.dim % self.num_heads:
            raise ValueError(f"dim = {self.dim} is not a multiple of 4 and of num_heads = {self.num_heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout} is not at least 0 and below 1")
        if self.refinement not in ("boxes", "edges"):
            raise ValueError(f"refinement = {self.refinement!r} is none of boxes, edges")
        if self.backbone_width % 2:
            raise ValueError(f"backbone_width = {self.backbone_width} is not even")
