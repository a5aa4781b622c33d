"""DETR: a set of learned queries questions a picture, and each answer is an object or nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from sleuth.backbones.resnet import ResNet
from sleuth.backbones.vit_features import VitFeatures
from sleuth.heads.detection import BoxHead, ClassHead
from sleuth.heads.masks import MaskHead
from sleuth.models.detector import Detector
from sleuth.models.vit import build_vit_backbone
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.nn.attention import padding_mask
from sleuth.nn.feedforward import Activation
from sleuth.nn.layers import DecoderLayer, EncoderLayer
from sleuth.nn.positions import LearnedPositions2d, SinePositions2d
from sleuth.nn.stacks import Decoder, Encoder
from sleuth.queries.learned import LearnedQueries
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.memory import Memory
from sleuth.types.predictions import SetPrediction

DetrBackbone = Literal[
    "resnet10",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "vit-ti16",
    "vit-s16",
    "vit-b16",
    "dinov2-s14",
    "dinov2-b14",
    "vit-cifar",
    "vit-digits",
]
"""ResNets, and vision Transformers by their names in `VIT_VARIANTS`."""

_ACTIVATIONS: dict[str, Activation] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}


@dataclass(frozen=True)
class DetrConfig:
    """The numbers of a DETR.

    Args:
        backbone: resnet10, resnet18, resnet34, resnet50 or resnet101; or a vision Transformer, whose patches are the
            cells of the feature map: vit-ti16, vit-s16, vit-b16, dinov2-s14, dinov2-b14, or one for small pictures,
            vit-cifar (patches of 4 pixels) or vit-digits (of 2).
        num_classes: classes without no-object; 91 for COCO's own ids.
        num_queries: the most objects in a picture.
        dim: embedding size of the transformer; a multiple of 4 and of num_heads.
        num_heads: attention heads.
        encoder_layers: layers of the encoder.
        decoder_layers: layers of the decoder, each of them supervised.
        feedforward_dim: hidden size of the feed-forward networks.
        dropout: in the transformer, while training.
        activation: relu, gelu or silu.
        pre_norm: normalise before attention rather than after.
        positions: sine or learned.
        dilation: DC5, twice the feature resolution from a dilated last stage.
        frozen_norm: frozen batch norm in the ResNet (published weights); False trains it (from scratch).
        backbone_stages: how many of the ResNet's four stages are used; 4 in the paper.
        backbone_width: channels of the ResNet's first stage; 64 in the paper.
        supervise_encoder: while training, read the heads on the memory tokens as well.
        masks: add the mask head, for instance masks and panoptic segmentation; it wants a ResNet with all four
            stages.
        decoder_num_heads: attention heads of the decoder; None takes ``num_heads``.
        decoder_feedforward_dim: hidden size of the decoder's feed-forward networks; None takes ``feedforward_dim``.
        attention_dropout: on attention weights; None takes ``dropout``.
        activation_dropout: within feed-forward networks; None takes ``dropout``.
        norm_between_layers: decoder layers hand on normalised states, as models trained by Hugging Face with
            auxiliary losses do.

    Raises:
        ValueError: a number that makes no model, with its name.
    """

    backbone: DetrBackbone = "resnet50"
    num_classes: int = 91
    num_queries: int = 100
    dim: int = 256
    num_heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    feedforward_dim: int = 2048
    dropout: float = 0.1
    activation: Literal["relu", "gelu", "silu"] = "relu"
    pre_norm: bool = False
    positions: Literal["sine", "learned"] = "sine"
    dilation: bool = False
    frozen_norm: bool = True
    backbone_stages: int = 4
    backbone_width: int = 64
    supervise_encoder: bool = False
    masks: bool = False
    decoder_num_heads: int | None = None
    decoder_feedforward_dim: int | None = None
    attention_dropout: float | None = None
    activation_dropout: float | None = None
    norm_between_layers: bool = False

    def __post_init__(self) -> None:
        for name in ("backbone", "activation", "positions"):
            known = get_args(type(self).__annotations__[name])
            if getattr(self, name) not in known:
                raise ValueError(f"{name} = {getattr(self, name)!r} is none of {', '.join(known)}")
        least = {"num_classes": 1, "num_queries": 1, "dim": 4, "num_heads": 1, "encoder_layers": 0, "decoder_layers": 1}
        least |= dict.fromkeys(("feedforward_dim", "decoder_num_heads", "decoder_feedforward_dim"), 1)
        for name, limit in {**least, "backbone_stages": 1, "backbone_width": 1}.items():
            value = getattr(self, name)
            if value is not None and value < limit:
                raise ValueError(f"{name} = {value} is less than {limit}")
        for name in ("num_heads", "decoder_num_heads"):
            if self.dim % 4 or self.dim % (getattr(self, name) or 1):
                raise ValueError(f"dim = {self.dim} is not a multiple of 4 and of {name} = {getattr(self, name)}")
        if self.backbone_stages > 4:
            raise ValueError(f"backbone_stages = {self.backbone_stages} is more than the 4 that there are")
        if self.backbone in VIT_VARIANTS and (self.dilation or self.masks):
            name = "dilation" if self.dilation else "masks"
            raise ValueError(f"{name} = true wants the stages of a ResNet, which backbone = {self.backbone!r} has not")
        if self.masks and (self.backbone_stages < 4 or self.dim < 16):
            raise ValueError("masks want backbone_stages = 4 and dim of at least 16")
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is not at least 0 and below 1")


class Detr(Detector):
    """Backbone, encoder, object queries, decoder, heads.

    Args: the parts, ready made; `build_detr` makes them from a `DetrConfig`.

    Source: Carion et al. 2020, "End-to-End Object Detection with Transformers".
    """

    backbone: ResNet | VitFeatures
    mask_head: MaskHead | None

    def __init__(
        self,
        *,
        backbone: ResNet | VitFeatures,
        input_proj: nn.Conv2d,
        positions: SinePositions2d | LearnedPositions2d,
        encoder: Encoder,
        queries: LearnedQueries,
        decoder: Decoder,
        class_head: ClassHead,
        box_head: BoxHead,
        mask_head: MaskHead | None = None,
        supervise_encoder: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.input_proj = input_proj
        self.positions = positions
        self.encoder = encoder
        self.queries = queries
        self.decoder = decoder
        self.class_head = class_head
        self.box_head = box_head
        self.mask_head = mask_head
        self.supervise_encoder = supervise_encoder

    def forward(self, images: ImageBatch, targets: Sequence[Target] | None = None) -> SetPrediction:
        """Find the objects of each picture: memory, queries, states, heads."""
        memory = self.encode(images)
        queries = self.queries(memory)
        states = self.decoder(
            queries.content,
            memory.tokens,
            query_pos=queries.pos,
            memory_pos=memory.pos,
            attend_memory=None if memory.valid is None else padding_mask(memory.valid),
        )
        look_at_memory = self.supervise_encoder and self.training
        return SetPrediction(
            logits=self.class_head(states),
            boxes_cxcywh=self.box_head(states),
            memory=memory,
            memory_logits=self.class_head(memory.tokens) if look_at_memory else None,
            memory_boxes_cxcywh=self.box_head(memory.tokens) if look_at_memory else None,
            masks=None if self.mask_head is None else self.mask_head(states[-1], memory),
        )

    def encode(self, images: ImageBatch) -> Memory:
        """The picture as a sequence of tokens that have looked at each other."""
        finer: list[torch.Tensor] = []
        features, valid = self.backbone.features(images, finer if self.mask_head is not None else None)
        grid_hw = (features.shape[-2], features.shape[-1])
        projected = self.input_proj(features)
        tokens = projected.flatten(2).transpose(1, 2)
        pos = self.positions(valid).flatten(1, 2).to(features.dtype)
        # Without padding there is nothing to hide, and attention without a mask is faster.
        token_valid = None if bool(valid.all()) else valid.flatten(1)
        tokens = self.encoder(tokens, pos, None if token_valid is None else padding_mask(token_valid))
        return Memory(
            tokens=tokens,
            pos=pos,
            valid=token_valid,
            grids_hw=(grid_hw,),
            input_hw=(images.pixels.shape[-2], images.pixels.shape[-1]),
            pyramid=(*finer, projected) if self.mask_head is not None else (),
        )


def build_detr(config: DetrConfig) -> Detr:
    """A DETR with fresh weights."""
    dim, activation = config.dim, _ACTIVATIONS[config.activation]

    def encoder_layer() -> EncoderLayer:
        return EncoderLayer(
            dim=dim,
            num_heads=config.num_heads,
            feedforward_dim=config.feedforward_dim,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            activation_dropout=config.activation_dropout,
            activation=activation,
            pre_norm=config.pre_norm,
        )

    def decoder_layer() -> DecoderLayer:
        return DecoderLayer(
            dim=dim,
            num_heads=config.decoder_num_heads or config.num_heads,
            feedforward_dim=config.decoder_feedforward_dim or config.feedforward_dim,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            activation_dropout=config.activation_dropout,
            activation=activation,
            pre_norm=config.pre_norm,
        )

    backbone = _backbone(config)
    model = Detr(
        backbone=backbone,
        input_proj=nn.Conv2d(backbone.channels, dim, kernel_size=1),
        positions=SinePositions2d(dim=dim) if config.positions == "sine" else LearnedPositions2d(dim=dim),
        encoder=Encoder(
            [encoder_layer() for _ in range(config.encoder_layers)],
            norm=nn.LayerNorm(dim) if config.pre_norm else None,
        ),
        queries=LearnedQueries(num_queries=config.num_queries, dim=dim),
        decoder=Decoder(
            [decoder_layer() for _ in range(config.decoder_layers)],
            norm=nn.LayerNorm(dim),
            norm_between=config.norm_between_layers,
        ),
        class_head=ClassHead(dim=dim, num_classes=config.num_classes),
        box_head=BoxHead(dim=dim),
        mask_head=_mask_head(config, backbone) if isinstance(backbone, ResNet) and config.masks else None,
        supervise_encoder=config.supervise_encoder,
    )
    _each_linear(model.encoder, nn.init.xavier_uniform_)
    _each_linear(model.decoder, nn.init.xavier_uniform_)
    return model


def _backbone(config: DetrConfig) -> ResNet | VitFeatures:
    if config.backbone in VIT_VARIANTS:
        # What reads a map rather than a pooled vector wants normalised cells, wherever the classifier normalises.
        return VitFeatures(build_vit_backbone(replace(VIT_VARIANTS[config.backbone], norm_after_pool=False)))
    return ResNet(
        name=config.backbone,
        frozen_norm=config.frozen_norm,
        dilate_last=config.dilation,
        num_stages=config.backbone_stages,
        width=config.backbone_width,
    )


def _mask_head(config: DetrConfig, backbone: ResNet) -> MaskHead:
    """A mask head over the stages below the last, coarse to fine."""
    return MaskHead(
        dim=config.dim,
        num_heads=config.num_heads,
        pyramid_channels=backbone.stage_channels[-2::-1],
        activation=_ACTIVATIONS[config.activation],
    )


def _each_linear(part: nn.Module, init: Callable[[torch.Tensor], object]) -> None:
    for module in part.modules():
        if isinstance(module, nn.Linear):
            init(module.weight)
