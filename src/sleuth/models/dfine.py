"""D-FINE: a real-time DETR whose decoder refines distributions over where the edges of boxes lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from sleuth.backbones.hgnetv2 import HgNetV2, HgNetV2Name
from sleuth.backbones.hybrid_encoder import HybridEncoder
from sleuth.backbones.resnet import feature_mask
from sleuth.heads.scores import ScoreHead
from sleuth.models.detector import Detector
from sleuth.models.edge_decoder import edge_decoder, still_head
from sleuth.models.frame import corners_out_of_input, into_input, out_of_input, padded_to, picture_share
from sleuth.nn.convolution import ConvNorm
from sleuth.nn.deformable import DeformableCore, MultiScaleDeformableAttention, discrete_attention
from sleuth.nn.deformable_fastest import fastest_attention
from sleuth.nn.fdr_decoder import FdrDecoder, FineRefinement, GatedDecoderLayer
from sleuth.queries.denoising import ContrastiveDenoising, DenoisingQueries
from sleuth.queries.top_k import TopKSource
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.memory import Memory
from sleuth.types.predictions import Denoising, Proposals, SetPrediction

_CORES: dict[str, DeformableCore] = {"bilinear": fastest_attention, "discrete": discrete_attention}


@dataclass(frozen=True)
class DfineConfig:
    """The numbers of a D-FINE; the defaults are those of D-FINE-L on COCO.

    Args:
        backbone: hgnetv2_b0 to hgnetv2_b6.
        backbone_affine: learnable affine blocks in the backbone, as in its sizes b0 to b3.
        backbone_width: a factor on the backbone's channels; 1 in the paper.
        frozen_norm: frozen batch norm in the backbone (published weights of L and X); False trains it.
        levels: how many of the backbone's maps are used, the coarsest at stride 32; 2 in D-FINE-N, else 3.
        num_classes: classes; there is no no-object class.
        num_queries: the most objects in a picture.
        encoder_dim: channels of the hybrid encoder's pyramid.
        encoder_num_heads: attention heads of its intra-scale layers.
        encoder_layers: intra-scale layers on its coarsest level.
        encoder_feedforward_dim: hidden size of their feed-forward networks.
        encoder_expansion: channels within its fusion blocks, as a share of ``encoder_dim``.
        encoder_depth: depth of its fusion blocks, as a share of three.
        dim: embedding size of the decoder.
        num_heads: attention heads of the decoder.
        decoder_layers: layers of the decoder.
        answer_layer: the layer that answers, counted from 0, or from the last as -1; those after it only teach.
        wide_scale: states of the layers after it are this much wider.
        feedforward_dim: hidden size of the decoder's feed-forward networks.
        num_points: points that each head looks at on each level, fine to coarse.
        sampling: how values at points are read: bilinear, or discrete, the nearest cell.
        bins: steps of each edge's distribution, less one; even.
        reg_scale: curvature of the steps; 8 in D-FINE-X.
        up: reach of the steps, in sides of the box.
        dropout: in the transformer, while training.
        num_denoising: about how many denoising queries there are while training; 0 for none.
        label_noise: chance of a noised label, half of which is taken.
        box_noise: how far noised edges move.
        positions: rows, or original to reproduce the original code on inputs that are no squares.

    Raises:
        ValueError: a number that makes no model, with its name.
    """

    backbone: Literal[
        "hgnetv2_b0", "hgnetv2_b1", "hgnetv2_b2", "hgnetv2_b3", "hgnetv2_b4", "hgnetv2_b5", "hgnetv2_b6"
    ] = "hgnetv2_b4"
    backbone_affine: bool = False
    backbone_width: float = 1.0
    frozen_norm: bool = False
    levels: int = 3
    num_classes: int = 80
    num_queries: int = 300
    encoder_dim: int = 256
    encoder_num_heads: int = 8
    encoder_layers: int = 1
    encoder_feedforward_dim: int = 1024
    encoder_expansion: float = 1.0
    encoder_depth: float = 1.0
    dim: int = 256
    num_heads: int = 8
    decoder_layers: int = 6
    answer_layer: int = -1
    wide_scale: float = 1.0
    feedforward_dim: int = 1024
    num_points: tuple[int, ...] = (3, 6, 3)
    sampling: Literal["bilinear", "discrete"] = "bilinear"
    bins: int = 32
    reg_scale: float = 4.0
    up: float = 0.5
    dropout: float = 0.0
    num_denoising: int = 100
    label_noise: float = 0.5
    box_noise: float = 1.0
    positions: Literal["rows", "original"] = "rows"

    def __post_init__(self) -> None:
        for name in ("backbone", "sampling", "positions"):
            known = get_args(type(self).__annotations__[name])
            if getattr(self, name) not in known:
                raise ValueError(f"{name} = {getattr(self, name)!r} is none of {', '.join(known)}")
        least: dict[str, float] = dict.fromkeys(("num_classes", "num_queries", "decoder_layers", "levels"), 1)
        least |= dict.fromkeys(("feedforward_dim", "encoder_feedforward_dim", "num_heads", "encoder_num_heads"), 1)
        least |= {"encoder_layers": 0, "num_denoising": 0, "label_noise": 0, "box_noise": 0, "wide_scale": 1, "bins": 4}
        for name, limit in least.items():
            if getattr(self, name) < limit:
                raise ValueError(f"{name} = {getattr(self, name)} is less than {limit}")
        for name in ("backbone_width", "encoder_expansion", "encoder_depth", "reg_scale", "up"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} = {getattr(self, name)} is not above 0")
        for name, heads in (("dim", "num_heads"), ("encoder_dim", "encoder_num_heads")):
            size = getattr(self, name)
            if size < 4 or size % 4 or size % getattr(self, heads):
                raise ValueError(f"{name} = {size} is not a multiple of 4 and of {heads} = {getattr(self, heads)}")
        if self.levels > 4 or len(self.num_points) != self.levels or min(self.num_points) < 1:
            raise ValueError(f"num_points = {self.num_points} does not name at least a point for each of levels")
        if not -self.decoder_layers <= self.answer_layer < self.decoder_layers:
            raise ValueError(f"answer_layer = {self.answer_layer} is none of {self.decoder_layers} decoder_layers")
        if self.bins % 2:
            raise ValueError(f"bins = {self.bins} is not even")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout} is not at least 0 and below 1")


class Dfine(Detector):
    """Backbone, hybrid encoder, picked queries, decoder over edge distributions.

    Args: the parts, ready made; `build_dfine` makes them from a `DfineConfig`.

    Source: Peng et al. 2024, "D-FINE: Redefine Regression Task in DETRs as Fine-grained Distribution Refinement".
    """

    backbone: HgNetV2

    def __init__(
        self,
        *,
        backbone: HgNetV2,
        encoder: HybridEncoder,
        memory_proj: Sequence[nn.Module],
        queries: TopKSource,
        denoising: ContrastiveDenoising | None,
        decoder: FdrDecoder,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.encoder = encoder
        self.memory_proj = nn.ModuleList(memory_proj)
        self.queries = queries
        self.denoising = denoising
        self.decoder = decoder

    def forward(self, images: ImageBatch, targets: Sequence[Target] | None = None) -> SetPrediction:
        """Find the objects of each picture: memory, queries, states, heads.

        Args:
            images: the pictures.
            targets: the objects to find; read only while training, to denoise them.
        """
        images = padded_to(images, self.backbone.strides[-1])
        share = picture_share(images.valid)
        memory = self.encode(images)
        picked = self.queries(memory.tokens, memory.grids_hw)
        content, references = picked.content, picked.references.detach().sigmoid()
        noised = None
        if self.training and self.denoising is not None:
            if targets is not None:
                noised = self.denoising(into_input(targets, share), references.shape[1], references.device)
            if noised is None:
                # Every process has to send a gradient for the labels, be it zero.
                content = content + 0 * self.denoising.labels.weight.sum()
            else:
                content = torch.cat((self.denoising.labels(noised.labels), content), dim=1)
                references = torch.cat((noised.references.sigmoid(), references), dim=1)
        found = self.decoder(
            content, references, memory.tokens, memory.grids_hw, None if noised is None else noised.attend
        )
        start = 0 if noised is None else noised.labels.shape[1]
        return SetPrediction(
            logits=found.logits[:, :, start:],
            boxes_cxcywh=self._of_picture(found.boxes_cxcywh[:, :, start:], share),
            memory=memory,
            activation="sigmoid",
            proposals=Proposals(picked.logits, self._of_picture(picked.references.sigmoid(), share)),
            denoising=None if noised is None else self._denoised(found, noised, share),
            corners=corners_out_of_input(found, slice(start, None), share),
        )

    def encode(self, images: ImageBatch) -> Memory:
        """The picture as the tokens of a pyramid whose levels know of each other."""
        maps = self.encoder(self.backbone(images.pixels))
        levels = [project(level) for project, level in zip(self.memory_proj, maps, strict=True)]
        grids_hw = tuple((level.shape[-2], level.shape[-1]) for level in levels)
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        valid = torch.cat([feature_mask(images.valid, grid_hw).flatten(1) for grid_hw in grids_hw], dim=1)
        return Memory(
            tokens=tokens,
            # Queries look at places, not at keys: no position is added to tokens.
            pos=tokens.new_zeros(()).expand_as(tokens),
            valid=None if bool(valid.all()) else valid,
            grids_hw=grids_hw,
            input_hw=(images.pixels.shape[-2], images.pixels.shape[-1]),
        )

    def _of_picture(self, boxes_cxcywh: Tensor, share: Tensor) -> Tensor:
        """Boxes relative to the unpadded pictures; answers end at the border, while training they may lie beyond."""
        boxes = out_of_input(boxes_cxcywh, share)
        return boxes if self.training else boxes.clamp(0, 1)

    def _denoised(self, found: FineRefinement, noised: DenoisingQueries, share: Tensor) -> Denoising:
        """What became of the denoising queries, which stand first."""
        queries = slice(noised.labels.shape[1])
        return Denoising(
            logits=found.logits[:, :, queries],
            boxes_cxcywh=out_of_input(found.boxes_cxcywh[:, :, queries], share),
            match=noised.match,
            groups=noised.groups,
            corners=corners_out_of_input(found, queries, share),
        )


def build_dfine(config: DfineConfig) -> Dfine:
    """A D-FINE with fresh weights."""
    dim = config.dim
    backbone = HgNetV2(
        name=cast(HgNetV2Name, config.backbone.removeprefix("hgnetv2_")),
        affine=config.backbone_affine,
        frozen_norm=config.frozen_norm,
        levels=config.levels,
        width=config.backbone_width,
    )
    encoder = HybridEncoder(
        in_channels=backbone.channels,
        dim=config.encoder_dim,
        num_heads=config.encoder_num_heads,
        feedforward_dim=config.encoder_feedforward_dim,
        num_layers=config.encoder_layers,
        dropout=config.dropout,
        fusion="elan",
        expansion=config.encoder_expansion,
        depth=config.encoder_depth,
        positions=config.positions,
    )
    denoising = None
    if config.num_denoising:
        denoising = ContrastiveDenoising(
            num_classes=config.num_classes,
            dim=dim,
            num_queries=config.num_denoising,
            label_noise=config.label_noise,
            box_noise=config.box_noise,
            mirror=True,
        )
    return Dfine(
        backbone=backbone,
        encoder=encoder,
        memory_proj=[
            nn.Identity() if channels == dim else ConvNorm(in_channels=channels, out_channels=dim)
            for channels in encoder.channels
        ],
        queries=TopKSource(
            dim=dim,
            num_queries=config.num_queries,
            class_head=ScoreHead(dim=dim, num_classes=config.num_classes),
            box_head=still_head(dim, 4),
        ),
        denoising=denoising,
        decoder=_decoder(config),
    )


def _decoder(config: DfineConfig) -> FdrDecoder:
    dim, answer = config.dim, config.answer_layer % config.decoder_layers
    # The layers that only teach may be wider.
    widths = [dim if layer <= answer else round(config.wide_scale * dim) for layer in range(config.decoder_layers)]

    def layer(width: int) -> GatedDecoderLayer:
        attention = MultiScaleDeformableAttention(
            dim=width,
            num_heads=config.num_heads,
            num_levels=config.levels,
            num_points=config.num_points,
            core=_CORES[config.sampling],
            projected=False,
        )
        return GatedDecoderLayer(
            dim=width,
            num_heads=config.num_heads,
            cross_attention=attention,
            feedforward_dim=round(config.feedforward_dim * width / dim),
            dropout=config.dropout,
        )

    return edge_decoder(
        [layer(width) for width in widths],
        widths=widths,
        num_classes=config.num_classes,
        bins=config.bins,
        up=config.up,
        reg_scale=config.reg_scale,
        answer_layer=answer,
        wide_scale=config.wide_scale,
    )
