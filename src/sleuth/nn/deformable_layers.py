"""Encoder and decoder layers whose look at the memory is deformable attention; post-norm, as in the whole family."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sleuth.nn.attention import MultiHeadAttention
from sleuth.nn.deformable import Grids, MultiScaleDeformableAttention
from sleuth.nn.dropout import Dropout
from sleuth.nn.feedforward import Activation, FeedForward


class DeformableEncoderLayer(nn.Module):
    """Every token of a pyramid looks at a few points around itself, on all levels; then a feed-forward network.

    Args:
        attention: the deformable attention.
        feedforward_dim: hidden size of the feed-forward network.
        dropout: on both residual branches.
        activation_dropout: within the feed-forward network; None takes ``dropout``.
        activation: of the feed-forward network.

    Source: Zhu et al. 2021, section 4.1, "deformable transformer encoder".
    """

    def __init__(
        self,
        *,
        dim: int,
        attention: MultiScaleDeformableAttention,
        feedforward_dim: int,
        dropout: float = 0.0,
        activation_dropout: float | None = None,
        activation: Activation = F.relu,
    ) -> None:
        super().__init__()
        activation_dropout = dropout if activation_dropout is None else activation_dropout
        self.self_attention = attention
        self.feedforward = FeedForward(
            dim=dim, hidden_dim=feedforward_dim, dropout=activation_dropout, activation=activation
        )
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        pos: Float[Tensor, "#batch tokens dim"],
        references: Float[Tensor, "batch tokens levels 2"],
        grids_hw: Grids,
        valid: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """One round of tokens looking around."""
        seen = self.self_attention(tokens + pos, references, tokens, grids_hw, valid)
        tokens = self.norm1(tokens + self.dropout(seen))
        return self.norm2(tokens + self.dropout(self.feedforward(tokens)))


class DeformableDecoderLayer(nn.Module):
    """Self-attention among the queries, a deformable look at the memory, then a feed-forward network.

    Args:
        dim: embedding size.
        num_heads: heads of the self-attention.
        cross_attention: the deformable attention.
        feedforward_dim: hidden size of the feed-forward network.
        dropout: on the residual branches.
        attention_dropout: on the weights of the self-attention; None takes ``dropout``.
        activation_dropout: within the feed-forward network; None takes ``dropout``.
        activation: of the feed-forward network.

    Source: Zhu et al. 2021, section 4.1, "deformable transformer decoder".
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        cross_attention: MultiScaleDeformableAttention,
        feedforward_dim: int,
        dropout: float = 0.0,
        attention_dropout: float | None = None,
        activation_dropout: float | None = None,
        activation: Activation = F.relu,
    ) -> None:
        super().__init__()
        attention_dropout = dropout if attention_dropout is None else attention_dropout
        activation_dropout = dropout if activation_dropout is None else activation_dropout
        self.self_attention = MultiHeadAttention(dim=dim, num_heads=num_heads, dropout=attention_dropout)
        self.cross_attention = cross_attention
        self.feedforward = FeedForward(
            dim=dim, hidden_dim=feedforward_dim, dropout=activation_dropout, activation=activation
        )
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        states: Float[Tensor, "batch queries dim"],
        pos: Float[Tensor, "#batch queries dim"],
        references: Float[Tensor, "batch queries #levels coordinates"],
        tokens: Float[Tensor, "batch tokens dim"],
        grids_hw: Grids,
        valid: Bool[Tensor, "batch tokens"] | None = None,
        attend: Bool[Tensor, "#batch #heads queries queries"] | None = None,
    ) -> Float[Tensor, "batch queries dim"]:
        """The queries look at each other, then at the memory."""
        where = states + pos
        states = self.norm1(states + self.dropout(self.self_attention(where, where, states, attend)))
        seen = self.cross_attention(states + pos, references, tokens, grids_hw, valid)
        states = self.norm2(states + self.dropout(seen))
        return self.norm3(states + self.dropout(self.feedforward(states)))
