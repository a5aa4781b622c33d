"""The two decoders that Sleuth's own detectors may have: one refines boxes, one the distributions of their edges."""

from typing import Any

from sleuth.models.edge_decoder import edge_decoder, still_head
from sleuth.models.sleuth_config import STRIDES, SleuthConfig
from sleuth.nn.deformable import MultiScaleDeformableAttention
from sleuth.nn.deformable_layers import DeformableDecoderLayer
from sleuth.nn.fdr_decoder import FdrDecoder, GatedDecoderLayer
from sleuth.nn.feedforward import MLP
from sleuth.nn.refining import RefiningDecoder


def decoder_of(config: SleuthConfig) -> RefiningDecoder | FdrDecoder:
    """Layers that move boxes, as in Deformable DETR and DINO, or that sharpen distributions of edges, as in D-FINE."""
    dim, count = config.dim, config.decoder_layers
    if config.refinement == "edges":
        # D-FINE's layers look at the memory without projecting it.
        layers = [GatedDecoderLayer(**_numbers(config, projected=False)) for _ in range(count)]
        return edge_decoder(layers, widths=[dim] * count, num_classes=config.num_classes)
    return RefiningDecoder(
        [DeformableDecoderLayer(**_numbers(config, projected=True)) for _ in range(count)],
        box_heads=[still_head(dim, 4) for _ in range(count)],
        position=MLP(in_dim=4, hidden_dim=2 * dim, out_dim=dim, num_layers=2),
        look_forward_twice=config.look_forward_twice,
    )


def _numbers(config: SleuthConfig, *, projected: bool) -> dict[str, Any]:
    """What either kind of layer is made of."""
    attention = MultiScaleDeformableAttention(
        dim=config.dim,
        num_heads=config.num_heads,
        num_levels=len(STRIDES),
        num_points=config.num_points,
        projected=projected,
    )
    return {
        "dim": config.dim,
        "num_heads": config.num_heads,
        "cross_attention": attention,
        "feedforward_dim": config.feedforward_dim,
        "dropout": config.dropout,
    }
