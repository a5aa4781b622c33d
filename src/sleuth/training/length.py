"""How long a run is, where its milestones lie, and how minutes become steps."""

import time
from dataclasses import dataclass

from sleuth.training.work import RunRecipe

OPEN = 2**40
"""The steps of a run whose length is given in minutes, until its speed is known."""


@dataclass(frozen=True)
class Length:
    """How long a run is, and where its milestones lie, in optimiser steps.

    Args:
        total_steps: of the whole run; `OPEN` where they are not known yet.
        batches_per_epoch: of one process.
        accumulate: batches in a step.
        unit_batches: batches in one unit of the run's length: those of an epoch, of a step, or of a minute.
        closing_steps: the last steps, without strong augmentation.
    """

    total_steps: int
    batches_per_epoch: int
    accumulate: int
    unit_batches: int
    closing_steps: int = 0

    @classmethod
    def of(cls, recipe: RunRecipe, batches_per_epoch: int, total_steps: int = 0) -> "Length":
        """The length of a recipe over epochs of so many batches.

        Args:
            recipe: says how long, and in which unit.
            batches_per_epoch: of one process.
            total_steps: of a run in minutes, once they are known.
        """
        settings, accumulate = recipe.run, recipe.optimizer.accumulate
        unit = batches_per_epoch if settings.epochs else accumulate
        total = settings.steps or max(1, settings.epochs * batches_per_epoch // accumulate)
        if settings.minutes:
            total = total_steps or OPEN
            unit = max(1, round(total * accumulate / settings.minutes))
        share = settings.close_augmentation
        closing = share * total if share < 1 else share * unit / accumulate
        return cls(total, batches_per_epoch, accumulate, unit, 0 if total == OPEN else min(total, round(closing)))

    @property
    def is_open(self) -> bool:
        """Whether the number of steps is not known yet."""
        return self.total_steps == OPEN

    @property
    def closing_batch(self) -> int | None:
        """The first batch of this process without strong augmentation; None where there is no such part."""
        return (self.total_steps - self.closing_steps) * self.accumulate if self.closing_steps else None

    @property
    def steps_per_unit(self) -> float:
        """Optimiser steps in one unit."""
        return self.unit_batches / self.accumulate

    def epoch(self, step: int) -> float:
        """Passes over the data that ``step`` steps have taken."""
        return step * self.accumulate / self.batches_per_epoch

    def place(self, step: int) -> tuple[int, int]:
        """The epoch and the batch within it that come after ``step`` steps."""
        return divmod(step * self.accumulate, self.batches_per_epoch)

    def due(self, step: int, every_units: int) -> bool:
        """Whether step number ``step``, from 1 on, completes another ``every_units`` units, or the run."""
        if step >= self.total_steps:
            return True
        every = every_units * self.unit_batches
        return every > 0 and step * self.accumulate // every > (step - 1) * self.accumulate // every


class Stopwatch:
    """Finds out how many steps a number of minutes holds, from the speed of the first ones.

    The first few steps are left out, as they are slow; the rest of the first twentieth of the time is measured.

    Args:
        minutes: the length of the run.
    """

    _LEFT_OUT = 3
    _LEAST = 5
    _SHARE = 0.05

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._began = 0.0
        self._steps = -self._LEFT_OUT

    def steps(self, step: int, seconds: float, now: float | None = None) -> int | None:
        """Call after each step: the steps of the whole run, or None as long as too little was measured.

        Args:
            step: steps taken so far.
            seconds: time spent in training so far, over all starts.
            now: seconds on some clock; by default the system's.
        """
        now = time.perf_counter() if now is None else now
        self._steps += 1
        if self._steps <= 0:
            self._began = now
            return step if seconds >= self.minutes * 60 else None
        share = seconds / (self.minutes * 60)
        # A very slow run is not measured for long.
        if share < self._SHARE or (self._steps < self._LEAST and share < 0.5):
            return None
        each = max(1e-6, (now - self._began) / self._steps)
        return step + max(0, int((self.minutes * 60 - seconds) / each))
