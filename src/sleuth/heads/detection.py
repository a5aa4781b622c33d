"""Class and box heads, shared by all decoder layers."""

from jaxtyping import Float
from torch import Tensor, nn

from sleuth.nn.feedforward import MLP


class ClassHead(nn.Linear):
    """Logits of every class and, last, of no-object.

    Args:
        dim: size of a decoder state.
        num_classes: classes without no-object.
    """

    def __init__(self, *, dim: int, num_classes: int) -> None:
        super().__init__(dim, num_classes + 1)


class BoxHead(nn.Module):
    """A three-layer perceptron from a decoder state to a box, relative to the picture.

    Source: Carion et al. 2020, section 3.2, "prediction feed-forward networks".
    """

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.mlp = MLP(in_dim=dim, hidden_dim=dim, out_dim=4, num_layers=3)

    def forward(self, states: Float[Tensor, "*shape dim"]) -> Float[Tensor, "*shape 4"]:
        """Boxes as cxcywh, 0 to 1."""
        return self.mlp(states).sigmoid()
