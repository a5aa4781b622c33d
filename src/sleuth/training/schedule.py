"""How the learning rate moves over a run, after a warm-up: constant, in drops, along a cosine or a root, in a cycle."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScheduleSettings:
    """The ``[schedule]`` of a recipe.

    Args:
        kind: ``step`` multiplies the rate by ``drop_factor`` at each of ``drop_at``; ``cosine`` falls along half a
            cosine to ``floor``; ``flat_cosine`` stays for a while before it does, and ends with the closing steps at
            ``floor``; ``inverse_sqrt`` falls with the root of the steps taken, and does not ask how long the run is;
            ``one_cycle`` rises along half a cosine from ``start`` to the full rate and falls along another to
            ``floor``; ``constant`` stays.
        warmup_steps: optimiser steps over which the rate rises linearly from nearly zero; for ``one_cycle``, those of
            its rise.
        drop_at: when to drop, in the unit of the run's length (epochs if it is given in epochs, else steps).
        drop_factor: what each drop multiplies the rate by.
        floor: the share of the full rate that a cosine ends at.
        flat: the share of the run that ``flat_cosine`` stays at the full rate, the warm-up included.
        rise: the share of the run over which ``one_cycle`` rises, where ``warmup_steps`` does not say.
        start: the share of the full rate that ``one_cycle`` starts from.

    Source of ``inverse_sqrt``: Vaswani et al. 2017, equation 3, where the full rate is (dim * warmup_steps) ** -0.5;
    of ``one_cycle``: Smith and Topin 2017, in cosines as PyTorch's OneCycleLR.
    """

    kind: Literal["step", "cosine", "constant", "flat_cosine", "inverse_sqrt", "one_cycle"] = "step"
    warmup_steps: int = 0
    drop_at: tuple[int, ...] = ()
    drop_factor: float = 0.1
    floor: float = 0.0
    flat: float = 0.5
    rise: float = 0.3
    start: float = 0.04

    def __post_init__(self) -> None:
        if self.warmup_steps < 0 or any(at < 0 for at in self.drop_at):
            raise ValueError("warmup_steps and drop_at must not be negative")
        if self.drop_factor <= 0:
            raise ValueError("drop_factor must be above 0")
        for name in ("floor", "flat", "rise", "start"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1")


def rate_factor(
    settings: ScheduleSettings,
    step: int,
    *,
    total_steps: int,
    steps_per_unit: float = 1.0,
    closing_steps: int = 0,
) -> float:
    """The share of the full learning rate to use in one optimiser step: a pure function, so resuming needs no state.

    Args:
        settings: the schedule.
        step: optimiser steps taken before this one, 0 at the start.
        total_steps: length of the whole run in optimiser steps.
        steps_per_unit: optimiser steps in one unit of ``drop_at``: 1, or the steps of an epoch.
        closing_steps: the last steps, without strong augmentation: ``flat_cosine`` takes them at its floor.

    >>> rate_factor(ScheduleSettings(drop_at=(200,)), 199, total_steps=300)
    1.0
    >>> rate_factor(ScheduleSettings(drop_at=(200,)), 200, total_steps=300)
    0.1
    """
    if settings.kind == "one_cycle":
        return _one_cycle(settings, step, total_steps)
    warm = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps > 0 else 1.0
    if settings.kind == "step":
        drops = sum(step >= at * steps_per_unit for at in settings.drop_at)
        return float(warm * settings.drop_factor**drops)
    if settings.kind == "cosine":
        return warm * _cosine(step, settings.warmup_steps, total_steps, settings.floor)
    if settings.kind == "flat_cosine":
        begin = max(settings.warmup_steps, round(settings.flat * total_steps))
        return warm * _cosine(step, begin, total_steps - closing_steps, settings.floor)
    if settings.kind == "inverse_sqrt":
        return warm * min(1.0, math.sqrt(max(1, settings.warmup_steps) / (step + 1)))
    return warm


def _one_cycle(settings: ScheduleSettings, step: int, total_steps: int) -> float:
    """Up along half a cosine, down along another; the last step is at the floor."""
    last = total_steps - 1
    top = min(last, settings.warmup_steps or round(settings.rise * last))
    if step < top:
        return 1 - (1 - settings.start) * 0.5 * (1 + math.cos(math.pi * step / top))
    return _cosine(step, top, last, settings.floor)


def _cosine(step: int, begin: int, end: int, floor: float) -> float:
    """1 up to ``begin``, then half a cosine down to ``floor`` at ``end``."""
    progress = min(1.0, max(0, step - begin) / max(1, end - begin))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
