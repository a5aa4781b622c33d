"""Mask losses: by hand, at points, and for odd targets."""

import pytest
import torch

from sleuth.errors import UserError
from sleuth.losses.masks import at_every_pixel, at_points, dice_loss, focal_loss, matched_masks
from sleuth.types.batches import Target


def test_focal_and_dice_by_hand() -> None:
    logits, true = torch.tensor([[0.0, 2.0], [-1.0, 0.5]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    p = logits.sigmoid()
    hit = torch.where(true == 1, p, 1 - p)
    weight = torch.where(true == 1, 0.25, 0.75)
    focal = (-weight * (1 - hit) ** 2 * hit.log()).mean(1).sum()
    torch.testing.assert_close(focal_loss(logits, true), focal)
    dice = (1 - (2 * (p * true).sum(1) + 1) / (p.sum(1) + true.sum(1) + 1)).sum()
    torch.testing.assert_close(dice_loss(logits, true), dice)


def test_a_perfect_mask_costs_almost_nothing_and_an_inverted_one_much() -> None:
    true = (torch.rand(3, 400) > 0.5).float()
    right = 20 * (true - 0.5)
    assert focal_loss(right, true) < 1e-6
    assert dice_loss(right, true) < 0.01
    assert focal_loss(-right, true) > 3
    assert dice_loss(-right, true) > 2.9


def test_an_empty_mask_has_finite_losses() -> None:
    logits, true = torch.randn(2, 50, requires_grad=True), torch.zeros(2, 50)
    (focal_loss(logits, true) + dice_loss(logits, true)).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_points_estimate_what_every_pixel_gives_where_logits_are_flat() -> None:
    logits = torch.zeros(1, 16, 16)
    true = torch.zeros(1, 64, 64, dtype=torch.bool)
    true[:, :, :16] = True
    everywhere = focal_loss(*at_every_pixel(logits, true))
    sampled = focal_loss(*at_points(logits, true, 4000))
    torch.testing.assert_close(sampled, everywhere, rtol=0.05, atol=0)


def test_points_gather_where_logits_are_uncertain() -> None:
    ramp = torch.linspace(-8, 8, 64).expand(1, 64, 64)
    logits, _ = at_points(ramp, torch.zeros(1, 64, 64, dtype=torch.bool), 1000)
    assert logits.shape == (1, 1000)
    # Three quarters are the third of all places that are nearest to zero, |x| < 8 / 4.
    assert (logits.abs() < 2.2).float().mean() > 0.7
    assert (logits.abs() > 4).any()


def test_points_are_a_function_of_the_seed() -> None:
    logits, true = torch.randn(2, 8, 8), torch.rand(2, 32, 32) > 0.5
    torch.manual_seed(7)
    first = at_points(logits, true, 50)
    torch.manual_seed(7)
    again = at_points(logits, true, 50)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def _target(masks: torch.Tensor | None, objects: int, name: str) -> Target:
    return Target(
        labels=torch.zeros(objects, dtype=torch.int64), boxes_cxcywh=torch.rand(objects, 4), name=name, masks=masks
    )


def test_matched_masks_are_padded_and_in_the_order_of_the_match() -> None:
    first, second = torch.rand(2, 3, 5) > 0.5, torch.rand(1, 4, 4) > 0.5
    targets = [_target(first, 2, "a"), _target(None, 0, "empty"), _target(second, 1, "b")]
    true = matched_masks(targets, torch.tensor([0, 2, 0]), torch.tensor([1, 0, 0]), (6, 8))
    assert torch.equal(true[0, :3, :5], first[1])
    assert torch.equal(true[1, :4, :4], second[0])
    assert torch.equal(true[2, :3, :5], first[0])
    assert true.sum() == first.sum() + second.sum()


def test_objects_without_masks_name_their_picture() -> None:
    with pytest.raises(UserError, match=r"b\.png"):
        matched_masks([_target(None, 1, "b.png")], torch.tensor([0]), torch.tensor([0]), (4, 4))
