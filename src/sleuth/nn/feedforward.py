"""Position-wise networks: the transformer's feed-forward part and the plain multi-layer perceptron of the heads."""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.dropout import Dropout

Activation = Callable[[Tensor], Tensor]


class FeedForward(nn.Module):
    """Two linear layers with an activation between, applied to each token alone.

    Source: Vaswani et al. 2017, equation 2.
    """

    def __init__(self, *, dim: int, hidden_dim: int, dropout: float = 0.0, activation: Activation = F.relu) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, hidden_dim)
        self.linear2 = nn.Linear(hidden_dim, dim)
        self.dropout = Dropout(dropout)
        self.activation = activation

    def forward(self, x: Float[Tensor, "batch length dim"]) -> Float[Tensor, "batch length dim"]:
        """Expand, activate, contract."""
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class GatedFeedForward(nn.Module):
    """A feed-forward network whose hidden units are gated by others: silu(x W_gate) * (x W_up), then W_down.

    Gate and up are one product, the gate first.

    Args:
        dim: size of a token.
        hidden_dim: gated units.
        dropout: share of them dropped while training.

    Source: Shazeer 2020, "GLU Variants Improve Transformer", equation 6.
    """

    def __init__(self, *, dim: int, hidden_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, 2 * hidden_dim)
        self.linear2 = nn.Linear(hidden_dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch length dim"]) -> Float[Tensor, "batch length dim"]:
        """Expand, gate, contract."""
        gate, up = self.linear1(x).chunk(2, dim=-1)
        return self.linear2(self.dropout(F.silu(gate) * up))


def gelu_of_own(x: Tensor) -> Tensor:
    """GELU of a tensor that nobody else reads: in place where there is no gradient, which spares a large tensor."""
    return F.gelu(x) if torch.is_grad_enabled() else torch.ops.aten.gelu_(x)


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by the formula with tanh, which some models were trained with."""
    return F.gelu(x, approximate="tanh")


class MLP(nn.Module):
    """Linear layers with ReLU between them; DETR's box head has three.

    Args:
        in_dim: size of the input.
        hidden_dim: size between.
        out_dim: size of the output.
        num_layers: how many linear layers.
    """

    def __init__(self, *, in_dim: int, hidden_dim: int, out_dim: int, num_layers: int) -> None:
        super().__init__()
        sizes = [in_dim, *[hidden_dim] * (num_layers - 1), out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Float[Tensor, "*shape in_dim"]) -> Float[Tensor, "*shape out_dim"]:
        """All layers, the last without activation."""
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


def zero_ended(mlp: MLP) -> MLP:
    """The same perceptron, which says zero at first."""
    for parameter in mlp.layers[-1].parameters():
        nn.init.zeros_(parameter)
    return mlp
