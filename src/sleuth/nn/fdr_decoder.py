"""D-FINE's decoder: layers that sharpen distributions over where box edges lie, rather than move boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sleuth.nn.attention import MultiHeadAttention
from sleuth.nn.deformable import Grids, MultiScaleDeformableAttention
from sleuth.nn.distribution import LocationQuality, edge_steps, expected_distances, moved_edges
from sleuth.nn.dropout import Dropout
from sleuth.nn.feedforward import MLP, Activation, FeedForward
from sleuth.nn.refining import refined

_FLOAT16 = 65504.0


class Gateway(nn.Module):
    """Two states weighed channel by channel, by gates that see both; where a residual sum would add them.

    Source: Peng et al. 2024, "D-FINE", appendix (target gating).
    """

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * dim, 2 * dim)
        self.norm = nn.LayerNorm(dim)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(
        self, before: Float[Tensor, "batch queries dim"], seen: Float[Tensor, "batch queries dim"]
    ) -> Float[Tensor, "batch queries dim"]:
        """What a query knew and what it saw, as one state."""
        keep, take = self.gate(torch.cat((before, seen), dim=-1)).sigmoid().chunk(2, dim=-1)
        return self.norm(keep * before + take * seen)


class GatedDecoderLayer(nn.Module):
    """As `DeformableDecoderLayer`, but what was seen in the memory comes in through a gate.

    Args: as for `DeformableDecoderLayer`.

    Source: Peng et al. 2024, "D-FINE".
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        cross_attention: MultiScaleDeformableAttention,
        feedforward_dim: int,
        dropout: float = 0.0,
        activation: Activation = F.relu,
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(dim=dim, num_heads=num_heads, dropout=dropout)
        self.cross_attention = cross_attention
        self.gateway = Gateway(dim=dim)
        self.feedforward = FeedForward(dim=dim, hidden_dim=feedforward_dim, dropout=dropout, activation=activation)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        states: Float[Tensor, "batch queries dim"],
        pos: Float[Tensor, "batch queries dim"],
        references: Float[Tensor, "batch queries #levels coordinates"],
        tokens: Float[Tensor, "batch tokens dim"],
        grids_hw: Grids,
        attend: Bool[Tensor, "#batch #heads queries queries"] | None = None,
    ) -> Float[Tensor, "batch queries dim"]:
        """The queries look at each other, then at the memory."""
        where = states + pos
        states = self.norm1(states + self.dropout(self.self_attention(where, where, states, attend)))
        seen = self.cross_attention(states + pos, references, tokens, grids_hw)
        states = self.gateway(states, self.dropout(seen))
        states = states + self.dropout(self.feedforward(states))
        return self.norm2(states.clamp(-_FLOAT16, _FLOAT16))


@dataclass(frozen=True)
class FineRefinement:
    """What the decoder found after every layer; when not training, up to the one that answers.

    Args:
        logits: class logits; while training first those of the plain head after the first layer.
        boxes_cxcywh: boxes, as the logits.
        corners: logits of each edge's steps; one fewer than boxes while training, as the plain head has none.
        references_cxcywh: the boxes whose edges move: those of the plain head, without gradient.
        reg_scale: curvature of the steps.
        up: their reach.
    """

    logits: Float[Tensor, "outputs batch queries classes"]
    boxes_cxcywh: Float[Tensor, "outputs batch queries 4"]
    corners: Float[Tensor, "layers batch queries edges_bins"]
    references_cxcywh: Float[Tensor, "batch queries 4"]
    reg_scale: Float[Tensor, "1"]
    up: Float[Tensor, "1"]


class FdrDecoder(nn.Module):
    """Layers that each add to the logits of where the edges lie (fine-grained distribution refinement).

    After the first layer a plain head moves the boxes once; from then on their edges move by what is expected under
    the distributions, measured from the boxes of the plain head.

    Args:
        layers: the layers, first to last; those after ``answer_layer`` only teach, and may be wider.
        position: makes the position of the queries from their boxes.
        plain_box_head: moves the boxes after the first layer.
        class_heads: for each layer its class logits.
        corner_heads: for each layer what it adds to the logits of each edge's steps.
        quality_heads: for each layer what lifts or lowers its class logits.
        bins: number of steps less one.
        up: reach of the steps, as for `edge_steps`.
        reg_scale: their curvature.
        answer_layer: the layer that answers; the last if None.
        wide_scale: states of the layers after it are this much wider.

    Source: Peng et al. 2024, "D-FINE: Redefine Regression Task in DETRs as Fine-grained Distribution Refinement".
    """

    up: Tensor
    reg_scale: Tensor

    def __init__(
        self,
        layers: Sequence[GatedDecoderLayer],
        *,
        position: nn.Module,
        plain_box_head: MLP,
        class_heads: Sequence[nn.Module],
        corner_heads: Sequence[nn.Module],
        quality_heads: Sequence[LocationQuality],
        bins: int = 32,
        up: float = 0.5,
        reg_scale: float = 4.0,
        answer_layer: int | None = None,
        wide_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.position = position
        self.plain_box_head = plain_box_head
        self.class_heads = nn.ModuleList(class_heads)
        self.corner_heads = nn.ModuleList(corner_heads)
        self.quality_heads = nn.ModuleList(quality_heads)
        self.bins = bins
        self.answer_layer = len(layers) - 1 if answer_layer is None else answer_layer
        self.wide_scale = wide_scale
        # Published weights bring their own, so they are part of the state.
        self.register_buffer("up", torch.tensor([up]))
        self.register_buffer("reg_scale", torch.tensor([float(reg_scale)]))

    def forward(
        self,
        states: Float[Tensor, "batch queries dim"],
        references: Float[Tensor, "batch queries 4"],
        tokens: Float[Tensor, "batch tokens dim"],
        grids_hw: Grids,
        attend: Bool[Tensor, "#batch #heads queries queries"] | None = None,
    ) -> FineRefinement:
        """Question the memory, layer by layer.

        Args:
            states: what the queries start with.
            references: where they start: boxes (cx, cy, w, h), 0 to 1 over the input.
            tokens: the memory, level after level.
            grids_hw: height and width of each level.
            attend: which queries see each other.
        """
        steps = edge_steps(self.bins, self.up, self.reg_scale)
        every_logits, every_box, every_corners = [], [], []
        at, known, corners = references, torch.zeros_like(states), None
        start = references
        last = len(self.layers) - 1 if self.training else self.answer_layer
        for index, layer in enumerate(self.layers[: last + 1]):
            pos = self.position(at).clamp(-10, 10)
            if index > self.answer_layer and self.wide_scale != 1:
                pos, states, tokens = (_widened(x, self.wide_scale, pos.shape[-1]) for x in (pos, states, tokens))
                known = states.detach()
            states = layer(states, pos, at[:, :, None], tokens, grids_hw, attend)
            if index == 0:
                plain = refined(self.plain_box_head(states), at)
                start = plain.detach()
            delta = self.corner_heads[index](states + known)
            corners = delta if corners is None else corners + delta
            boxes = moved_edges(start, expected_distances(corners, steps), self.reg_scale)
            at, known = boxes.detach(), states.detach()
            logits = self.class_heads[index](states)
            if index == 0 and self.training:
                every_logits.append(logits)
                every_box.append(plain)
            every_logits.append(self.quality_heads[index](logits, corners))
            every_box.append(boxes)
            every_corners.append(corners)
        return FineRefinement(
            logits=torch.stack(every_logits),
            boxes_cxcywh=torch.stack(every_box),
            corners=torch.stack(every_corners),
            references_cxcywh=start,
            reg_scale=self.reg_scale,
            up=self.up,
        )


def _widened(x: Tensor, scale: float, dim: int) -> Tensor:
    """The last axis ``scale`` times as long as ``dim``, by repetition; what is already so long stays."""
    size = int(dim * scale)
    return x if x.shape[-1] == size else F.interpolate(x, size=size)
