"""FCOS's loss: every point pays for its classes, and those that answer for an object for its box and its middle."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.errors import UserError
from sleuth.geometry.boxes import cxcywh_to_xyxy, paired_giou
from sleuth.losses.classification import focal_classification
from sleuth.matching.costs import pad_targets
from sleuth.matching.points import point_match
from sleuth.tasks.supervision import DetectionLossConfig, LossReport
from sleuth.types.batches import Target
from sleuth.types.predictions import SetPrediction


class PointLoss(nn.Module):
    """The loss of a dense detector; holds numbers only.

    Each part is divided by the points of the batch that answer for an object; several processes, and accumulated
    batches, average theirs.

    Raises:
        UserError: another class loss than the focal one is asked for.

    Source: Tian et al. 2019, equation 2. As in torchvision, box losses are not weighted by centreness.
    """

    def __init__(self, config: DetectionLossConfig) -> None:
        super().__init__()
        if config.classes != "focal":
            what = f"points learn classes by the focal loss, not by {config.classes!r}"
            raise UserError(what, where="loss.classes", mend='set it to "focal", or loss.assignment to "set"')
        self.config = config

    def counts(self, targets: Sequence[Target], num_queries: int) -> Float[Tensor, "2"]:
        """The number of boxes, twice: this loss is divided by its own points, which are not known beforehand."""
        boxes = float(sum(len(target.labels) for target in targets))
        return torch.tensor([boxes, boxes])

    def forward(
        self, prediction: SetPrediction, targets: Sequence[Target], counts: Float[Tensor, "2"] | None = None
    ) -> LossReport:
        """Give points to objects and add up what they pay.

        Args:
            prediction: of a dense detector in training mode.
            targets: one for each picture.
            counts: not read.

        Returns:
            The parts ``class``, ``giou`` and ``centre``, and as ``missed`` the share of objects that no point answers
            for, which teach nothing.
        """
        points, config = prediction.points, self.config
        if points is None:
            what = "the points of a dense detector are to learn, and the model answers by queries"
            raise UserError(what, where="loss.assignment", mend='set it to "set"')
        padded = pad_targets(targets, prediction.logits.device)
        true_px = cxcywh_to_xyxy(padded.boxes_cxcywh) * points.pictures_wh_px.repeat(1, 2)[:, None]
        found = point_match(points, true_px, padded.present, radius=config.centre_radius)
        at = (found.match.picture, found.match.query)
        logits = prediction.logits[-1].float()
        wanted = torch.zeros_like(logits)
        wanted[(*at, padded.labels[found.match.picture, found.match.target])] = 1.0
        each = focal_classification(logits, wanted, alpha=config.focal_alpha, gamma=config.focal_gamma)
        overlap = paired_giou(points.boxes_xyxy_px()[at], true_px[found.match.picture, found.match.target])
        middle = F.binary_cross_entropy_with_logits(
            points.centreness[at].float(), found.centreness.float(), reduction="sum"
        )
        answering = max(1, len(found.match.query))
        parts = {"class": each.sum(), "giou": (1 - overlap).sum(), "centre": middle}
        weights = {"class": config.class_weight, "giou": config.giou_weight, "centre": config.centre_weight}
        parts = {name: value / answering for name, value in parts.items()}
        total = torch.stack([weights[name] * value for name, value in parts.items()]).sum()
        missed = found.missed.sum() / padded.present.sum().clamp(min=1)
        told = {name: value.detach() for name, value in parts.items()} | {"missed": missed}
        return LossReport(total=total, parts=told, matches=[found.match])
