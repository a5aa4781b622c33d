"""Lengths and milestones of a run; minutes that become steps."""

import pytest

from sleuth.errors import UserError
from sleuth.training.length import OPEN, Length, Stopwatch


def due_at(length: Length, every: int) -> list[int]:
    return [step for step in range(1, length.total_steps + 1) if length.due(step, every)]


def test_length_in_steps(tiny):
    length = Length.of(tiny("run.steps=10"), 4)
    assert (length.total_steps, length.steps_per_unit) == (10, 1.0)
    assert due_at(length, 3) == [3, 6, 9, 10]
    assert due_at(length, 0) == [10]
    assert [length.place(step) for step in (0, 3, 4, 9)] == [(0, 0), (0, 3), (1, 0), (2, 1)]


def epochs(tiny, count: int, accumulate: int = 1):
    recipe = tiny("run.steps=0", f"run.epochs={count}", f"optimizer.accumulate={accumulate}")
    return lambda batches: Length.of(recipe, batches)


def test_length_in_epochs(tiny):
    length = epochs(tiny, 6)(4)
    assert (length.total_steps, length.steps_per_unit) == (24, 4.0)
    assert due_at(length, 2) == [8, 16, 24]
    assert length.epoch(6) == 1.5


def test_steps_of_several_batches_run_across_epochs(tiny):
    length = epochs(tiny, 3, accumulate=2)(5)
    assert (length.total_steps, length.steps_per_unit) == (7, 2.5)
    assert due_at(length, 1) == [3, 5, 7]
    assert length.place(3) == (1, 1)


def test_an_epoch_shorter_than_a_step_still_trains(tiny):
    assert epochs(tiny, 1, accumulate=8)(3).total_steps == 1


def test_a_run_closes_with_a_share_or_a_number_of_units(tiny):
    steps = Length.of(tiny("run.steps=10", "run.close_augmentation=0.25", "optimizer.accumulate=3"), 4)
    assert (steps.closing_steps, steps.closing_batch) == (2, 24)
    passes = Length.of(tiny("run.steps=0", "run.epochs=6", "run.close_augmentation=2"), 4)
    assert (passes.closing_steps, passes.closing_batch) == (8, 16)
    all_of_it = Length.of(tiny("run.steps=10", "run.close_augmentation=50"), 4)
    assert (all_of_it.closing_steps, all_of_it.closing_batch) == (10, 0)
    assert Length.of(tiny("run.steps=10"), 4).closing_batch is None


def test_minutes_are_open_until_their_steps_are_known(tiny):
    recipe = tiny("run.steps=0", "run.minutes=2", "run.close_augmentation=0.5", "optimizer.accumulate=2")
    length = Length.of(recipe, 5)
    assert length.is_open
    assert length.closing_batch is None
    assert not any(length.due(step, 1) for step in range(1, 100))
    known = Length.of(recipe, 5, 30)
    assert not known.is_open
    assert (known.total_steps, known.closing_batch, known.steps_per_unit) == (30, 30, 15.0)
    assert due_at(known, 1) == [15, 30]
    closing = Length.of(tiny("run.steps=0", "run.minutes=2", "run.close_augmentation=1"), 5, 30)
    assert closing.closing_steps == 15


def measured(minutes: float, seconds_a_step: float, first: float) -> tuple[int, int]:
    """After how many steps the length is known, and what it is; the first steps are slow."""
    watch, seconds = Stopwatch(minutes), 0.0
    for step in range(1, 10_000):
        seconds += first if step <= 3 else seconds_a_step
        total = watch.steps(step, seconds, seconds + 1000.0)
        if total is not None:
            return step, total
    raise AssertionError("never known")


def test_the_stopwatch_leaves_slow_first_steps_out():
    step, total = measured(10.0, 1.0, 5.0)
    assert step == 18  # a twentieth of 600 seconds: 15 in the first three steps, then one a second
    assert total == 3 + 585
    step, total = measured(1.0, 0.01, 0.02)
    assert 295 < step < 303
    assert abs(total - 5997) < 10


def test_the_stopwatch_does_not_measure_slow_steps_for_long():
    step, total = measured(1.0, 10.0, 10.0)
    assert (step, total) == (4, 6)
    # Steps so slow that the time is over.
    assert measured(0.1, 10.0, 10.0) == (1, 1)


@pytest.mark.parametrize(
    "overrides",
    [
        ["run.steps=5", "run.minutes=1"],
        ["run.steps=0"],
        ["run.steps=0", "run.minutes=-1"],
        ["run.steps=5", "run.epochs=5"],
    ],
)
def test_a_run_has_one_length(tiny, overrides):
    with pytest.raises(UserError, match="steps, epochs or minutes"):
        tiny(*overrides)


def test_the_unknown_length_is_longer_than_any():
    assert OPEN > 10**12
