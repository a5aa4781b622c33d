"""The two decoders that Sleuth's own detectors may have: one refines boxes, one the distributions of their edges."""

from torch import nn

from sleuth.heads.scores import ScoreHead
from sleuth.models.sleuth_config import STRIDES, SleuthConfig
from sleuth.nn.deformable import MultiScaleDeformableAttention
from sleuth.nn.deformable_layers import DeformableDecoderLayer
from sleuth.nn.distribution import EDGES, LocationQuality
from sleuth.nn.fdr_decoder import FdrDecoder, GatedDecoderLayer
from sleuth.nn.feedforward import MLP
from sleuth.nn.refining import RefiningDecoder

BINS = 32
"""Steps of an edge's distribution, less one."""


def zero_ended(mlp: MLP) -> MLP:
    """A perceptron that says zero at first."""
    nn.init.zeros_(mlp.layers[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(mlp.layers[-1].bias)  # type: ignore[arg-type]
    return mlp


def box_head(dim: int) -> MLP:
    """Moves boxes; at first not at all."""
    return zero_ended(MLP(in_dim=dim, hidden_dim=dim, out_dim=4, num_layers=3))


def _position(dim: int) -> MLP:
    return MLP(in_dim=4, hidden_dim=2 * dim, out_dim=dim, num_layers=2)


def _attention(config: SleuthConfig, *, projected: bool) -> MultiScaleDeformableAttention:
    return MultiScaleDeformableAttention(
        dim=config.dim,
        num_heads=config.num_heads,
        num_levels=len(STRIDES),
        num_points=config.num_points,
        projected=projected,
    )


def box_decoder(config: SleuthConfig) -> RefiningDecoder:
    """Layers that move boxes, as in Deformable DETR and DINO."""
    layers = [
        DeformableDecoderLayer(
            dim=config.dim,
            num_heads=config.num_heads,
            cross_attention=_attention(config, projected=True),
            feedforward_dim=config.feedforward_dim,
            dropout=config.dropout,
        )
        for _ in range(config.decoder_layers)
    ]
    return RefiningDecoder(
        layers,
        box_heads=[box_head(config.dim) for _ in layers],
        position=_position(config.dim),
        look_forward_twice=config.look_forward_twice,
    )


def edge_decoder(config: SleuthConfig) -> FdrDecoder:
    """Layers that sharpen distributions over edges: D-FINE's decoder, with its numbers where ours say nothing."""
    layers = [
        GatedDecoderLayer(
            dim=config.dim,
            num_heads=config.num_heads,
            cross_attention=_attention(config, projected=False),
            feedforward_dim=config.feedforward_dim,
            dropout=config.dropout,
        )
        for _ in range(config.decoder_layers)
    ]
    edges = EDGES * (BINS + 1)
    return FdrDecoder(
        layers,
        position=_position(config.dim),
        plain_box_head=box_head(config.dim),
        class_heads=[ScoreHead(dim=config.dim, num_classes=config.num_classes) for _ in layers],
        corner_heads=[
            zero_ended(MLP(in_dim=config.dim, hidden_dim=config.dim, out_dim=edges, num_layers=3)) for _ in layers
        ],
        quality_heads=[LocationQuality(bins=BINS) for _ in layers],
        bins=BINS,
    )
