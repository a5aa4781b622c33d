"""Exact values of every schedule."""

import math

import pytest

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
