"""The ``[run]`` of a recipe, whatever it trains, and what may change when a run is resumed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sleuth.training.sections import Table


@dataclass(frozen=True)
class RunSettings:
    """The ``[run]`` of a recipe.

    Args:
        steps: length in optimiser steps; or else
        epochs: length in passes over the data; or else
        minutes: length in minutes of training on this machine, evaluations not counted. After the first twentieth they
            are turned into steps, for good. The unit of the length is also that of ``evaluate_every`` and ``drop_at``.
        seed: of weights, order, augmentation and dropout.
        precision: of the arithmetic; the mixed ones keep float32 weights.
        close_augmentation: how much of the end goes without strong augmentation, such as mosaic: below 1 a share of the
            run, from 1 on in the unit of its length; 0 for no such end.
        ema_decay: share that the running average of the weights keeps in each step; 0 keeps no average.
        evaluate_every: how often scores are measured, samples drawn and the best weights kept; 0 only at the end.
        patience: end the run once so many evaluations in a row have brought no better score; 0 never does.
        checkpoint_every: optimiser steps between saved states; 0 saves at evaluations only.
        keep_checkpoints: keep the weights of so many of the latest evaluations, not averaged over steps, in
            ``checkpoints/``: `sleuth average` makes one model of them.
        log_every: optimiser steps between lines of metrics.jsonl.
        score: the score that decides which weights are best.
        workers: processes that prepare data, for each training process.
        device: where to compute; ``auto`` takes a GPU if there is one.
        devices: how many processes train together, one on each device.
        threads: CPU threads of each training process; 0 leaves it to PyTorch.
        channels_last: keep pictures and convolutions in the layout that is fastest for them.
        max_bad_steps: stop after so many steps in a row without a finite loss.
        tensorboard: write curves for TensorBoard as well.
    """

    steps: int = 0
    epochs: int = 0
    minutes: float = 0.0
    seed: int = 0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    close_augmentation: float = 0.0
    ema_decay: float = 0.0
    evaluate_every: int = 0
    patience: int = 0
    checkpoint_every: int = 500
    keep_checkpoints: int = 0
    log_every: int = 10
    score: str = "AP"
    workers: int = 1
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = 1
    threads: int = 0
    channels_last: bool = True
    max_bad_steps: int = 10
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if (
            min(self.steps, self.epochs, self.minutes) < 0
            or sum(map(bool, (self.steps, self.epochs, self.minutes))) != 1
        ):
            raise ValueError("needs either steps, epochs or minutes, above 0")
        for name in ("devices", "log_every", "max_bad_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in (
            "close_augmentation",
            "evaluate_every",
            "patience",
            "checkpoint_every",
            "workers",
            "threads",
            "keep_checkpoints",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        if self.patience and not self.evaluate_every:
            raise ValueError("patience counts evaluations: set evaluate_every")
        if self.keep_checkpoints and not self.evaluate_every:
            raise ValueError("keep_checkpoints counts evaluations: set evaluate_every")
        if not 0 <= self.ema_decay < 1:
            raise ValueError("ema_decay must be at least 0 and below 1")


# Changing these on resuming changes nothing that is learned.
_HARMLESS = {
    "run.checkpoint_every",
    "run.devices",
    "run.keep_checkpoints",
    "run.log_every",
    "run.max_bad_steps",
    "run.patience",
    "run.tensorboard",
    "run.threads",
    "run.workers",
}


def differences(before: Mapping[str, Table], now: Mapping[str, Table]) -> dict[str, tuple[Any, Any]]:
    """Keys that make two resolved recipes different trainings, with both values.

    A run of which nothing depends on its length may be made longer.
    """
    names = [f"{section}.{key}" for section, table in {**before, **now}.items() for key in table]
    bound = now["schedule"]["kind"] in ("cosine", "flat_cosine", "one_cycle") or now["run"]["close_augmentation"]
    free = _HARMLESS | (set() if bound else {"run.steps", "run.epochs"})
    changed = {}
    for name in names:
        section, _, key = name.partition(".")
        values = before.get(section, {}).get(key), now.get(section, {}).get(key)
        if name == "optimizer.batch_size" and values[1] == 0:
            continue  # what was chosen stays chosen
        if name not in free and values[0] != values[1]:
            changed[name] = values
    return changed
