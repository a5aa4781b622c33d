"""Edges as distributions: steps, expectations, and the way from distances to boxes and back."""

import pytest
import torch

from sleuth.nn.distribution import LocationQuality, edge_distances, edge_steps, expected_distances, moved_edges


def test_steps_are_even_about_zero_finer_there_and_reach_twice_as_far_at_the_ends() -> None:
    steps = edge_steps(32, 0.5, 4.0)
    assert steps.shape == (33,)
    torch.testing.assert_close(steps, -steps.flip(0))
    assert steps[16] == 0
    gaps = steps.diff()
    assert (gaps > 0).all()
    assert (gaps[16:31].diff() > 0).all()
    torch.testing.assert_close(steps[-1], torch.tensor(4.0))
    torch.testing.assert_close(steps[-2], torch.tensor(2.0))


def test_steps_of_tensors_are_those_of_numbers() -> None:
    assert torch.equal(edge_steps(8, torch.tensor([0.5]), torch.tensor([8.0])), edge_steps(8, 0.5, 8.0))


def test_a_sure_edge_moves_by_its_step() -> None:
    steps = edge_steps(8, 0.5, 4.0)
    logits = torch.full((1, 1, 4, 9), -50.0)
    wanted = [0, 3, 4, 8]
    logits[0, 0, range(4), wanted] = 50.0
    torch.testing.assert_close(expected_distances(logits.flatten(2), steps)[0, 0], steps[wanted])


def test_flat_distributions_move_nothing() -> None:
    boxes = torch.rand(2, 3, 4) * 0.5 + 0.2
    still = expected_distances(torch.zeros(2, 3, 36), edge_steps(8, 0.5, 4.0))
    torch.testing.assert_close(moved_edges(boxes, still, 4.0), boxes)


@pytest.mark.parametrize("reg_scale", [4.0, torch.tensor([8.0])])
def test_distances_lead_to_the_box_that_they_were_measured_to(reg_scale: float | torch.Tensor) -> None:
    references, boxes = torch.rand(2, 5, 4) * 0.5 + 0.2, torch.rand(2, 5, 4) * 0.5 + 0.2
    distances = edge_distances(references, boxes, reg_scale)
    torch.testing.assert_close(moved_edges(references, distances, reg_scale), boxes)


def test_a_distance_is_counted_outwards_in_sides_over_the_scale() -> None:
    box = torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    moved = moved_edges(box, torch.tensor([[4.0, 0.0, -2.0, 0.0]]), 4.0)
    # The left edge goes out by a side, the right one comes in by half a side.
    torch.testing.assert_close(moved, torch.tensor([[0.35, 0.5, 0.3, 0.4]]))


def test_quality_starts_silent_and_then_depends_on_sharpness_alone() -> None:
    head = LocationQuality(bins=8)
    logits, corners = torch.randn(2, 3, 5), torch.randn(2, 3, 36)
    assert torch.equal(head(logits, corners), logits)
    torch.nn.init.normal_(head.mlp.layers[-1].weight)
    shuffled = corners.unflatten(-1, (4, 9))[..., torch.randperm(9)].flatten(2)
    torch.testing.assert_close(head(logits, shuffled), head(logits, corners))
    assert not torch.equal(head(logits, 2 * corners), head(logits, corners))
