"""Encoder and decoder layers, post-norm and pre-norm, with positions added to queries and keys in each of them.

Positions are never added to values: what a token brings home says *what* was seen, the weights say *where*.
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sleuth.nn.attention import MultiHeadAttention
from sleuth.nn.dropout import Dropout
from sleuth.nn.feedforward import Activation, FeedForward


def _with(x: Tensor, pos: Tensor | None) -> Tensor:
    return x if pos is None else x + pos


class EncoderLayer(nn.Module):
    """Self-attention, then a feed-forward network, each with a residual path and a layer norm.

    Args:
        dim: embedding size.
        num_heads: attention heads.
        feedforward_dim: hidden size of the feed-forward network.
        dropout: on both residual branches.
        attention_dropout: on attention weights; None takes ``dropout``.
        activation_dropout: within the feed-forward network; None takes ``dropout``.
        activation: of the feed-forward network.
        pre_norm: normalise before each branch rather than after the sum.

    Source: Vaswani et al. 2017, section 3.1; Carion et al. 2020, figure 10 (positions in each layer).
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        feedforward_dim: int,
        dropout: float = 0.0,
        attention_dropout: float | None = None,
        activation_dropout: float | None = None,
        activation: Activation = F.relu,
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        attention_dropout = dropout if attention_dropout is None else attention_dropout
        activation_dropout = dropout if activation_dropout is None else activation_dropout
        self.self_attention = MultiHeadAttention(dim=dim, num_heads=num_heads, dropout=attention_dropout)
        self.feedforward = FeedForward(
            dim=dim, hidden_dim=feedforward_dim, dropout=activation_dropout, activation=activation
        )
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)
        self.pre_norm = pre_norm

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        pos: Float[Tensor, "#batch tokens dim"] | None = None,
        attend: Bool[Tensor, "#batch #heads #tokens tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """One round of tokens looking at each other."""
        if self.pre_norm:
            tokens = tokens + self.dropout(self._look(self.norm1(tokens), pos, attend))
            return tokens + self.dropout(self.feedforward(self.norm2(tokens)))
        tokens = self.norm1(tokens + self.dropout(self._look(tokens, pos, attend)))
        return self.norm2(tokens + self.dropout(self.feedforward(tokens)))

    def _look(self, tokens: Tensor, pos: Tensor | None, attend: Tensor | None) -> Tensor:
        where = _with(tokens, pos)
        return self.self_attention(where, where, tokens, attend)


class DecoderLayer(nn.Module):
    """Self-attention among the queries, cross-attention to the memory, then a feed-forward network.

    Args: as for `EncoderLayer`.

    Source: Vaswani et al. 2017, section 3.1; Carion et al. 2020, figure 10.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        feedforward_dim: int,
        dropout: float = 0.0,
        attention_dropout: float | None = None,
        activation_dropout: float | None = None,
        activation: Activation = F.relu,
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        attention_dropout = dropout if attention_dropout is None else attention_dropout
        activation_dropout = dropout if activation_dropout is None else activation_dropout
        self.self_attention = MultiHeadAttention(dim=dim, num_heads=num_heads, dropout=attention_dropout)
        self.cross_attention = MultiHeadAttention(dim=dim, num_heads=num_heads, dropout=attention_dropout)
        self.feedforward = FeedForward(
            dim=dim, hidden_dim=feedforward_dim, dropout=activation_dropout, activation=activation
        )
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)
        self.pre_norm = pre_norm

    def forward(
        self,
        states: Float[Tensor, "batch queries dim"],
        memory: Float[Tensor, "batch tokens dim"],
        *,
        query_pos: Float[Tensor, "#batch queries dim"] | None = None,
        memory_pos: Float[Tensor, "#batch tokens dim"] | None = None,
        attend: Bool[Tensor, "#batch #heads #queries queries"] | None = None,
        attend_memory: Bool[Tensor, "#batch #heads #queries tokens"] | None = None,
    ) -> Float[Tensor, "batch queries dim"]:
        """One round: queries confer, then look at the memory.

        Args:
            states: what each query knows so far.
            memory: encoder output.
            query_pos: added to queries and keys of self-attention and to the queries of cross-attention.
            memory_pos: added to the keys of cross-attention.
            attend: which queries may look at which; `causal_mask` for a language decoder.
            attend_memory: which memory tokens may be looked at; `padding_mask` for padded batches.
        """
        keys = _with(memory, memory_pos)
        if self.pre_norm:
            states = states + self.dropout(self._confer(self.norm1(states), query_pos, attend))
            asked = _with(self.norm2(states), query_pos)
            states = states + self.dropout(self.cross_attention(asked, keys, memory, attend_memory))
            return states + self.dropout(self.feedforward(self.norm3(states)))
        states = self.norm1(states + self.dropout(self._confer(states, query_pos, attend)))
        asked = _with(states, query_pos)
        states = self.norm2(states + self.dropout(self.cross_attention(asked, keys, memory, attend_memory)))
        return self.norm3(states + self.dropout(self.feedforward(states)))

    def _confer(self, states: Tensor, pos: Tensor | None, attend: Tensor | None) -> Tensor:
        where = _with(states, pos)
        return self.self_attention(where, where, states, attend)
