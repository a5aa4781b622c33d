"""What a classifier descends, cross-entropy of smoothed or mixed labels, and what it answers: the likeliest classes."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.tasks.preprocess import Preprocess
from sleuth.tasks.supervision import LossReport
from sleuth.types.batches import ClassBatch
from sleuth.types.predictions import ClassPrediction

UNLIMITED = 1_000_000_000
"""For the longer side of a picture that is resized by its shorter side alone."""


@dataclass(frozen=True)
class ClassificationLossConfig:
    """The ``[loss]`` of a classification recipe.

    Args:
        smoothing: probability that is shared out among all classes rather than asked of the right one.

    Source: Szegedy et al. 2016, section 7.
    """

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ValueError("smoothing must be at least 0 and below 1")


class ClassificationLoss(nn.Module):
    """Mean cross-entropy of a picture; holds numbers only.

    Models with a head for the distillation token pay the mean of both heads' losses: Touvron et al. 2021, section 4,
    where nobody teaches but the labels.
    """

    def __init__(self, config: ClassificationLossConfig) -> None:
        super().__init__()
        self.config = config

    def counts(self, batch: ClassBatch) -> Float[Tensor, "1"]:
        """What the loss is divided by: the number of pictures."""
        return torch.tensor([float(len(batch))])

    def forward(
        self, prediction: ClassPrediction, batch: ClassBatch, counts: Float[Tensor, "1"] | None = None
    ) -> LossReport:
        """The loss of a batch.

        Args:
            prediction: logits, in any precision: the loss is taken in float32.
            batch: what the pictures show.
            counts: as from `counts`, averaged over processes; None where there is one process and one batch.

        Returns:
            The loss in total. Its parts are ``class``, the same without smoothing, and ``accuracy``, the share of
            pictures whose class (of mixed ones, the larger part's) was the likeliest.
        """
        pictures = (self.counts(batch) if counts is None else counts).to(batch.labels.device).clamp(min=1)[0]
        wanted = batch.labels if batch.wanted is None else batch.wanted
        heads = [logits.float() for logits in prediction.by_head or (prediction.logits,)]
        total = torch.stack([_summed(logits, wanted, self.config.smoothing) for logits in heads]).mean() / pictures
        with torch.no_grad():
            logits = prediction.logits.float()
            plain = _summed(logits, wanted, 0.0) / pictures
            right = (logits.argmax(dim=1) == batch.labels).sum() / pictures
        return LossReport(total=total, parts={"class": plain, "accuracy": right}, matches=[])


def _summed(logits: Tensor, wanted: Tensor, smoothing: float) -> Tensor:
    return F.cross_entropy(logits, wanted, label_smoothing=smoothing, reduction="sum")


@dataclass(frozen=True)
class Guess:
    """A class that a picture may show.

    Args:
        label: number of the class.
        name: of the class.
        score: its probability, 0 to 1.
    """

    label: int
    name: str
    score: float


def decode_classes(prediction: ClassPrediction, names: tuple[str, ...], top: int = 5) -> list[list[Guess]]:
    """The likeliest classes of each picture, the best first.

    Args:
        prediction: of a batch.
        names: of the classes.
        top: how many of them; all where there are no more.
    """
    scores = prediction.logits.float().softmax(dim=1).cpu()
    best = scores.topk(min(top, scores.shape[1]), dim=1)
    return [
        [Guess(label, names[label], score) for label, score in zip(labels, values, strict=True)]
        for labels, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def classifier_preprocess(image_hw: tuple[int, int]) -> Preprocess:
    """How a classifier that was trained at a size sees pictures, where nobody says otherwise.

    For a square, the shorter side is brought to it and the middle is cut out; another shape is taken as it is.
    """
    height, width = image_hw
    if height == width:
        return Preprocess(shortest=height, longest=UNLIMITED, crop_hw=image_hw, resample="bicubic")
    return Preprocess(resize="exact", size_hw=image_hw, resample="bicubic")


def input_size(preprocess: Preprocess) -> tuple[int, int] | None:
    """Height and width that every picture has for the model; None where it depends on the picture."""
    if preprocess.crop_hw is not None:
        return preprocess.crop_hw
    return preprocess.size_hw if preprocess.resize == "exact" else None
