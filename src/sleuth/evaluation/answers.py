"""What a model answers about pictures, in the columns and maps that are measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from sleuth.evaluation.columns import Predictions, mask_column
from sleuth.evaluation.panoptic import VOID, PanopticCounts, PanopticMap, count_segments
from sleuth.evaluation.pictures import Picture
from sleuth.evaluation.truth import to_xywh
from sleuth.geometry.rle import PackedMasks
from sleuth.tasks.detection import RawDetections, decode_detections
from sleuth.tasks.segmentation import PAPER_RULE, PanopticRule, decode_panoptic, read_masks
from sleuth.types.batches import ImageBatch
from sleuth.types.predictions import SetPrediction


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says about a batch of pictures.

    Args:
        on_device: as the model gave it; its masks are read there.
        at_hand: logits and boxes in float32 on the CPU.
    """

    on_device: SetPrediction
    at_hand: SetPrediction


@torch.inference_mode()
def ask(model: nn.Module, images: ImageBatch, device: torch.device | str) -> Answers:
    """Run a model on a batch, in its own precision."""
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    images = images.to(device)
    prediction: SetPrediction = model(replace(images, pixels=images.pixels.to(dtype)))
    logits, boxes = prediction.logits.float().cpu(), prediction.boxes_cxcywh.float().cpu()
    return Answers(prediction, replace(prediction, logits=logits, boxes_cxcywh=boxes))


def collect(answers: Answers, pictures: Sequence[Picture], *, layer: int, most: int, masks: bool) -> list[Predictions]:
    """The best finite predictions of one layer for each picture, in pixels of the sample's picture.

    Args:
        answers: of the model, to these pictures.
        pictures: of the batch.
        layer: which decoder layer answers.
        most: predictions of a picture.
        masks: read the masks of these predictions too; only the last layer has them.

    Returns: predictions with the model's labels. Masks are packed as they are read, picture by picture.
    """
    found = decode_detections(answers.at_hand, [picture.size_hw for picture in pictures], layer=layer)
    collected = []
    for row, (picture, each) in enumerate(zip(pictures, found, strict=True)):
        predictions = Predictions(
            pictures=np.full(len(each.scores[:most]), picture.index),
            labels=each.labels[:most].numpy(),
            boxes_xywh_px=to_xywh(each.boxes_xyxy_px[:most].double().numpy()),
            scores=each.scores[:most].double().numpy(),
        )
        if masks:
            predictions = replace(predictions, masks=_masks(answers, row, picture, each, most))
        collected.append(predictions.finite())
    return collected


@torch.inference_mode()
def _masks(answers: Answers, row: int, picture: Picture, found: RawDetections, most: int) -> np.ndarray:
    queries = found.queries[:most].to(answers.on_device.logits.device)
    masks = read_masks(answers.on_device, row, queries, picture_hw=picture.input_hw, size_hw=picture.size_hw)
    return mask_column(PackedMasks.pack(masks).counts)


@torch.inference_mode()
def count_panoptic(
    answers: Answers,
    pictures: Sequence[Picture],
    *,
    label_of: np.ndarray,
    is_thing: Sequence[bool],
    rule: PanopticRule = PAPER_RULE,
) -> PanopticCounts:
    """Panoptic counts of a batch, each map measured and forgotten.

    Where the data has no stuff its unlabelled pixels are background, on which a segment is an invention; else they are
    void.

    Args:
        answers: of the model, to these pictures.
        pictures: with their panoptic ground truth.
        label_of: the data's label of each class of the model, -1 where the data lacks it; such segments are left out.
        is_thing: for each label of the data.
        rule: how the model's answers part a picture.
    """
    classes = len(is_thing)
    things_only = all(is_thing)
    theirs = [label < 0 or bool(is_thing[label]) for label in label_of.tolist()]
    counts = PanopticCounts.none(classes + 1)
    for row, picture in enumerate(pictures):
        assert picture.panoptic is not None
        raw = decode_panoptic(
            answers.on_device,
            row,
            picture_hw=picture.input_hw,
            size_hw=picture.size_hw,
            is_thing=theirs,
            rule=rule,
        )
        ids = raw.segment_ids.cpu().numpy().astype(np.int64)
        segments = [each for each in raw.segments if each.area > 0]
        numbers = np.array([each.id for each in segments], dtype=np.int64)
        labels = label_of[np.array([each.label for each in segments], dtype=np.int64)]
        known = labels >= 0
        found = PanopticMap(
            ids=np.where(np.isin(ids, numbers[known]), ids, VOID),
            segment_ids=numbers[known],
            labels=labels[known],
            crowd=np.zeros(int(known.sum()), dtype=bool),
            name=picture.panoptic.name,
        )
        truth = _with_background(picture.panoptic, classes) if things_only else picture.panoptic
        counts += count_segments(truth, found, classes + 1)
    return PanopticCounts(counts.iou[:-1], counts.found[:-1], counts.invented[:-1], counts.missed[:-1])


def _with_background(truth: PanopticMap, label: int) -> PanopticMap:
    """Unlabelled pixels as a segment of a class of their own."""
    if not (truth.ids == VOID).any():
        return truth
    number = int(truth.segment_ids.max(initial=VOID)) + 1
    return PanopticMap(
        ids=np.where(truth.ids == VOID, number, truth.ids),
        segment_ids=np.append(truth.segment_ids, number),
        labels=np.append(truth.labels, label),
        crowd=np.append(truth.crowd, False),
        name=truth.name,
    )
