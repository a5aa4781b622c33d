"""Losses of edge distributions."""

import torch

from sleuth.losses.distribution import (
    decoupled_distillation,
    fine_grained_localisation,
    matched_share,
    neighbouring_steps,
)

STEPS = torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0])


def test_a_distance_lies_between_its_two_steps_and_is_cut_off_at_the_ends() -> None:
    below, share = neighbouring_steps(torch.tensor([-9.0, -4.0, -0.25, 0.0, 2.5, 4.0, 9.0]), STEPS)
    assert below.tolist() == [0, 0, 1, 2, 3, 3, 3]
    torch.testing.assert_close(share, torch.tensor([0.0, 0.0, 0.75, 0.0, 0.5, 1.0, 1.0]))


def test_localisation_is_least_at_the_two_steps_shares() -> None:
    distances = torch.tensor([[-0.25, 0.5, 2.5, 0.0]])
    below, share = neighbouring_steps(distances, STEPS)
    best = torch.full((1, 4, 5), 1e-9)
    best.scatter_(-1, below[..., None], (1 - share)[..., None] + 1e-9)
    best.scatter_(-1, below[..., None] + 1, share[..., None] + 1e-9)
    quality = torch.ones(1)
    least = fine_grained_localisation(best.log(), distances, STEPS, quality)
    for _ in range(5):
        other = best.log() + 0.5 * torch.randn(1, 4, 5)
        assert fine_grained_localisation(other, distances, STEPS, quality) > least
    half = fine_grained_localisation(best.log(), distances, STEPS, quality / 2)
    torch.testing.assert_close(half, least / 2)


def test_no_match_costs_nothing_and_has_a_gradient() -> None:
    logits = torch.zeros(0, 4, 5, requires_grad=True)
    loss = fine_grained_localisation(logits, torch.zeros(0, 4), STEPS, torch.zeros(0))
    loss.backward()
    assert loss == 0


def distil(logits: torch.Tensor, teacher: torch.Tensor, matched: torch.Tensor) -> torch.Tensor:
    weights = torch.ones(matched.shape)
    return decoupled_distillation(logits, teacher, weights, matched, matched_share(matched))


def test_distillation_is_zero_where_the_layer_is_as_its_teacher() -> None:
    logits = torch.randn(2, 6, 4, 5)
    matched = torch.zeros(2, 6, dtype=torch.bool)
    matched[0, 2] = True
    torch.testing.assert_close(distil(logits, logits, matched), torch.tensor(0.0), atol=1e-5, rtol=0.0)
    assert distil(logits, torch.randn(2, 6, 4, 5), matched) > 0


def test_distillation_teaches_the_layer_and_not_its_teacher() -> None:
    logits, teacher = (torch.randn(1, 3, 4, 5, requires_grad=True) for _ in range(2))
    distil(logits, teacher, torch.tensor([[True, False, False]])).backward()
    assert logits.grad is not None
    assert teacher.grad is None


def test_a_few_matched_queries_count_as_the_root_of_their_number() -> None:
    matched = torch.zeros(1, 100, dtype=torch.bool)
    matched[0, :4] = True
    torch.testing.assert_close(matched_share(matched), torch.tensor(2 / (2 + 96**0.5)))
    logits, teacher = torch.randn(1, 100, 4, 5), torch.randn(1, 100, 4, 5)
    for all_of_them in (torch.zeros_like(matched), torch.ones_like(matched)):
        assert distil(logits, teacher, all_of_them).isfinite()
