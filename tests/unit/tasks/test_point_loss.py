"""The loss of dense detectors, where it is not compared with torchvision's (tests/parity)."""

from dataclasses import replace

import pytest
import torch

from sleuth.errors import UserError
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.models.fcos import Fcos, FcosConfig, build_fcos
from sleuth.tasks.detection import DetectionLoss, PointLoss, build_criterion
from sleuth.types.batches import ImageBatch, Target
from sleuth.weights.catalog import FCOS_LOSS

TINY = FcosConfig(backbone="resnet10", backbone_width=8, num_classes=3, dim=64, num_levels=3, tower_layers=1)


@pytest.fixture
def model() -> Fcos:
    return build_fcos(replace(TINY, frozen_norm=False))


def batch(height: int = 64, width: int = 64) -> ImageBatch:
    return ImageBatch(torch.randn(1, 3, height, width), torch.ones(1, height, width, dtype=torch.bool))


def test_what_is_too_small_is_told(model: Fcos) -> None:
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.126, 0.126, 0.03, 0.03]])
    report = PointLoss(FCOS_LOSS)(model(batch()), [Target(torch.tensor([0, 1]), boxes)])
    assert report.parts["missed"] == 0.5
    assert list(report.parts) == ["class", "giou", "centre", "missed"]
    weighed = sum(report.parts[name] for name in ("class", "giou", "centre"))
    torch.testing.assert_close(report.total.detach(), weighed)


def test_a_few_steps_learn_a_picture_by_heart(model: Fcos) -> None:
    images, target = batch(), [Target(torch.tensor([2]), torch.tensor([[0.5, 0.5, 0.4, 0.4]]))]
    criterion, optimizer = PointLoss(FCOS_LOSS), torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        report = criterion(model(images), target)
        optimizer.zero_grad()
        report.total.backward()
        optimizer.step()
        losses.append(float(report.total.detach()))
    assert losses[-1] < losses[0] / 2


def test_padding_does_not_move_objects(model: Fcos) -> None:
    """A picture in a larger canvas has its objects where they were, at the same points."""
    small = batch()
    pixels, valid = torch.zeros(1, 3, 96, 128), torch.zeros(1, 96, 128, dtype=torch.bool)
    pixels[..., :64, :64], valid[:, :64, :64] = small.pixels, True
    target = [Target(torch.tensor([1]), torch.tensor([[0.4, 0.6, 0.3, 0.5]]))]
    places = []
    for images in (small, ImageBatch(pixels, valid)):
        prediction = model.eval()(images)
        (match,) = PointLoss(FCOS_LOSS)(prediction, target).matches
        places.append(prediction.points.centres_px[match.query])
    assert torch.equal(*places)


def test_losses_and_models_of_other_kinds_are_refused(model: Fcos) -> None:
    target = [Target(torch.tensor([1]), torch.tensor([[0.4, 0.6, 0.3, 0.5]]))]
    with pytest.raises(UserError, match="focal loss, not by 'softmax'"):
        build_criterion(replace(FCOS_LOSS, classes="softmax"))
    with pytest.raises(UserError, match="learn by their places, not by matching"):
        DetectionLoss(replace(FCOS_LOSS, assignment="set"))(model(batch()), target)
    detr = build_detr(DetrConfig(backbone="resnet10", backbone_width=4, dim=16, num_heads=2, feedforward_dim=16))
    with pytest.raises(UserError, match="the model answers by queries"):
        PointLoss(FCOS_LOSS)(detr(batch()), target)
