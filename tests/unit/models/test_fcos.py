"""FCOS: any sizes, pyramids and vision Transformers, answers before and after suppression."""

from dataclasses import replace

import pytest
import torch

from sleuth.errors import UserError
from sleuth.geometry.boxes import pairwise_iou
from sleuth.models.fcos import Fcos, FcosConfig, build_fcos
from sleuth.tasks.detection import decode_detections
from sleuth.types.batches import ImageBatch

TINY = FcosConfig(
    backbone="resnet10", backbone_width=8, num_classes=3, num_queries=7, dim=64, num_levels=3, tower_layers=1
)


def tiny(**options: object) -> Fcos:
    return build_fcos(replace(TINY, **options)).eval()


def batch(height: int, width: int) -> ImageBatch:
    return ImageBatch(torch.randn(1, 3, height, width), torch.ones(1, height, width, dtype=torch.bool))


@torch.no_grad()
@pytest.mark.parametrize(
    ("options", "grids", "strides"),
    [
        ({}, ((6, 9), (3, 5), (2, 3)), {8, 16, 32}),
        ({"num_levels": 5}, ((6, 9), (3, 5), (2, 3), (1, 2), (1, 1)), {8, 16, 32, 64, 128}),
        ({"backbone": "vit-digits", "num_levels": 1}, ((21, 35),), {2}),
        ({"backbone": "vit-digits", "num_levels": 2}, ((21, 35), (11, 18)), {2, 4}),
        ({"tower_layers": 0}, ((6, 9), (3, 5), (2, 3)), {8, 16, 32}),
    ],
    ids=str,
)
def test_levels_and_points(options: dict, grids: tuple, strides: set[int]) -> None:
    prediction = tiny(**options)(batch(42, 70))
    points = prediction.points
    assert prediction.memory.grids_hw == grids
    assert set(points.strides.tolist()) == strides
    assert prediction.logits.shape == (1, 1, sum(h * w for h, w in grids), 3)
    assert points.pictures_wh_px.tolist() == [[70, 42]]
    first = min(strides) / 2
    assert points.centres_px[0].tolist() == [first, first]
    assert points.centres_px[1].tolist() == [3 * first, first], "row by row"
    assert points.ranges_px[0, 0] == 0
    assert points.ranges_px[-1, 1] == torch.inf
    # As they learn from objects of all sizes, levels leave no gap between their ranges.
    finer = points.ranges_px[points.strides == min(strides)][0, 1]
    assert len(strides) == 1 or finer == 8 * min(strides) == 4 * sorted(strides)[1] * 1.0


@torch.no_grad()
def test_suppression_leaves_no_two_boxes_of_a_class_on_each_other() -> None:
    model = tiny(nms_iou=0.3)
    model.class_head.bias += 4
    prediction = model(batch(64, 96))
    (few,) = decode_detections(prediction, [(64, 96)])
    (every,) = decode_detections(prediction, [(64, 96)], suppress=False)
    assert len(few.scores) == 7
    assert len(every.scores) == prediction.logits.shape[2]
    overlap = pairwise_iou(few.boxes_xyxy_px, few.boxes_xyxy_px)
    same = few.labels[:, None] == few.labels
    assert not bool(((overlap > 0.3) & same).triu(1).any())
    assert float(few.scores[0]) == float(every.scores[0]), "the surest stays"
    assert bool((few.scores.diff() <= 0).all())
    assert bool((few.boxes_xyxy_px >= 0).all())
    assert bool((few.boxes_xyxy_px <= torch.tensor([96, 64, 96, 64])).all())


@torch.no_grad()
def test_centreness_lowers_scores() -> None:
    model = tiny()
    model.centre_head.weight.zero_()
    model.centre_head.bias.fill_(-3.0)
    prediction = model(batch(64, 64))
    (found,) = decode_detections(prediction, [(64, 64)])
    logit = prediction.logits[0, 0, found.queries[0], found.labels[0]]
    torch.testing.assert_close(found.scores[0], (logit.sigmoid() * torch.tensor(-3.0).sigmoid()).sqrt())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dim": 96}, "dim = 96 is not a multiple of 64"),
        ({"num_levels": 4}, "num_levels = 4 is neither 3 nor 5"),
        ({"nms_iou": 0.0}, "nms_iou"),
        ({"reach": 0.0}, "reach"),
        ({"candidates": 0}, "candidates = 0"),
    ],
)
def test_numbers_that_make_no_model(options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        tiny(**options)


def test_a_picture_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(UserError, match="smaller than a patch of 2x2"):
        tiny(backbone="vit-digits", num_levels=1)(batch(1, 30))
