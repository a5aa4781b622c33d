"""RT-DETR: a convolutional pyramid proposes queries, and a short decoder refines them; fast enough for video.

A hybrid encoder makes the memory; its best tokens become queries (two-stage), denoising queries join them while
training; every decoder layer looks at the memory by deformable attention and moves the boxes. Versions 1 and 2 share
this computation; version 2 gives each level its own number of points, samples without interpolation if asked, and ranks
tokens in other ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sleuth.backbones.hybrid_encoder import HybridEncoder
from sleuth.backbones.resnet import ResNet
from sleuth.heads.scores import ScoreHead
from sleuth.models.detector import Detector
from sleuth.models.frame import into_input, out_of_input, padded_to, picture_share
from sleuth.nn.convolution import ConvNorm
from sleuth.nn.deformable import MultiScaleDeformableAttention, discrete_attention
from sleuth.nn.deformable_fastest import fastest_attention
from sleuth.nn.deformable_layers import DeformableDecoderLayer
from sleuth.nn.feedforward import MLP, Activation, zero_ended
from sleuth.nn.refining import RefiningDecoder
from sleuth.queries.denoising import ContrastiveDenoising, DenoisingQueries, Noise
from sleuth.queries.top_k import TopKQueries, TopKSource
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.memory import Memory
from sleuth.types.predictions import Denoising, Proposals, SetPrediction

STRIDE = 32
"""Pixels of the picture for one cell of the backbone's coarsest map; inputs are padded to its multiples."""

_ACTIVATIONS: dict[str, Activation] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}


@dataclass(frozen=True)
class RtDetrConfig:
    """The numbers of an RT-DETR.

    Args:
        version: 1 or 2: whose files it reads and writes. What only version 2 has is refused for version 1.
        backbone: resnet10, resnet18, resnet34, resnet50 or resnet101, all of variant d.
        backbone_width: channels of the backbone's first stage; even, 64 in the papers.
        frozen_norm: frozen batch norm in the backbone, as the published large models; False trains it.
        levels: how many of the backbone's maps are used, from the coarsest on; 3 in the papers.
        num_classes: classes; 80 for COCO.
        num_queries: the most objects in a picture.
        dim: embedding size of the decoder; a multiple of num_heads.
        num_heads: attention heads of the decoder.
        feedforward_dim: hidden size of the decoder's feed-forward networks.
        decoder_layers: layers of the decoder, each of them supervised.
        eval_layers: layers that run in evaluation, where fewer are faster; None runs all.
        num_points: points of each head on each level; one more level than ``levels`` adds a coarser one.
        offset_scale: reach of the points, relative to the box; 0.5 in the papers.
        cross_attention: default (bilinear) or discrete (the nearest cell; for inference and fine-tuning).
        query_select: how tokens are ranked: default (by the greatest class), one2many (every class of every token, so
            that a token may become several queries) or agnostic (by one score of its own).
        learned_queries: queries start with learned contents rather than those of their tokens.
        activation: of the decoder's feed-forward networks: relu, gelu or silu.
        dropout: in the transformer layers, while training.
        encoder_dim: channels of the hybrid encoder; a multiple of 4 and of encoder_num_heads.
        encoder_num_heads: its attention heads.
        encoder_layers: its attention layers, on the coarsest map.
        encoder_feedforward_dim: hidden size of their feed-forward networks.
        encoder_expansion: channels within the blocks that fuse levels, as a share of ``encoder_dim``.
        encoder_depth: RepVGG blocks in each of them, as a share of 3.
        encoder_activation: of the encoder's convolutions: relu, gelu or silu.
        positions: rows, or original: as the original code has them, the same on squares and wrong elsewhere.
        num_denoising: about how many denoising queries join while training; 0 for none.
        label_noise: chance of a noised label, half of which is taken.
        box_noise: how far noised boxes move.

    Raises:
        ValueError: a number that makes no model, with its name.
    """

    version: Literal[1, 2] = 2
    backbone: Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
    backbone_width: int = 64
    frozen_norm: bool = True
    levels: int = 3
    num_classes: int = 80
    num_queries: int = 300
    dim: int = 256
    num_heads: int = 8
    feedforward_dim: int = 1024
    decoder_layers: int = 6
    eval_layers: int | None = None
    num_points: tuple[int, ...] = (4, 4, 4)
    offset_scale: float = 0.5
    cross_attention: Literal["default", "discrete"] = "default"
    query_select: Literal["default", "one2many", "agnostic"] = "default"
    learned_queries: bool = False
    activation: Literal["relu", "gelu", "silu"] = "relu"
    dropout: float = 0.0
    encoder_dim: int = 256
    encoder_num_heads: int = 8
    encoder_layers: int = 1
    encoder_feedforward_dim: int = 1024
    encoder_expansion: float = 1.0
    encoder_depth: float = 1.0
    encoder_activation: Literal["relu", "gelu", "silu"] = "silu"
    positions: Literal["rows", "original"] = "rows"
    num_denoising: int = 100
    label_noise: float = 0.5
    box_noise: float = 1.0

    def __post_init__(self) -> None:
        for name, kind in type(self).__annotations__.items():
            known = get_args(kind)
            if known and type(None) not in known and Ellipsis not in known and getattr(self, name) not in known:
                raise ValueError(f"{name} = {getattr(self, name)!r} is none of {', '.join(map(str, known))}")
        least = {name: 1 for name, kind in type(self).__annotations__.items() if kind is int}
        least |= {"encoder_layers": 0, "num_denoising": 0, "eval_layers": 1, "backbone_width": 2}
        for name, limit in least.items():
            value = getattr(self, name)
            if value is not None and value < limit:
                raise ValueError(f"{name} = {value} is less than {limit}")
        if self.backbone_width % 2:
            raise ValueError(f"backbone_width = {self.backbone_width} is not even")
        if self.levels > 4:
            raise ValueError(f"levels = {self.levels} is more than the 4 that there are")
        if self.dim % self.num_heads:
            raise ValueError(f"dim = {self.dim} is not a multiple of num_heads = {self.num_heads}")
        if self.encoder_dim % 4 or self.encoder_dim % self.encoder_num_heads:
            what = f"of 4 and of encoder_num_heads = {self.encoder_num_heads}"
            raise ValueError(f"encoder_dim = {self.encoder_dim} is not a multiple {what}")
        if self.eval_layers is not None and self.eval_layers > self.decoder_layers:
            raise ValueError(f"eval_layers = {self.eval_layers} is more than decoder_layers = {self.decoder_layers}")
        if len(self.num_points) - self.levels not in (0, 1) or min(self.num_points, default=0) < 1:
            what = f"at least one point for each of levels = {self.levels}, and perhaps for one more"
            raise ValueError(f"num_points = {self.num_points} does not give {what}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout} is not at least 0 and below 1")
        for name in ("offset_scale", "encoder_expansion", "encoder_depth", "label_noise", "box_noise"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} = {getattr(self, name)} is not a number of at least 0")
        if int(self.encoder_dim * self.encoder_expansion) < 1:
            raise ValueError(f"encoder_expansion = {self.encoder_expansion} leaves no channels")
        if self.version == 1:
            self._check_version_1()

    def _check_version_1(self) -> None:
        if len(set(self.num_points)) > 1:
            raise ValueError(f"num_points = {self.num_points} differ, which only version 2 knows")
        for name, only in (("offset_scale", 0.5), ("cross_attention", "default"), ("query_select", "default")):
            if getattr(self, name) != only:
                raise ValueError(f"{name} = {getattr(self, name)!r} is known to version 2 alone")


class RtDetr(Detector):
    """Backbone, hybrid encoder, picked queries, refining decoder, heads.

    Args: the parts, ready made; `build_rtdetr` makes them from an `RtDetrConfig`.

    Source: Zhao et al. 2023, "DETRs Beat YOLOs on Real-time Object Detection"; Lv et al. 2024, "RT-DETRv2".
    """

    backbone: ResNet

    def __init__(
        self,
        *,
        backbone: ResNet,
        encoder: HybridEncoder,
        input_proj: Sequence[nn.Module],
        queries: TopKSource,
        decoder: RefiningDecoder,
        class_heads: Sequence[nn.Module],
        denoising: ContrastiveDenoising | None = None,
        levels: int = 3,
        eval_layers: int | None = None,
        class_agnostic: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.encoder = encoder
        self.input_proj = nn.ModuleList(input_proj)
        self.queries = queries
        self.decoder = decoder
        self.class_heads = nn.ModuleList(class_heads)
        self.denoising = denoising
        self.levels = levels
        self.eval_layers = eval_layers
        self.class_agnostic = class_agnostic

    def forward(
        self, images: ImageBatch, targets: Sequence[Target] | None = None, noise: Noise | None = None
    ) -> SetPrediction:
        """Find the objects of each picture: memory, queries, states, heads.

        Args:
            images: the pictures, of any size.
            targets: the objects to find, for denoising; read only while training.
            noise: random numbers for denoising; by default they are drawn.
        """
        images = padded_to(images, STRIDE)
        share = picture_share(images.valid)
        memory = self.encode(images)
        picked = self.queries(memory.tokens, memory.grids_hw)
        noised = self._noised(targets, picked, share, noise)
        content, references = picked.content, picked.references.detach()
        if noised is not None and self.denoising is not None:
            content = torch.cat((self.denoising.labels(noised.labels).to(content.dtype), content), dim=1)
            references = torch.cat((noised.references.to(references.dtype), references), dim=1)
        found = self.decoder(
            content,
            references.sigmoid(),
            memory.tokens,
            memory.grids_hw,
            attend=None if noised is None else noised.attend,
            num_layers=None if self.training else self.eval_layers,
        )
        logits = torch.stack([head(states) for head, states in zip(self.class_heads, found.states, strict=False)])
        boxes = self._of_picture(found.boxes_cxcywh, share)
        first = 0 if noised is None else noised.labels.shape[1]
        return SetPrediction(
            logits=logits[:, :, first:],
            boxes_cxcywh=boxes[:, :, first:],
            memory=memory,
            activation="sigmoid",
            proposals=Proposals(
                logits=picked.logits,
                boxes_cxcywh=self._of_picture(picked.references.sigmoid(), share),
                class_agnostic=self.class_agnostic,
            ),
            denoising=None
            if noised is None
            else Denoising(
                logits=logits[:, :, :first],
                boxes_cxcywh=boxes[:, :, :first],
                match=noised.match,
                groups=noised.groups,
            ),
        )

    def encode(self, images: ImageBatch) -> Memory:
        """The pictures, with sides that are multiples of 32, as a pyramid of tokens."""
        maps = self.encoder(self.backbone.pyramid(images.pixels, self.levels))
        # A level beyond the encoder's is made of its coarsest.
        levels = [project(maps[min(at, len(maps) - 1)]) for at, project in enumerate(self.input_proj)]
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        return Memory(
            tokens=tokens,
            # Tokens of this family have no position: queries know where they look.
            pos=tokens.new_zeros(1).expand_as(tokens),
            valid=None,
            grids_hw=tuple((level.shape[-2], level.shape[-1]) for level in levels),
            input_hw=(images.pixels.shape[-2], images.pixels.shape[-1]),
        )

    def _of_picture(self, boxes_cxcywh: Tensor, share: Tensor) -> Tensor:
        """Boxes relative to the unpadded pictures; an answer may lie in padding, and is moved to the border."""
        boxes = out_of_input(boxes_cxcywh, share)
        return boxes if self.training else boxes.clamp(max=1)

    def _noised(
        self, targets: Sequence[Target] | None, picked: TopKQueries, share: Tensor, noise: Noise | None
    ) -> DenoisingQueries | None:
        """The denoising queries of a training step; None without one, or without any object."""
        if not self.training or self.denoising is None or targets is None:
            return None
        made: DenoisingQueries | None = self.denoising(
            into_input(targets, share), picked.content.shape[1], share.device, noise
        )
        return made


def build_rtdetr(config: RtDetrConfig) -> RtDetr:
    """An RT-DETR with fresh weights."""
    dim, layers = config.dim, config.decoder_layers
    backbone = ResNet(name=config.backbone, frozen_norm=config.frozen_norm, width=config.backbone_width, variant="d")
    encoder = HybridEncoder(
        in_channels=backbone.stage_channels[-config.levels :],
        dim=config.encoder_dim,
        num_heads=config.encoder_num_heads,
        feedforward_dim=config.encoder_feedforward_dim,
        num_layers=config.encoder_layers,
        dropout=config.dropout,
        expansion=config.encoder_expansion,
        depth=config.encoder_depth,
        activation=_ACTIVATIONS[config.encoder_activation],
        positions=config.positions,
    )
    agnostic = config.query_select == "agnostic"
    position = MLP(in_dim=4, hidden_dim=2 * dim, out_dim=dim, num_layers=2)
    for layer in position.layers:
        nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]
    queries = TopKSource(
        dim=dim,
        num_queries=config.num_queries,
        class_head=ScoreHead(dim=dim, num_classes=1 if agnostic else config.num_classes),
        box_head=_box_head(dim),
        content="learned" if config.learned_queries else "memory",
        rank_by="each" if config.query_select == "one2many" else "greatest",
    )
    if queries.content is not None:
        nn.init.xavier_uniform_(queries.content)
    denoising = None
    if config.num_denoising:
        denoising = ContrastiveDenoising(
            num_classes=config.num_classes,
            dim=dim,
            num_queries=config.num_denoising,
            label_noise=config.label_noise,
            box_noise=config.box_noise,
        )
    return RtDetr(
        backbone=backbone,
        encoder=encoder,
        input_proj=_input_proj(config),
        queries=queries,
        decoder=RefiningDecoder(
            [_decoder_layer(config) for _ in range(layers)],
            box_heads=[_box_head(dim) for _ in range(layers)],
            position=position,
        ),
        class_heads=[ScoreHead(dim=dim, num_classes=config.num_classes) for _ in range(layers)],
        denoising=denoising,
        levels=config.levels,
        eval_layers=config.eval_layers,
        class_agnostic=agnostic,
    )


def _input_proj(config: RtDetrConfig) -> list[ConvNorm]:
    """What makes the decoder's levels of the encoder's; a coarser one has half the size of the last."""
    wide, dim, coarser = config.encoder_dim, config.dim, len(config.num_points) - config.levels
    return [
        *(ConvNorm(in_channels=wide, out_channels=dim) for _ in range(config.levels)),
        *(ConvNorm(in_channels=wide, out_channels=dim, kernel_size=3, stride=2) for _ in range(coarser)),
    ]


def _decoder_layer(config: RtDetrConfig) -> DeformableDecoderLayer:
    return DeformableDecoderLayer(
        dim=config.dim,
        num_heads=config.num_heads,
        cross_attention=MultiScaleDeformableAttention(
            dim=config.dim,
            num_heads=config.num_heads,
            num_levels=len(config.num_points),
            num_points=config.num_points,
            core=discrete_attention if config.cross_attention == "discrete" else fastest_attention,
            offset_scale=config.offset_scale,
        ),
        feedforward_dim=config.feedforward_dim,
        dropout=config.dropout,
        activation=_ACTIVATIONS[config.activation],
    )


def _box_head(dim: int) -> MLP:
    """Moves boxes in the space of logits, and not at all at first."""
    return zero_ended(MLP(in_dim=dim, hidden_dim=dim, out_dim=4, num_layers=3))
