"""Deformable DETR: queries look at a few points of a feature pyramid, rather than at every token of one map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sleuth.backbones.levels import LevelProjection
from sleuth.backbones.resnet import ResNet, feature_mask
from sleuth.heads.scores import ScoreHead
from sleuth.models.detector import Detector
from sleuth.nn.deformable import MultiScaleDeformableAttention
from sleuth.nn.deformable_encoder import DeformableEncoder, valid_ratios
from sleuth.nn.deformable_layers import DeformableDecoderLayer, DeformableEncoderLayer
from sleuth.nn.feedforward import MLP, Activation
from sleuth.nn.positions import LearnedPositions2d, SinePositions2d
from sleuth.nn.refining import RefiningDecoder
from sleuth.queries.denoising import ContrastiveDenoising, DenoisingQueries
from sleuth.queries.placed import LearnedPlaces, PlacedQueries, PlacePositions, ProposedPlaces
from sleuth.queries.top_k import TopKSource
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.memory import Memory
from sleuth.types.predictions import Denoising, SetPrediction

_ACTIVATIONS: dict[str, Activation] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}


@dataclass(frozen=True)
class DeformableDetrConfig:
    """The numbers of a Deformable DETR.

    Args:
        backbone: resnet10, resnet18, resnet34, resnet50 or resnet101.
        num_classes: classes; 91 for COCO's own ids.
        num_queries: the most objects in a picture; of a two-stage model, how many proposals become queries.
        dim: embedding size of the transformer; a multiple of 32 and of num_heads.
        num_heads: attention heads.
        encoder_layers: layers of the encoder.
        decoder_layers: layers of the decoder, each of them supervised.
        feedforward_dim: hidden size of the feed-forward networks.
        dropout: in the transformer, while training.
        activation: relu, gelu or silu.
        positions: sine or learned.
        dilation: twice the resolution of the coarsest map, from a dilated last stage.
        frozen_norm: frozen batch norm in the backbone (published weights); False trains it (from scratch).
        backbone_width: channels of the first stage; 64 in the paper.
        backbone_stages: how many of the backbone's four stages are used; 4 in the paper.
        backbone_levels: how many of their maps become levels, the coarsest ones; 3 in the paper.
        num_levels: levels of the pyramid; those beyond the backbone's are made of its last map.
        encoder_points: points that each head of the encoder looks at on each level.
        decoder_points: points of each head of the decoder.
        refine: each decoder layer moves the boxes of the one before, with heads of its own.
        two_stage: queries are the encoder's best proposals rather than learned; wants ``refine``.
        decoder_num_heads: attention heads of the decoder; None takes ``num_heads``.
        decoder_feedforward_dim: hidden size of the decoder's feed-forward networks; None takes ``feedforward_dim``.
        attention_dropout: on the weights of self-attention among queries; None takes ``dropout``.
        activation_dropout: within feed-forward networks; None takes ``dropout``.

    Raises:
        ValueError: a number that makes no model, with its name.
    """

    backbone: Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
    num_classes: int = 91
    num_queries: int = 300
    dim: int = 256
    num_heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    feedforward_dim: int = 1024
    dropout: float = 0.1
    activation: Literal["relu", "gelu", "silu"] = "relu"
    positions: Literal["sine", "learned"] = "sine"
    dilation: bool = False
    frozen_norm: bool = True
    backbone_width: int = 64
    backbone_stages: int = 4
    backbone_levels: int = 3
    num_levels: int = 4
    encoder_points: int = 4
    decoder_points: int = 4
    refine: bool = False
    two_stage: bool = False
    decoder_num_heads: int | None = None
    decoder_feedforward_dim: int | None = None
    attention_dropout: float | None = None
    activation_dropout: float | None = None

    def __post_init__(self) -> None:
        for name in ("backbone", "activation", "positions"):
            known = get_args(type(self).__annotations__[name])
            if getattr(self, name) not in known:
                raise ValueError(f"{name} = {getattr(self, name)!r} is none of {', '.join(known)}")
        whole = ["num_classes", "num_queries", "num_heads", "decoder_layers", "feedforward_dim", "backbone_width"]
        whole += ["backbone_levels", "encoder_points", "decoder_points", "decoder_num_heads", "decoder_feedforward_dim"]
        for name, limit in {"dim": 32, "encoder_layers": 0, **dict.fromkeys(whole, 1)}.items():
            value = getattr(self, name)
            if value is not None and value < limit:
                raise ValueError(f"{name} = {value} is less than {limit}")
        for name in ("num_heads", "decoder_num_heads"):
            if self.dim % 32 or self.dim % (getattr(self, name) or 1):
                raise ValueError(f"dim = {self.dim} is not a multiple of 32 and of {name} = {getattr(self, name)}")
        if self.backbone_stages > 4:
            raise ValueError(f"backbone_stages = {self.backbone_stages} is more than the 4 that there are")
        if self.backbone_levels > self.backbone_stages:
            of = f"backbone_stages = {self.backbone_stages}"
            raise ValueError(f"backbone_levels = {self.backbone_levels} is more than {of}")
        if self.num_levels < self.backbone_levels:
            raise ValueError(f"num_levels = {self.num_levels} is less than backbone_levels = {self.backbone_levels}")
        if self.two_stage and not self.refine:
            raise ValueError("two_stage wants refine = true")
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is not at least 0 and below 1")


class DeformableDetr(Detector):
    """Backbone, pyramid, deformable encoder, queries with places, refining decoder, heads.

    DINO is put together from the same parts.

    Args: the parts, ready made; `build_deformable_detr` makes them from a `DeformableDetrConfig`.

    Source: Zhu et al. 2021, "Deformable DETR: Deformable Transformers for End-to-End Object Detection".
    """

    backbone: ResNet

    def __init__(
        self,
        *,
        backbone: ResNet,
        input_proj: LevelProjection,
        positions: SinePositions2d | LearnedPositions2d,
        encoder: DeformableEncoder,
        queries: LearnedPlaces | ProposedPlaces,
        decoder: RefiningDecoder,
        class_heads: Sequence[ScoreHead],
        denoising: ContrastiveDenoising | None = None,
    ) -> None:
        super().__init__()
        if denoising is not None and decoder.position is None:
            raise ValueError("denoising wants a decoder that makes positions of queries from their places")
        self.backbone = backbone
        self.input_proj = input_proj
        self.positions = positions
        norm = input_proj.norms[0]
        assert isinstance(norm, nn.GroupNorm)
        self.level_embed = nn.Parameter(torch.empty(len(input_proj.norms), norm.num_channels))
        nn.init.normal_(self.level_embed)
        self.encoder = encoder
        self.queries = queries
        self.decoder = decoder
        self.class_heads = nn.ModuleList(class_heads)
        self.denoising = denoising

    def forward(self, images: ImageBatch, targets: Sequence[Target] | None = None) -> SetPrediction:
        """Find the objects of each picture: memory, queries, states, heads.

        Args:
            images: the pictures.
            targets: their objects, for models that learn to denoise them; read in training mode only.
        """
        memory = self.encode(images)
        queries = self.queries(memory)
        noised = self._noised(queries, targets)
        content, references = self._with_noised(queries, noised)
        states = self.decoder(
            content,
            references,
            memory.tokens,
            memory.grids_hw,
            query_pos=queries.pos,
            valid_ratios=None if memory.valid is None else valid_ratios(memory.valid, memory.grids_hw),
            valid=memory.valid,
            attend=None if noised is None else noised.attend,
        )
        class_heads = [*self.class_heads] * (len(states.states) // len(self.class_heads))
        logits = torch.stack([head(state) for head, state in zip(class_heads, states.states, strict=True)])
        first = 0 if noised is None else noised.labels.shape[1]
        return SetPrediction(
            logits=logits[:, :, first:],
            boxes_cxcywh=states.boxes_cxcywh[:, :, first:],
            memory=memory,
            activation="sigmoid",
            proposals=queries.proposals,
            denoising=None
            if noised is None
            else Denoising(
                logits=logits[:, :, :first],
                boxes_cxcywh=states.boxes_cxcywh[:, :, :first],
                match=noised.match,
                groups=noised.groups,
                # As in the original, queries that fill up the batch pay too, where there is anything to find.
                present=None if len(noised.match.query) else noised.present,
            ),
        )

    def encode(self, images: ImageBatch) -> Memory:
        """The picture as the tokens of a pyramid that have looked around."""
        levels = self.input_proj(self.backbone.pyramid(images.pixels, self.input_proj.maps))
        grids_hw = tuple((level.shape[-2], level.shape[-1]) for level in levels)
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        valid = [feature_mask(images.valid, grid_hw) for grid_hw in grids_hw]
        pos = [self.positions(mask).flatten(1, 2) + embed for mask, embed in zip(valid, self.level_embed, strict=True)]
        # Without padding there is nothing to hide.
        token_valid = None if bool(images.valid.all()) else torch.cat([mask.flatten(1) for mask in valid], dim=1)
        all_pos = torch.cat(pos, dim=1).to(tokens.dtype)
        return Memory(
            tokens=self.encoder(tokens, all_pos, grids_hw, token_valid),
            pos=all_pos,
            valid=token_valid,
            grids_hw=grids_hw,
            input_hw=(images.pixels.shape[-2], images.pixels.shape[-1]),
        )

    def _noised(self, queries: PlacedQueries, targets: Sequence[Target] | None) -> DenoisingQueries | None:
        """Denoising queries while training, where there is something to find."""
        if self.denoising is None or targets is None or not self.training:
            return None
        return self.denoising(targets, queries.content.shape[1], queries.content.device)

    def _with_noised(self, queries: PlacedQueries, noised: DenoisingQueries | None) -> tuple[Tensor, Tensor]:
        """What the queries start with and where, denoising queries before the others."""
        content, references = queries.content, queries.references
        if self.denoising is None or not self.training:
            return content, references
        if noised is None:
            # Every parameter takes part in every step, or processes that train together would wait for one another.
            return content + 0.0 * self.denoising.labels.weight[0, 0], references
        content = torch.cat((self.denoising.content(noised).to(content.dtype), content), dim=1)
        return content, torch.cat((noised.references.sigmoid().to(references.dtype), references), dim=1)


def build_deformable_detr(config: DeformableDetrConfig) -> DeformableDetr:
    """A Deformable DETR with fresh weights."""
    backbone = build_backbone(config)
    heads = config.decoder_layers if config.refine else 1
    box_heads = [box_head(config) for _ in range(heads)]
    if not config.two_stage:
        # Learned queries start from points: the first boxes are about an eighth of the picture wide and high.
        last = box_heads[0].layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias[2:].detach(), -2.0)
    queries: LearnedPlaces | ProposedPlaces
    if config.two_stage:
        queries = ProposedPlaces(
            source=TopKSource(
                dim=config.dim,
                num_queries=config.num_queries,
                class_head=ScoreHead(dim=config.dim, num_classes=config.num_classes),
                box_head=box_head(config),
                rank_by="first",
            ),
            positions=PlacePositions(dim=config.dim),
            supervise_all=True,
        )
    else:
        queries = LearnedPlaces(num_queries=config.num_queries, dim=config.dim)
    sine = config.positions == "sine"
    return DeformableDetr(
        backbone=backbone,
        input_proj=build_levels(config, backbone),
        positions=SinePositions2d(dim=config.dim, offset=-0.5) if sine else LearnedPositions2d(dim=config.dim),
        encoder=build_encoder(config),
        queries=queries,
        decoder=RefiningDecoder(
            decoder_layers(config), box_heads=box_heads, refine=config.refine, look_forward_twice=False
        ),
        class_heads=[ScoreHead(dim=config.dim, num_classes=config.num_classes) for _ in range(heads)],
    )


def build_backbone(config: DeformableDetrConfig) -> ResNet:
    """The backbone of a Deformable DETR or a DINO."""
    return ResNet(
        name=config.backbone,
        frozen_norm=config.frozen_norm,
        dilate_last=config.dilation,
        num_stages=config.backbone_stages,
        width=config.backbone_width,
    )


def build_levels(config: DeformableDetrConfig, backbone: ResNet) -> LevelProjection:
    """What makes levels of the backbone's maps."""
    channels = backbone.stage_channels[-config.backbone_levels :]
    return LevelProjection(channels=channels, dim=config.dim, num_levels=config.num_levels)


def build_encoder(config: DeformableDetrConfig) -> DeformableEncoder:
    """The encoder."""
    layers = [
        DeformableEncoderLayer(
            dim=config.dim,
            attention=_attention(config, config.num_heads, config.encoder_points),
            feedforward_dim=config.feedforward_dim,
            dropout=config.dropout,
            activation_dropout=config.activation_dropout,
            activation=_ACTIVATIONS[config.activation],
        )
        for _ in range(config.encoder_layers)
    ]
    encoder = DeformableEncoder(layers)
    _xavier_feedforward(encoder)
    return encoder


def decoder_layers(config: DeformableDetrConfig) -> list[DeformableDecoderLayer]:
    """The layers of the decoder."""
    num_heads = config.decoder_num_heads or config.num_heads
    layers = [
        DeformableDecoderLayer(
            dim=config.dim,
            num_heads=num_heads,
            cross_attention=_attention(config, num_heads, config.decoder_points),
            feedforward_dim=config.decoder_feedforward_dim or config.feedforward_dim,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            activation_dropout=config.activation_dropout,
            activation=_ACTIVATIONS[config.activation],
        )
        for _ in range(config.decoder_layers)
    ]
    for layer in layers:
        _xavier_feedforward(layer)
    return layers


def box_head(config: DeformableDetrConfig) -> MLP:
    """A head that moves boxes, and at first leaves them where they are."""
    head = MLP(in_dim=config.dim, hidden_dim=config.dim, out_dim=4, num_layers=3)
    last = head.layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return head


def _attention(config: DeformableDetrConfig, num_heads: int, num_points: int) -> MultiScaleDeformableAttention:
    return MultiScaleDeformableAttention(
        dim=config.dim, num_heads=num_heads, num_levels=config.num_levels, num_points=num_points
    )


def _xavier_feedforward(part: nn.Module) -> None:
    """The original draws every matrix of the transformer so; attentions have drawn theirs already."""
    for name, module in part.named_modules():
        if isinstance(module, nn.Linear) and "feedforward" in name:
            nn.init.xavier_uniform_(module.weight)
