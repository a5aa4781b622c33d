"""What a translation model descends: the label-smoothed cross-entropy of each next word."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from sleuth.losses.tokens import token_cross_entropy
from sleuth.tasks.supervision import LossReport
from sleuth.types.text import TextBatch, TokenPrediction


@dataclass(frozen=True)
class TranslationLossConfig:
    """The ``[loss]`` of a translation recipe.

    Args:
        smoothing: probability that is shared out among all words rather than asked of the right one.

    Source: Vaswani et al. 2017, section 5.4.
    """

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ValueError("smoothing must be at least 0 and below 1")


class TranslationLoss(nn.Module):
    """Mean loss of a word; holds numbers only."""

    def __init__(self, config: TranslationLossConfig) -> None:
        super().__init__()
        self.config = config

    def counts(self, batch: TextBatch) -> Float[Tensor, "1"]:
        """What the loss is divided by: the number of target words.

        Average it over processes (and over accumulated batches) and pass it to `forward`: then several small batches
        have the loss and gradient of one large batch.
        """
        return batch.target_valid.sum().float().reshape(1)

    def forward(
        self, prediction: TokenPrediction, batch: TextBatch, counts: Float[Tensor, "1"] | None = None
    ) -> LossReport:
        """The loss of every target word.

        Args:
            prediction: logits at all places of the target, or at those of ``batch.target_valid`` alone (faster).
                They need not be widened to float32: sums are taken in it.
            batch: what was to be said.
            counts: as from `counts`, averaged over processes; None where there is one process and one batch.

        Returns:
            The smoothed loss in total. Its parts are ``nll``, whose exponential is the perplexity, and ``accuracy``,
            the share of words that were the likeliest.
        """
        logits = prediction.logits
        if logits.ndim == 3:
            logits = logits[batch.target_valid]
        words = (self.counts(batch) if counts is None else counts).to(logits.device).clamp(min=1)[0]
        losses = token_cross_entropy(logits, batch.target_out[batch.target_valid], self.config.smoothing)
        parts = {"nll": losses.nll / words, "accuracy": losses.correct / words}
        return LossReport(total=losses.smoothed / words, parts=parts, matches=[])
