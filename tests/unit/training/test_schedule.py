"""Exact values of every schedule."""

import math

import pytest
import torch

from sleuth.training.length import OPEN
from sleuth.training.schedule import ScheduleSettings, rate_factor


def factors(settings: ScheduleSettings, steps: list[int], total: int, unit: float = 1.0) -> list[float]:
    return [rate_factor(settings, step, total_steps=total, steps_per_unit=unit) for step in steps]


def test_constant():
    assert factors(ScheduleSettings(kind="constant"), [0, 5, 99], 100) == [1.0, 1.0, 1.0]


def test_step_drops_as_in_the_paper():
    settings = ScheduleSettings(kind="step", drop_at=(400,))
    # 400 epochs of 10 steps each.
    assert factors(settings, [0, 3999, 4000, 4999], 5000, 10.0) == [1.0, 1.0, 0.1, 0.1]


def test_step_drops_several_times():
    settings = ScheduleSettings(kind="step", drop_at=(10, 20), drop_factor=0.5)
    assert factors(settings, [9, 10, 19, 20], 30) == [1.0, 0.5, 0.5, 0.25]


def test_epochs_may_have_a_fraction_of_a_step():
    settings = ScheduleSettings(kind="step", drop_at=(2,))
    # Five batches in an epoch, two in a step: epoch 2 begins in the middle of step number 5, counted from 0.
    assert factors(settings, [4, 5], 20, 2.5) == [1.0, 0.1]


def test_warm_up_is_linear_and_ends_at_the_full_rate():
    settings = ScheduleSettings(kind="constant", warmup_steps=4)
    assert factors(settings, [0, 1, 2, 3, 4], 10) == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_cosine_falls_from_one_to_its_floor():
    settings = ScheduleSettings(kind="cosine", warmup_steps=10, floor=0.2)
    start, middle, end = factors(settings, [10, 60, 110], 110)
    assert (start, end) == (1.0, pytest.approx(0.2))
    assert middle == pytest.approx(0.6)
    assert factors(settings, [35], 110)[0] == pytest.approx(0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi / 4)))


def test_warm_up_longer_than_the_run_stays_finite():
    assert factors(ScheduleSettings(kind="cosine", warmup_steps=100), [0, 9], 10) == [0.01, 0.1]


def test_flat_cosine_stays_falls_and_closes_at_its_floor():
    settings = ScheduleSettings(kind="flat_cosine", warmup_steps=5, flat=0.4, floor=0.1)

    def factor(step: int) -> float:
        return rate_factor(settings, step, total_steps=100, closing_steps=20)

    assert [factor(step) for step in (0, 4, 5, 40)] == [0.2, 1.0, 1.0, 1.0]
    assert factor(60) == pytest.approx(0.55)
    assert [factor(step) for step in (80, 90, 99)] == [pytest.approx(0.1)] * 3
    falling = [factor(step) for step in range(40, 81)]
    assert falling == sorted(falling, reverse=True)


def test_flat_cosine_of_a_run_that_closes_at_once():
    settings = ScheduleSettings(kind="flat_cosine", flat=1.0, floor=0.5)
    assert rate_factor(settings, 9, total_steps=10, closing_steps=10) == 1.0
    assert rate_factor(settings, 10, total_steps=10, closing_steps=10) == 1.0


@pytest.mark.parametrize("kind", ["cosine", "flat_cosine", "step"])
def test_a_run_without_a_known_end_learns_at_the_full_rate(kind):
    settings = ScheduleSettings(kind=kind, drop_at=(3,), warmup_steps=2)
    assert rate_factor(settings, 1000, total_steps=OPEN, steps_per_unit=float(OPEN)) == pytest.approx(1.0)


def test_inverse_root_of_the_paper():
    """Equation 3: dim ** -0.5 * min(step ** -0.5, step * warmup ** -1.5), steps counted from 1."""
    dim, warmup = 512, 4000
    settings = ScheduleSettings(kind="inverse_sqrt", warmup_steps=warmup)
    full = (dim * warmup) ** -0.5
    for step in (1, 10, 3999, 4000, 4001, 100_000):
        paper = dim**-0.5 * min(step**-0.5, step * warmup**-1.5)
        assert full * rate_factor(settings, step - 1, total_steps=7) == pytest.approx(paper)


def test_inverse_root_without_warm_up_starts_at_the_full_rate():
    assert factors(ScheduleSettings(kind="inverse_sqrt"), [0, 3], 10) == [1.0, 0.5]


@pytest.mark.parametrize("rise", [0.3, 0.1])
def test_one_cycle_as_torch_has_it(rise):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=101, pct_start=(rise * 100 + 1) / 101, div_factor=25, final_div_factor=4
    )
    settings = ScheduleSettings(kind="one_cycle", rise=rise, start=0.04, floor=0.01)
    for step in range(101):
        assert rate_factor(settings, step, total_steps=101) == pytest.approx(theirs.get_last_lr()[0], abs=1e-6), step
        if step < 100:
            optimizer.step()
            theirs.step()


def test_one_cycle_rises_over_its_warm_up():
    settings = ScheduleSettings(kind="one_cycle", warmup_steps=10, floor=0.1)
    assert factors(settings, [0, 5, 10, 109], 110) == [pytest.approx(v) for v in (0.04, 0.52, 1.0, 0.1)]
    assert factors(settings, [0], 1) == [1.0]
    assert rate_factor(settings, 10, total_steps=OPEN) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["rise", "start", "floor", "flat"])
def test_shares_lie_between_nothing_and_all(name):
    with pytest.raises(ValueError, match=name):
        ScheduleSettings(**{name: 1.5})
