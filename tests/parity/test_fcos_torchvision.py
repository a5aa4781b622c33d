"""FCOS against torchvision's: heads, losses and matching, decoding and suppression, with the same random weights."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOS
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from sleuth.geometry.boxes import cxcywh_to_xyxy
from sleuth.models.fcos import Fcos, FcosConfig, build_fcos
from sleuth.tasks.detection import build_criterion, decode_detections
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.predictions import SetPrediction
from sleuth.weights.catalog import FCOS_LOSS

CLASSES = 4
HEIGHT, WIDTH = 128, 192


@pytest.fixture
def ours() -> Fcos:
    config = FcosConfig(
        backbone="resnet10", backbone_width=8, num_classes=CLASSES, dim=64, num_levels=5, tower_layers=2, reach=8.0
    )
    model = build_fcos(config)
    with torch.no_grad():
        for part in (model.class_tower, model.box_tower, model.class_head, model.box_head, model.centre_head):
            for parameter in part.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.class_head.bias += 4  # as if it had learned that there are objects
    return model.train()


@pytest.fixture
def theirs(ours: Fcos) -> FCOS:
    backbone = nn.Identity()
    backbone.out_channels = 64
    made = FCOS(backbone, num_classes=CLASSES, score_thresh=0.05, nms_thresh=0.6, topk_candidates=1000)
    made.head = type(made.head)(64, 1, CLASSES, num_convs=2)
    classes, boxes = made.head.classification_head, made.head.regression_head
    for part, source in (
        (classes.conv, ours.class_tower),
        (classes.cls_logits, ours.class_head),
        (boxes.conv, ours.box_tower),
        (boxes.bbox_reg, ours.box_head),
        (boxes.bbox_ctrness, ours.centre_head),
    ):
        part.load_state_dict(source.state_dict())
    return made


def batch() -> ImageBatch:
    return ImageBatch(torch.randn(2, 3, HEIGHT, WIDTH), torch.ones(2, HEIGHT, WIDTH, dtype=torch.bool))


def targets() -> list[Target]:
    """Small, middling and large objects, some within others, and a picture with one."""
    corner = 0.1 + 0.5 * torch.rand(9, 2)
    size = torch.tensor([0.05, 0.1, 0.2, 0.3, 0.35, 0.1, 0.2, 0.05, 0.35])[:, None] * (0.8 + 0.4 * torch.rand(9, 2))
    boxes = torch.cat((corner + size / 2, size), dim=1)
    return [Target(torch.randint(0, CLASSES, (8,)), boxes[:8]), Target(torch.tensor([2]), boxes[8:])]


def anchors(prediction: SetPrediction) -> Tensor:
    """Our points as torchvision has them: squares of a stride about them."""
    points = prediction.points
    assert points is not None
    half = points.strides[:, None] / 2
    return torch.cat((points.centres_px - half, points.centres_px + half), dim=1)


def as_theirs(prediction: SetPrediction) -> dict[str, Tensor]:
    points = prediction.points
    assert points is not None
    return {
        "cls_logits": prediction.logits[0],
        "bbox_regression": points.distances,
        "bbox_ctrness": points.centreness[..., None],
    }


@torch.no_grad()
def test_heads_say_the_same_and_distances_are_their_exponential(ours: Fcos, theirs: FCOS) -> None:
    levels = ours.encode(batch())
    ours.scales[:] = torch.tensor([1.0, 0.5, 2.0, 1.5, 0.8])
    logits, distances, centreness = ours.ask(levels)
    said = theirs.head(levels)
    torch.testing.assert_close(logits, said["cls_logits"])
    torch.testing.assert_close(centreness, said["bbox_ctrness"][..., 0])
    # Theirs are rectified rather than raised: where they are above 0, both read the same numbers. Ours have a limit.
    counts = torch.tensor([level[0, 0].numel() for level in levels])
    scales = ours.scales.repeat_interleave(counts)[:, None]
    wanted = torch.minimum(said["bbox_regression"], 9 / scales)
    torch.testing.assert_close((distances.log() / scales).clamp(min=0), wanted, atol=1e-5, rtol=1e-4)


def test_losses_and_matches_are_theirs(ours: Fcos, theirs: FCOS) -> None:
    found, wanted = ours(batch()), targets()
    report = build_criterion(FCOS_LOSS)(found, wanted)
    scale = torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    their_targets = [{"labels": t.labels, "boxes": cxcywh_to_xyxy(t.boxes_cxcywh) * scale} for t in wanted]
    counts = [height * width for height, width in found.memory.grids_hw]
    paid = theirs.compute_loss(their_targets, as_theirs(found), [anchors(found)] * 2, counts)
    assert len(report.matches[0].query) > 20
    torch.testing.assert_close(report.parts["class"], paid["classification"].detach())
    torch.testing.assert_close(report.parts["giou"], paid["bbox_regression"].detach())
    torch.testing.assert_close(report.parts["centre"], paid["bbox_ctrness"].detach())
    torch.testing.assert_close(report.total, sum(paid.values()))
    mine = torch.autograd.grad(report.total, ours.box_head.weight, retain_graph=True)
    their = torch.autograd.grad(sum(paid.values()), ours.box_head.weight)
    torch.testing.assert_close(mine, their)


def test_losses_are_those_written_out(ours: Fcos) -> None:
    """Independently of torchvision's detector, with its losses alone, point by point."""
    found, wanted = ours(batch()), targets()
    report = build_criterion(FCOS_LOSS)(found, wanted)
    points, logits = found.points, found.logits[0]
    assert points is not None
    one_hot, boxes, middles = torch.zeros_like(logits), [], []
    for picture, target in enumerate(wanted):
        true = cxcywh_to_xyxy(target.boxes_cxcywh) * torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
        areas = (true[:, 2] - true[:, 0]) * (true[:, 3] - true[:, 1])
        for point, ((x, y), stride, (low, high)) in enumerate(
            zip(points.centres_px.tolist(), points.strides.tolist(), points.ranges_px.tolist(), strict=True)
        ):
            best = None
            for number, (left, top, right, bottom) in enumerate(true.tolist()):
                l, t, r, b = x - left, y - top, right - x, bottom - y  # noqa: E741
                near = max(abs(l - r), abs(t - b)) / 2 < 1.5 * stride
                fits = min(l, t, r, b) > 0 and near and low < max(l, t, r, b) < high
                if fits and (best is None or areas[number] < areas[best[0]]):
                    best = number, (min(l, r) / max(l, r) * min(t, b) / max(t, b)) ** 0.5
            if best is not None:
                one_hot[picture, point, target.labels[best[0]]] = 1
                boxes.append((points.boxes_xyxy_px()[picture, point], true[best[0]]))
                middles.append((points.centreness[picture, point], best[1]))
    count = len(boxes)
    said, true = (torch.stack(each) for each in zip(*boxes, strict=True))
    torch.testing.assert_close(report.parts["class"], sigmoid_focal_loss(logits, one_hot, reduction="sum") / count)
    torch.testing.assert_close(report.parts["giou"], generalized_box_iou_loss(said, true, reduction="sum") / count)
    centre = nn.functional.binary_cross_entropy_with_logits(
        torch.stack([each for each, _ in middles]), torch.tensor([share for _, share in middles])
    )
    torch.testing.assert_close(report.parts["centre"], centre)


@torch.no_grad()
def test_answers_after_suppression_are_theirs(ours: Fcos, theirs: FCOS) -> None:
    ours.eval()
    found = ours(batch())
    counts = [height * width for height, width in found.memory.grids_hw]
    split = {name: list(value.split(counts, dim=1)) for name, value in as_theirs(found).items()}
    places = [list(anchors(found).split(counts))] * 2
    wanted = theirs.postprocess_detections(split, places, [(HEIGHT, WIDTH)] * 2)
    answers = decode_detections(found, [(HEIGHT, WIDTH)] * 2, threshold=0.05)
    for mine, their in zip(answers, wanted, strict=True):
        assert len(mine.scores) == len(their["scores"]) == 100
        torch.testing.assert_close(mine.scores, their["scores"])
        assert torch.equal(mine.labels, their["labels"])
        torch.testing.assert_close(mine.boxes_xyxy_px, their["boxes"], atol=1e-3, rtol=1e-4)
    every = decode_detections(found, [(HEIGHT, WIDTH)] * 2, threshold=0.05, suppress=False)
    assert all(len(all_.scores) > len(few.scores) for all_, few in zip(every, answers, strict=True))
