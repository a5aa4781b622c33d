"""Sleuth's own detectors: what the family has learned, put together for small data and native picture shapes.

A ResNet-D and RT-DETR's hybrid encoder make the memory; its best tokens become queries (two-stage); a few decoder
layers look at the memory by deformable attention and refine boxes, or D-FINE's distributions of where their edges lie;
scores learn by the matchability-aware loss. Two more helps for training are there for those who want them, and were
measured to bring nothing on small data: denoising queries, and a second pair of heads that reads every token of the
memory. Both are gone at inference.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.backbones.hybrid_encoder import HybridEncoder
from sleuth.backbones.resnet import ResNet
from sleuth.heads.scores import ScoreHead
from sleuth.models.detector import Detector
from sleuth.models.edge_decoder import still_head
from sleuth.models.frame import corners_out_of_input, into_input, out_of_input, padded_to, picture_share
from sleuth.models.sleuth_config import STRIDES, SleuthConfig
from sleuth.models.sleuth_decoders import decoder_of
from sleuth.nn.fdr_decoder import FdrDecoder, FineRefinement
from sleuth.nn.feedforward import MLP, zero_ended
from sleuth.nn.refining import Refinement, RefiningDecoder
from sleuth.queries.anchors import grid_anchors
from sleuth.queries.denoising import ContrastiveDenoising
from sleuth.queries.top_k import TopKSource
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.memory import Memory
from sleuth.types.predictions import Denoising, Proposals, SetPrediction


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
        decoder: RefiningDecoder | FdrDecoder,
        class_heads: Sequence[nn.Module] = (),
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
        logits, boxes, edges = self._answers(found, share)
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
            corners=None if edges is None else corners_out_of_input(edges, slice(count, None), share),
            denoising=None
            if noised is None
            else Denoising(
                logits=logits[:, :, :count],
                boxes_cxcywh=boxes[:, :, :count],
                match=noised.match,
                groups=noised.groups,
                corners=None if edges is None else corners_out_of_input(edges, slice(count), share),
            ),
        )

    def _answers(
        self, found: Refinement | FineRefinement, share: Float[Tensor, "batch 4"]
    ) -> tuple[Tensor, Tensor, FineRefinement | None]:
        """Class logits and boxes of every layer; and the distributions of their edges, where these are refined."""
        boxes = out_of_input(found.boxes_cxcywh, share)
        if isinstance(found, Refinement):
            heads = zip(self.class_heads, found.states, strict=True)
            return torch.stack([head(states) for head, states in heads]), boxes, None
        # Edges may lie beyond the border; while training they are to know by how much.
        return found.logits, boxes if self.training else boxes.clamp(0, 1), found

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

    refines_edges = config.refinement == "edges"
    return Sleuth(
        backbone=backbone,
        encoder=encoder,
        queries=TopKSource(
            dim=dim,
            num_queries=config.num_queries,
            class_head=ScoreHead(dim=dim, num_classes=classes),
            box_head=still_head(dim, 4),
        ),
        decoder=decoder_of(config),
        class_heads=[] if refines_edges else [ScoreHead(dim=dim, num_classes=classes) for _ in range(layers)],
        denoising=ContrastiveDenoising(
            num_classes=classes,
            dim=dim,
            num_queries=config.num_denoising,
            label_noise=config.label_noise,
            box_noise=config.box_noise,
            mirror=refines_edges,
        )
        if config.num_denoising
        else None,
        dense=DenseHeads(dim=dim, num_classes=classes) if config.dense else None,
    )
