"""One score a class, without no-object: the class head of the families that came after DETR."""

import math

from torch import nn

PRIOR = 0.01


class ScoreHead(nn.Linear):
    """Logits of every class, which start at a small probability, so that the many negatives cost little at first.

    Args:
        dim: size of a decoder state.
        num_classes: classes.
        prior: the probability that every score starts at.

    Source: Lin et al. 2017, section 4.1, "initialization".
    """

    def __init__(self, *, dim: int, num_classes: int, prior: float = PRIOR) -> None:
        super().__init__(dim, num_classes)
        nn.init.constant_(self.bias, -math.log((1 - prior) / prior))
