"""DETR's set loss: every supervised stage is matched afresh, and pays for classes and boxes."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.errors import UserError
from sleuth.geometry.boxes import cxcywh_to_xyxy, paired_iou
from sleuth.losses.boxes import giou_loss, l1_loss
from sleuth.losses.classification import (
    focal_classification,
    matchability_classification,
    varifocal_classification,
    weighted_cross_entropy,
)
from sleuth.losses.masks import at_every_pixel, at_points, dice_loss, focal_loss, matched_masks
from sleuth.matching.aligned import aligned_match
from sleuth.matching.costs import CostWeights, PaddedTargets, pad_targets
from sleuth.matching.dense import dense_match
from sleuth.matching.hungarian import Match, hungarian_match
from sleuth.matching.union import matching_union
from sleuth.tasks.corner_loss import corner_losses, corner_stages
from sleuth.tasks.supervision import DetectionLossConfig, LossReport, SupervisedStage
from sleuth.types.batches import Target
from sleuth.types.predictions import Denoising, Proposals, SetPrediction

__all__ = ["DetectionLoss", "DetectionLossConfig", "LossReport", "SupervisedStage"]


class DetectionLoss(nn.Module):
    """The set loss; holds numbers only."""

    def __init__(self, config: DetectionLossConfig) -> None:
        super().__init__()
        self.config = config
        self.costs = CostWeights(
            classes=config.match_class,
            l1=config.match_l1,
            giou=config.match_giou,
            activation="softmax" if config.classes == "softmax" else "sigmoid",
        )

    def counts(self, targets: Sequence[Target], num_queries: int) -> Float[Tensor, "2"]:
        """What the losses are divided by: number of boxes, and total class weight.

        Average it over processes (and over accumulated batches) and pass it to `forward`: then several small batches
        have the loss and gradient of one large batch.
        """
        boxes = sum(len(target.labels) for target in targets)
        matched = sum(min(len(target.labels), num_queries) for target in targets)
        rest = len(targets) * num_queries - matched
        return torch.tensor([boxes, matched + self.config.no_object_weight * rest], dtype=torch.float32)

    def forward(
        self,
        prediction: SetPrediction,
        targets: Sequence[Target],
        counts: Float[Tensor, "2"] | None = None,
    ) -> LossReport:
        """Match every stage and add up what it pays.

        Args:
            prediction: of the model in training mode.
            targets: one for each picture.
            counts: as from `counts`, averaged over processes; None where there is one process and one batch.
        """
        device = prediction.logits.device
        if prediction.points is not None:
            what = "a dense detector's points learn by their places, not by matching"
            raise UserError(what, where="loss.assignment", mend='set it to "points"')
        if (prediction.activation == "softmax") != (self.config.classes == "softmax"):
            raise UserError(
                f"the class loss {self.config.classes!r} does not fit a model with {prediction.activation} scores",
                where="loss.classes",
                mend='softmax takes "softmax"; sigmoid takes "focal", "varifocal" or "matchability"',
            )
        if counts is None:
            counts = self.counts(targets, prediction.logits.shape[2])
        boxes, class_weight = counts.to(device).clamp(min=1e-6).unbind()
        boxes = boxes.clamp(min=1)
        padded = pad_targets(targets, device)
        stages = self.stages(prediction, targets, padded)
        parts: dict[str, Tensor] = {}
        total = torch.zeros((), device=device)
        for stage in stages:
            for term, value in self._pay(stage, padded, boxes, class_weight).items():
                parts[term + stage.name] = value.detach()
                total = total + stage.scale * self._weights[term] * value
        if prediction.masks is not None and self.config.mask_weight + self.config.dice_weight > 0:
            mask, dice = (value / boxes for value in self._mask_losses(prediction, targets, stages))
            parts |= {"mask": mask.detach(), "dice": dice.detach()}
            total = total + self.config.mask_weight * mask + self.config.dice_weight * dice
        return LossReport(total=total, parts=parts, matches=[s.match for s in stages if s.match_weight is None])

    def stages(
        self, prediction: SetPrediction, targets: Sequence[Target], padded: PaddedTargets
    ) -> list[SupervisedStage]:
        """Every set of predictions that is supervised, with its match."""
        logits, boxes = prediction.logits, prediction.boxes_cxcywh
        last = len(logits) - 1
        if not self.config.auxiliary:
            logits, boxes = logits[-1:], boxes[-1:]
        matches = hungarian_match(logits.detach(), boxes.detach(), targets, self.costs)
        rest = torch.full(logits.shape[1:3], self.config.no_object_weight, device=logits.device)
        first = last + 1 - len(logits)
        stages = [
            SupervisedStage(
                name="" if layer == last else f"_{layer}",
                logits=logits[layer - first],
                boxes_cxcywh=boxes[layer - first],
                match=matches[layer - first],
                match_weight=None,
                rest_weight=rest,
            )
            for layer in range(first, last + 1)
        ]
        if prediction.proposals is not None and self.config.proposal_weight > 0:
            stages.append(self._proposal_stage(prediction.proposals, targets))
        if self.config.match_union:
            union = matching_union([stage.match for stage in stages])
            each = max(1, len(union.query)) / max(1, sum(len(target.labels) for target in targets))
            stages = [replace(stage, pairs=union, pairs_each=each) for stage in stages]
        if prediction.corners is not None and self.config.fgl_weight + self.config.ddf_weight > 0:
            pairs = stages[last - first].pairs or stages[last - first].match
            found = corner_stages(prediction.corners, prediction.logits, pairs)[first:]
            stages = [replace(stage, corners=corners) for stage, corners in zip_longest(stages, found)]
        if prediction.memory_logits is not None and self.config.encoder_weight > 0:
            stages.append(self._memory_stage(prediction, padded))
        if prediction.denoising is not None and self.config.denoising_weight > 0:
            stages += self._denoising_stages(prediction.denoising, stages)
        return stages

    def _proposal_stage(self, proposals: Proposals, targets: Sequence[Target]) -> SupervisedStage:
        """What the encoder proposes, matched afresh."""
        if proposals.class_agnostic:
            targets = [replace(target, labels=torch.zeros_like(target.labels)) for target in targets]
        logits, boxes = proposals.logits, proposals.boxes_cxcywh
        (match,) = hungarian_match(logits.detach()[None], boxes.detach()[None], targets, self.costs)
        return SupervisedStage(
            name="_proposals",
            logits=logits,
            boxes_cxcywh=boxes,
            match=match,
            match_weight=None,
            rest_weight=torch.full(logits.shape[:2], self.config.no_object_weight, device=logits.device),
            scale=self.config.proposal_weight,
            class_agnostic=proposals.class_agnostic,
        )

    def _denoising_stages(self, denoising: Denoising, others: Sequence[SupervisedStage]) -> list[SupervisedStage]:
        """Every layer's denoising queries, whose match is known."""
        corners: list[CornerStage | None] = [None] * len(denoising.logits)
        if denoising.corners is not None:
            # Matched queries count as much as among the other queries.
            shares = [stage.corners.share for stage in others if stage.corners is not None]
            corners = corner_stages(denoising.corners, denoising.logits, shares[0]) if shares else corners
        rest = torch.full(denoising.logits.shape[1:3], self.config.no_object_weight, device=denoising.logits.device)
        if denoising.present is not None:
            rest = rest.masked_fill(~denoising.present, 0.0)
        return [
            SupervisedStage(
                name=f"_denoising_{layer}",
                logits=logits,
                boxes_cxcywh=boxes,
                match=denoising.match,
                match_weight=None,
                rest_weight=rest,
                scale=self.config.denoising_weight,
                groups=denoising.groups,
                corners=corners[layer],
            )
            for layer, (logits, boxes) in enumerate(zip(denoising.logits, denoising.boxes_cxcywh, strict=True))
        ]

    def _memory_stage(self, prediction: SetPrediction, padded: PaddedTargets) -> SupervisedStage:
        memory = prediction.memory
        assert prediction.memory_logits is not None
        if self.config.classes != "softmax":
            return self._aligned_stage(prediction, padded)
        assert prediction.memory_boxes_cxcywh is not None
        dense = dense_match(memory, padded)
        batch, tokens, _ = prediction.memory_logits.shape
        # All background tokens together weigh what all unmatched queries do.
        share = self.config.no_object_weight * prediction.logits.shape[2] / tokens
        rest = torch.full((batch, tokens), share, device=memory.tokens.device)
        if memory.valid is not None:
            rest = rest.masked_fill(~memory.valid, 0.0)
        return SupervisedStage(
            name="_memory",
            logits=prediction.memory_logits,
            boxes_cxcywh=prediction.memory_boxes_cxcywh,
            match=dense.match,
            match_weight=dense.weight,
            rest_weight=rest,
            scale=self.config.encoder_weight,
        )

    @property
    def _weights(self) -> dict[str, float]:
        terms = ("class", "l1", "giou", "fgl", "ddf")
        return {term: getattr(self.config, f"{term}_weight") for term in terms}

    def _aligned_stage(self, prediction: SetPrediction, padded: PaddedTargets) -> SupervisedStage:
        """Every token of a pyramid: each object asks several of them."""
        logits, boxes = prediction.memory_logits, prediction.memory_boxes_cxcywh
        assert logits is not None
        assert boxes is not None
        assert prediction.memory_centres is not None
        aligned = aligned_match(logits, boxes, prediction.memory_centres, padded)
        return SupervisedStage(
            name="_memory",
            logits=logits,
            boxes_cxcywh=boxes,
            match=aligned.match,
            match_weight=None,
            rest_weight=torch.ones(logits.shape[:2], device=logits.device),
            scale=self.config.encoder_weight,
            quality=aligned.quality,
        )

    def _pay(
        self, stage: SupervisedStage, padded: PaddedTargets, boxes: Tensor, class_weight: Tensor
    ) -> dict[str, Tensor]:
        """The losses of one stage, unweighted."""
        match = stage.match
        predicted, true = _boxes(stage, match, padded)
        labels = padded.labels[match.picture, match.target]
        if stage.class_agnostic:
            labels = torch.zeros_like(labels)
        boxes = boxes * stage.groups if stage.quality is None else stage.quality.sum().clamp(min=1)
        weights = stage.match_weight if stage.quality is None else stage.quality
        if self.config.classes == "softmax":
            paid = self._softmax(stage, labels, class_weight)
        else:
            paid = self._scores(stage, labels, predicted, true) / boxes
        if stage.pairs is not None:
            match, boxes = stage.pairs, boxes * stage.pairs_each
            predicted, true = _boxes(stage, match, padded)
        parts = {
            "class": paid,
            "l1": l1_loss(predicted, true, weights) / boxes,
            "giou": giou_loss(predicted, true, weights) / boxes,
        }
        if stage.corners is not None:
            localisation, distillation = corner_losses(stage.corners, stage.boxes_cxcywh, match, true)
            parts["fgl"] = localisation / boxes
            if distillation is not None:
                parts["ddf"] = distillation
        return parts

    def _softmax(self, stage: SupervisedStage, matched: Tensor, class_weight: Tensor) -> Tensor:
        """Cross-entropy over the classes and no-object."""
        at = (stage.match.picture, stage.match.query)
        no_object = stage.logits.shape[-1] - 1
        labels = torch.full(stage.logits.shape[:2], no_object, dtype=torch.int64, device=stage.logits.device)
        labels[at] = matched
        weights = stage.rest_weight.clone()
        weights[at] = torch.ones_like(weights[at]) if stage.match_weight is None else stage.match_weight
        return weighted_cross_entropy(stage.logits, labels, weights, class_weight)

    def _scores(self, stage: SupervisedStage, matched: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        """The sum of the losses of every class score of every query."""
        at = (stage.match.picture, stage.match.query, matched)
        logits = stage.logits.float()
        wanted = torch.zeros_like(logits)
        wanted[at] = 1.0
        alpha, gamma = self.config.focal_alpha, self.config.focal_gamma
        if self.config.classes == "focal":
            each = focal_classification(logits, wanted, alpha=alpha, gamma=gamma)
        else:
            quality = torch.zeros_like(logits)
            if stage.quality is not None:
                quality[at] = stage.quality
            else:
                quality[at] = paired_iou(cxcywh_to_xyxy(predicted.detach()), cxcywh_to_xyxy(true))
            if self.config.classes == "varifocal" or stage.quality is not None:
                each = varifocal_classification(logits, wanted, quality, alpha=alpha, gamma=gamma)
            else:
                each = matchability_classification(logits, wanted, quality, gamma=gamma)
        weights = (stage.rest_weight > 0).to(each.dtype)
        if stage.match_weight is not None:
            weights[stage.match.picture, stage.match.query] = stage.match_weight
        return (each * weights[..., None]).sum()

    def _mask_losses(
        self, prediction: SetPrediction, targets: Sequence[Target], stages: Sequence[SupervisedStage]
    ) -> tuple[Tensor, Tensor]:
        """Focal and dice loss of the last layer's matched queries; only their masks are computed."""
        assert prediction.masks is not None
        match = next(stage.match for stage in stages if stage.name == "")
        if not len(match.query):
            # Every process has to send a gradient for the mask head, be it zero.
            nothing = torch.zeros(1, dtype=torch.int64, device=prediction.logits.device)
            zero = 0 * prediction.masks(nothing, nothing).sum()
            return zero, zero
        limit, count = self.config.mask_limit, len(match.query)
        some = torch.randperm(count)[:limit].to(match.query.device) if 0 < limit < count else slice(None)
        picture, query, target = match.picture[some], match.query[some], match.target[some]
        logits = prediction.masks(picture, query).float()
        true = matched_masks(targets, picture, target, prediction.memory.input_hw)
        if 0 < self.config.mask_points < true[0].numel():
            at = at_points(logits, true, self.config.mask_points)
        else:
            at = at_every_pixel(logits, true)
        share = count / len(query)
        return share * focal_loss(*at), share * dice_loss(*at)


def _boxes(stage: SupervisedStage, match: Match, padded: PaddedTargets) -> tuple[Tensor, Tensor]:
    """Predicted and true boxes of pairs."""
    return stage.boxes_cxcywh[match.picture, match.query].float(), padded.boxes_cxcywh[match.picture, match.target]
