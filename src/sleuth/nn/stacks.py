"""Encoder and decoder: layers one after another."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sleuth.nn.layers import DecoderLayer, EncoderLayer


class Encoder(nn.Module):
    """A stack of encoder layers; pre-norm stacks end with a norm, post-norm ones do not.

    Args:
        layers: the layers, first to last.
        norm: applied at the end, or None.
    """

    def __init__(self, layers: list[EncoderLayer], *, norm: nn.LayerNorm | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.Identity() if norm is None else norm

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        pos: Float[Tensor, "#batch tokens dim"] | None = None,
        attend: Bool[Tensor, "#batch #heads #tokens tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Refine the tokens layer by layer."""
        for layer in self.layers:
            tokens = layer(tokens, pos, attend)
        return self.norm(tokens)


class Decoder(nn.Module):
    """A stack of decoder layers whose norm is applied to the states after every layer.

    Args:
        layers: the layers, first to last.
        norm: applied to each layer's states on their way out, shared by all.
        norm_between: the next layer goes on from the normalised states, and the last are normalised once more; the
            original hands on the states as they are.

    Source: Carion et al. 2020, section 3.2 (auxiliary decoding losses).
    """

    def __init__(self, layers: list[DecoderLayer], *, norm: nn.LayerNorm, norm_between: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.norm_between = norm_between

    def forward(
        self,
        states: Float[Tensor, "batch queries dim"],
        memory: Float[Tensor, "batch tokens dim"],
        *,
        query_pos: Float[Tensor, "#batch queries dim"] | None = None,
        memory_pos: Float[Tensor, "#batch tokens dim"] | None = None,
        attend: Bool[Tensor, "#batch #heads #queries queries"] | None = None,
        attend_memory: Bool[Tensor, "#batch #heads #queries tokens"] | None = None,
    ) -> Float[Tensor, "layers batch queries dim"]:
        """States after every layer, normalised; the last one is the answer."""
        every = []
        for layer in self.layers:
            states = layer(
                states,
                memory,
                query_pos=query_pos,
                memory_pos=memory_pos,
                attend=attend,
                attend_memory=attend_memory,
            )
            every.append(self.norm(states))
            if self.norm_between:
                states = every[-1]
        if self.norm_between:
            every[-1] = self.norm(states)
        return torch.stack(every)
