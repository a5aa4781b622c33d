"""Box losses: sums over pairs."""

import pytest
import torch
import torch.nn.functional as F
import torchvision.ops

from sleuth.geometry.boxes import cxcywh_to_xyxy
from sleuth.losses.boxes import giou_loss, l1_loss


def test_l1_is_the_sum_over_coordinates_and_pairs() -> None:
    predicted, true = torch.rand(5, 4), torch.rand(5, 4)
    torch.testing.assert_close(l1_loss(predicted, true, None), F.l1_loss(predicted, true, reduction="sum"))


def test_giou_loss_is_torchvisions() -> None:
    predicted, true = torch.rand(5, 4) + 0.1, torch.rand(5, 4) + 0.1
    theirs = torchvision.ops.generalized_box_iou_loss(
        cxcywh_to_xyxy(predicted), cxcywh_to_xyxy(true), reduction="sum", eps=0.0
    )
    torch.testing.assert_close(giou_loss(predicted, true, None), theirs)


@pytest.mark.parametrize("loss", [l1_loss, giou_loss])
def test_weights_count_pairs(loss) -> None:
    predicted, true = torch.rand(3, 4), torch.rand(3, 4)
    weighted = loss(predicted, true, torch.tensor([2.0, 0.0, 0.5]))
    torch.testing.assert_close(
        weighted, 2 * loss(predicted[:1], true[:1], None) + 0.5 * loss(predicted[2:], true[2:], None)
    )
    torch.testing.assert_close(loss(predicted, true, torch.ones(3)), loss(predicted, true, None))


@pytest.mark.parametrize("loss", [l1_loss, giou_loss])
def test_no_pairs_cost_nothing_and_have_a_gradient(loss) -> None:
    predicted = torch.rand(0, 4, requires_grad=True)
    value = loss(predicted, torch.rand(0, 4), None)
    value.backward()
    assert value.item() == 0.0


@pytest.mark.parametrize("loss", [l1_loss, giou_loss])
def test_equal_boxes_cost_nothing(loss) -> None:
    boxes = torch.rand(4, 4) + 0.1
    assert loss(boxes, boxes, None).item() == pytest.approx(0.0, abs=1e-5)
