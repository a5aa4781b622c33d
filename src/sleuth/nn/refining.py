"""A decoder whose layers refine each query's reference box, one after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sleuth.nn.deformable import Grids
from sleuth.nn.deformable_layers import DeformableDecoderLayer


def inverse_sigmoid(x: Float[Tensor, "*shape"], eps: float = 1e-5) -> Float[Tensor, "*shape"]:
    """The logit of numbers between 0 and 1, kept finite by ``eps``."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def refined(
    delta: Float[Tensor, "*shape 4"], references: Float[Tensor, "*shape coordinates"], eps: float = 1e-5
) -> Float[Tensor, "*shape 4"]:
    """Boxes moved by ``delta`` in the space of logits; a reference that is a point gives the centre alone."""
    start = inverse_sigmoid(references, eps)
    if references.shape[-1] == 2:
        return torch.cat((delta[..., :2] + start, delta[..., 2:]), dim=-1).sigmoid()
    return (delta + start).sigmoid()


@dataclass(frozen=True)
class Refinement:
    """What a refining decoder found.

    Args:
        states: after every layer.
        boxes_cxcywh: after every layer, with gradients.
    """

    states: Float[Tensor, "layers batch queries dim"]
    boxes_cxcywh: Float[Tensor, "layers batch queries 4"]


class RefiningDecoder(nn.Module):
    """Decoder layers that look at the memory around boxes, and move the boxes.

    Args:
        layers: the layers, first to last.
        box_heads: what moves the boxes: one head for all layers, or one for each.
        position: makes the position of the queries from their boxes, before each layer; None where it is given. On
            padded pictures it reads them relative to the first padded level, as in DINO's original code.
        norm: applied to the states on their way out; None hands them out as they are.
        refine: each layer starts from the boxes of the one before; False starts all from the first references.
        look_forward_twice: gradients of a layer's boxes reach the layer before it.
        eps: of `inverse_sigmoid`.

    Source: Zhu et al. 2021, section 4.2 (refinement); Zhang et al. 2023, section 3.5 (look forward twice).
    """

    def __init__(
        self,
        layers: Sequence[DeformableDecoderLayer],
        *,
        box_heads: Sequence[nn.Module],
        position: nn.Module | None = None,
        norm: nn.Module | None = None,
        refine: bool = True,
        look_forward_twice: bool = True,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if len(box_heads) not in (1, len(layers)):
            raise ValueError(f"{len(box_heads)} box heads for {len(layers)} layers: one for all, or one for each")
        self.layers = nn.ModuleList(layers)
        self.box_heads = nn.ModuleList(box_heads)
        self.position = position
        self.norm = norm
        self.refine = refine
        self.look_forward_twice = look_forward_twice
        self.eps = eps

    def forward(
        self,
        states: Float[Tensor, "batch queries dim"],
        references: Float[Tensor, "batch queries coordinates"],
        tokens: Float[Tensor, "batch tokens dim"],
        grids_hw: Grids,
        *,
        query_pos: Float[Tensor, "#batch queries dim"] | None = None,
        valid_ratios: Float[Tensor, "batch levels 2"] | None = None,
        valid: Bool[Tensor, "batch tokens"] | None = None,
        attend: Bool[Tensor, "#batch #heads queries queries"] | None = None,
        num_layers: int | None = None,
    ) -> Refinement:
        """Question the memory, layer by layer.

        Args:
            states: what the queries start with.
            references: where they start: points (x, y) or boxes (cx, cy, w, h), 0 to 1 over the picture.
            tokens: the memory, level after level.
            grids_hw: height and width of each level.
            query_pos: position of the queries, where ``position`` is None.
            valid_ratios: the part of each level's width and height that is picture; None where all of it is.
            valid: True on tokens of the picture.
            attend: which queries see each other.
            num_layers: how many of the layers run, from the first on; None runs all.
        """
        every_state, every_box = [], []
        # Layers look around ``at``; their boxes are measured from ``start``: the same numbers, with the gradient of
        # the layer before where gradients look forward twice.
        start = at = references
        box_heads = [*self.box_heads] * (len(self.layers) // len(self.box_heads))
        for layer, box_head in islice(zip(self.layers, box_heads, strict=True), num_layers):
            around = _on_levels(at, valid_ratios)
            pos = query_pos if self.position is None else self.position(around[:, :, 0])
            assert pos is not None
            states = layer(states, pos, around, tokens, grids_hw, valid, attend)
            seen = states if self.norm is None else self.norm(states)
            delta = box_head(states) if self.norm is None else None
            boxes = refined(box_head(seen) if delta is None else delta, start, self.eps)
            every_state.append(seen)
            every_box.append(boxes)
            if self.refine:
                # References move by the states as they are, answers are read from the normalised ones.
                if delta is not None and start is at:
                    moved = boxes
                else:
                    moved = refined(box_head(states) if delta is None else delta, at, self.eps)
                at = moved.detach()
                start = moved if self.look_forward_twice and moved.requires_grad else at
        return Refinement(torch.stack(every_state), torch.stack(every_box))


def _on_levels(references: Tensor, valid_ratios: Tensor | None) -> Tensor:
    """References relative to the picture as references relative to each padded level."""
    if valid_ratios is None:
        return references[:, :, None]
    ratios = valid_ratios if references.shape[-1] == 2 else torch.cat((valid_ratios, valid_ratios), dim=-1)
    return references[:, :, None] * ratios[:, None]
