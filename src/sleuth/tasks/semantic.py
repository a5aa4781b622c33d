"""What a model of pixel classes descends, and how logits of patches become classes of pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from sleuth.tasks.preprocess import Preprocess
from sleuth.tasks.supervision import LossReport
from sleuth.types.batches import SemanticBatch
from sleuth.types.predictions import SemanticPrediction

UNLABELLED = 255
"""The label of a pixel of which nobody has said what it shows."""


MOST_NARROW = 4
"""The longer side of what a model sees is at most so many times the usual shorter side."""


@dataclass(frozen=True)
class SemanticLossConfig:
    """The ``[loss]`` of a recipe for semantic segmentation.

    Args:
        class_weights: none; median (a class weighs the median frequency of all by its own, so that pixels of rare
            classes count for more); or root, the square root of that.
        smoothing: probability that is shared out among all classes rather than asked of the right one.

    Source: median frequency balancing from Eigen and Fergus 2015, section 6.3.2.
    """

    class_weights: Literal["none", "root", "median"] = "none"
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ValueError("smoothing must be at least 0 and below 1")


def class_weights(kind: Literal["none", "root", "median"], shares: Sequence[float]) -> tuple[float, ...]:
    """How much a pixel of each class counts.

    Args:
        kind: as in `SemanticLossConfig`.
        shares: of each class, the share of pixels in the pictures that have it; 0 where it does not occur.

    >>> class_weights("median", (0.4, 0.1, 0.2))
    (0.5, 2.0, 1.0)
    """
    if kind == "none":
        return (1.0,) * len(shares)
    there = sorted(share for share in shares if share > 0)
    if not there:
        return (1.0,) * len(shares)
    middle = (there[(len(there) - 1) // 2] + there[len(there) // 2]) / 2
    power = 0.5 if kind == "root" else 1.0
    return tuple((middle / share) ** power if share > 0 else 1.0 for share in shares)


class SemanticLoss(nn.Module):
    """Mean cross-entropy of a labelled pixel, weighted by class; holds numbers only.

    Args:
        config: the settings.
        weights: of each class, as from `class_weights`.
    """

    def __init__(self, config: SemanticLossConfig, weights: Sequence[float]) -> None:
        super().__init__()
        self.config, self.given = config, tuple(weights)

    @cached_property
    def weights(self) -> Float[Tensor, " classes"]:
        """The weights as a tensor on the CPU."""
        return torch.tensor(self.given, dtype=torch.float32)

    def counts(self, batch: SemanticBatch) -> Float[Tensor, "1"]:
        """What the loss is divided by: the labelled pixels, each by the weight of its class."""
        there = torch.bincount(batch.labels.flatten().int(), minlength=256)[: len(self.given)]
        return (there.cpu() * self.weights).sum().reshape(1)

    def forward(
        self, prediction: SemanticPrediction, batch: SemanticBatch, counts: Float[Tensor, "1"] | None = None
    ) -> LossReport:
        """The loss of a batch.

        Args:
            prediction: logits, in any precision: the loss is taken in float32.
            batch: what the pixels show.
            counts: as from `counts`, averaged over processes; None where there is one process and one batch.

        Returns:
            The loss in total. Its part ``accuracy`` is the share of labelled pixels whose class was the likeliest.
        """
        logits = pixel_logits(prediction, (batch.labels.shape[1], batch.labels.shape[2]))
        labels = batch.labels.long()
        divisor = (self.counts(batch) if counts is None else counts).to(logits.device).clamp(min=1e-6)[0]
        summed = F.cross_entropy(
            logits,
            labels,
            weight=self.weights.to(logits.device),
            ignore_index=UNLABELLED,
            label_smoothing=self.config.smoothing,
            reduction="sum",
        )
        with torch.no_grad():
            known = labels != UNLABELLED
            right = (logits.argmax(dim=1) == labels).sum() / known.sum().clamp(min=1)
        return LossReport(total=summed / divisor, parts={"accuracy": right}, matches=[])


def pixel_logits(
    prediction: SemanticPrediction, size_hw: tuple[int, int]
) -> Float[Tensor, "batch classes height width"]:
    """Logits of every pixel of the padded pictures, in float32, between those of patches by bilinear interpolation.

    Args:
        prediction: of a batch.
        size_hw: height and width of the padded pictures; where they are no whole patches, the rest is cut off.
    """
    logits = prediction.logits.float()
    whole = [side * prediction.patch_size for side in logits.shape[2:]]
    return F.interpolate(logits, whole, mode="bilinear", align_corners=False)[..., : size_hw[0], : size_hw[1]]


def label_map(scores: Float[Tensor, "classes _ _"], size_hw: tuple[int, int]) -> UInt8[Tensor, "height width"]:
    """The likeliest class of every pixel at a size, class after class, so that a large picture takes little memory.

    Args:
        scores: of each class, at any size.
        size_hw: height and width of the map.
    """
    best, labels = None, torch.zeros(size_hw, dtype=torch.uint8, device=scores.device)
    for label, own in enumerate(scores):
        if tuple(own.shape) != size_hw:
            own = F.interpolate(own[None, None], size_hw, mode="bilinear", align_corners=False)[0, 0]
        if best is None:
            best = own.clone()
            continue
        above = own > best
        labels[above] = label
        best = torch.where(above, own, best)
    return labels


def semantic_preprocess(image_hw: tuple[int, int]) -> Preprocess:
    """How a model that was trained at a size sees pictures, where nobody says otherwise: by the shorter side.

    A long and narrow picture is seen smaller, so that it does not become too large to look at.
    """
    return Preprocess(shortest=min(image_hw), longest=MOST_NARROW * min(image_hw))
