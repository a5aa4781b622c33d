"""D-FINE's decoder with its heads, for the families that refine edges."""

from collections.abc import Sequence

from sleuth.heads.scores import ScoreHead
from sleuth.nn.distribution import EDGES, LocationQuality
from sleuth.nn.fdr_decoder import FdrDecoder, GatedDecoderLayer
from sleuth.nn.feedforward import MLP, zero_ended


def edge_decoder(
    layers: Sequence[GatedDecoderLayer],
    *,
    widths: Sequence[int],
    num_classes: int,
    bins: int = 32,
    up: float = 0.5,
    reg_scale: float = 4.0,
    answer_layer: int | None = None,
    wide_scale: float = 1.0,
) -> FdrDecoder:
    """Layers with fresh heads for classes, edges and how sure they are.

    Args:
        layers: the layers, first to last.
        widths: embedding size of each.
        num_classes: classes.
        bins, up, reg_scale, answer_layer, wide_scale: as for `FdrDecoder`.
    """
    dim = widths[0]
    return FdrDecoder(
        layers,
        position=MLP(in_dim=4, hidden_dim=2 * dim, out_dim=dim, num_layers=2),
        plain_box_head=still_head(dim, 4),
        class_heads=[ScoreHead(dim=width, num_classes=num_classes) for width in widths],
        corner_heads=[still_head(width, EDGES * (bins + 1)) for width in widths],
        quality_heads=[LocationQuality(bins=bins) for _ in widths],
        bins=bins,
        up=up,
        reg_scale=reg_scale,
        answer_layer=answer_layer,
        wide_scale=wide_scale,
    )


def still_head(dim: int, out_dim: int) -> MLP:
    """A three-layer perceptron that moves nothing at first."""
    return zero_ended(MLP(in_dim=dim, hidden_dim=dim, out_dim=out_dim, num_layers=3))
