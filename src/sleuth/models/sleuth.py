"""Sleuth's own detectors: what the family has learned, put together for small data and native picture shapes.

A ResNet-D and RT-DETR's hybrid encoder make the memory; its best tokens become queries (two-stage); a few decoder
layers look at the memory by deformable attention and refine boxes; scores learn by the matchability-aware loss. Two
more helps for training are there for those who want them, and were measured to bring nothing on small data:
denoising queries, and a second pair of heads that reads every token of the memory. Both are gone at inference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor, nn

from sleuth.backbones.hybrid_encoder import HybridEncoder
from sleuth.backbones.resnet import ResNet
from sleuth.heads.scores import ScoreHead
from sleuth.models.detector import Detector
from sleuth.models.frame import into_input, out_of_input, padded_to, picture_share
from sleuth.nn.deformable import MultiScaleDeformableAttention
from sleuth.nn.deformable_layers import DeformableDecoderLayer
from sleuth.nn.feedforward import MLP
from sleuth.nn.refining import RefiningDecoder
from sleuth.queries.anchors import grid_anchors
from sleuth.queries.denoising import ContrastiveDenoising
from sleuth.queries.top_k import TopKSource
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.memory import Memory
from sleuth.types.predictions import Denoising, Proposals, SetPrediction

STRIDES = (8, 16, 32)


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
        look_forward_twice: while training, a layer's boxes teach the layer before it too.
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
        if self.backbone_width % 2:
            raise ValueError(f"backbone_width = {self.backbone_width} is not even")


class Sleuth(Detector):
    """Backbone, hybrid encoder, picked queries, refining decoder, heads.

    Args: the parts, ready made; `build_sleuth` makes them from a `SleuthConfig`.
    """

    backbone: ResNet

    def __init__(
        self,
        *,
        backbone: ResNet,
        encoder: HybridEncoder,
        queries: TopKSource,
        decoder: RefiningDecoder,
        class_heads: Sequence[nn.Module],
        denoising: ContrastiveDenoising | None = None,
        dense: "DenseHeads | None" = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.encoder = encoder
        self.queries = queries
        self.decoder = decoder
        self.class_heads = nn.ModuleList(class_heads)
        self.denoising = denoising
        self.dense = dense

    def forward(self, images: ImageBatch, targets: Sequence[Target] | None = None) -> SetPrediction:
        """Find the objects of each picture: memory, queries, states, heads.

        Args:
            images: the pictures, of any size.
            targets: their objects, for denoising; read in training mode only.
        """
        images = padded_to(images, STRIDES[-1])
        share = picture_share(images.valid)
        memory = self.encode(images)
        picked = self.queries(memory.tokens, memory.grids_hw)
        content, references, attend = picked.content, picked.references.detach().sigmoid(), None
        noised = None
        if self.training and self.denoising is not None and targets is not None:
            noised = self.denoising(into_input(targets, share), content.shape[1], content.device)
        if noised is not None and self.denoising is not None:
            content = torch.cat((self.denoising.labels(noised.labels).to(content.dtype), content), dim=1)
            references = torch.cat((noised.references.sigmoid(), references), dim=1)
            attend = noised.attend
        found = self.decoder(content, references, memory.tokens, memory.grids_hw, attend=attend)
        logits = torch.stack([head(states) for head, states in zip(self.class_heads, found.states, strict=True)])
        boxes = out_of_input(found.boxes_cxcywh, share)
        count = 0 if noised is None else noised.labels.shape[1]
        dense = self.dense(memory) if self.training and self.dense is not None else None
        return SetPrediction(
            logits=logits[:, :, count:],
            boxes_cxcywh=boxes[:, :, count:],
            memory=memory,
            memory_logits=None if dense is None else dense[0],
            memory_boxes_cxcywh=None if dense is None else out_of_input(dense[1], share),
            memory_centres=None if dense is None else out_of_input(dense[2].expand_as(dense[1]), share)[..., :2],
            activation="sigmoid",
            proposals=Proposals(picked.logits, out_of_input(picked.references.sigmoid(), share))
            if self.training
            else None,
            denoising=None
            if noised is None
            else Denoising(
                logits=logits[:, :, :count],
                boxes_cxcywh=boxes[:, :, :count],
                match=noised.match,
                groups=noised.groups,
            ),
        )

    def encode(self, images: ImageBatch) -> Memory:
        """The picture, its sides multiples of 32 pixels, as a pyramid of tokens."""
        levels = self.encoder(self.backbone.pyramid(images.pixels))
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        return Memory(
            tokens=tokens,
            pos=tokens.new_zeros(()).expand_as(tokens),
            valid=None,
            grids_hw=tuple((level.shape[-2], level.shape[-1]) for level in levels),
            input_hw=(images.pixels.shape[-2], images.pixels.shape[-1]),
        )


class DenseHeads(nn.Module):
    """Training-only heads that read every token of the memory: one object, many answers."""

    def __init__(self, *, dim: int, num_classes: int) -> None:
        super().__init__()
        self.class_head = ScoreHead(dim=dim, num_classes=num_classes)
        self.box_head = zero_ended(MLP(in_dim=dim, hidden_dim=dim, out_dim=4, num_layers=2))

    def forward(self, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, boxes and anchors of every token."""
        anchors, _ = grid_anchors(memory.grids_hw, device=memory.tokens.device, margin=0.0)
        boxes = (self.box_head(memory.tokens) + anchors).sigmoid()
        return self.class_head(memory.tokens), boxes, anchors.sigmoid()


def zero_ended(mlp: MLP) -> MLP:
    """A perceptron that says zero at first."""
    nn.init.zeros_(mlp.layers[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(mlp.layers[-1].bias)  # type: ignore[arg-type]
    return mlp


def build_sleuth(config: SleuthConfig) -> Sleuth:
    """A Sleuth detector with fresh weights."""
    dim, classes, layers = config.dim, config.num_classes, config.decoder_layers
    backbone = ResNet(name=config.backbone, frozen_norm=config.frozen_norm, width=config.backbone_width, variant="d")
    encoder = HybridEncoder(
        in_channels=backbone.stage_channels[-3:],
        dim=dim,
        num_heads=config.num_heads,
        feedforward_dim=config.feedforward_dim,
        num_layers=config.encoder_layers,
        dropout=config.dropout,
        expansion=config.fusion_expansion,
        depth=config.fusion_depth,
    )

    def box_head() -> MLP:
        return zero_ended(MLP(in_dim=dim, hidden_dim=dim, out_dim=4, num_layers=3))

    def decoder_layer() -> DeformableDecoderLayer:
        attention = MultiScaleDeformableAttention(
            dim=dim,
            num_heads=config.num_heads,
            num_levels=len(STRIDES),
            num_points=config.num_points,
        )
        return DeformableDecoderLayer(
            dim=dim,
            num_heads=config.num_heads,
            cross_attention=attention,
            feedforward_dim=config.feedforward_dim,
            dropout=config.dropout,
        )

    return Sleuth(
        backbone=backbone,
        encoder=encoder,
        queries=TopKSource(
            dim=dim,
            num_queries=config.num_queries,
            class_head=ScoreHead(dim=dim, num_classes=classes),
            box_head=box_head(),
        ),
        decoder=RefiningDecoder(
            [decoder_layer() for _ in range(layers)],
            box_heads=[box_head() for _ in range(layers)],
            position=MLP(in_dim=4, hidden_dim=2 * dim, out_dim=dim, num_layers=2),
            look_forward_twice=config.look_forward_twice,
        ),
        class_heads=[ScoreHead(dim=dim, num_classes=classes) for _ in range(layers)],
        denoising=ContrastiveDenoising(
            num_classes=classes,
            dim=dim,
            num_queries=config.num_denoising,
            label_noise=config.label_noise,
            box_noise=config.box_noise,
        )
        if config.num_denoising
        else None,
        dense=DenseHeads(dim=dim, num_classes=classes) if config.dense else None,
    )
