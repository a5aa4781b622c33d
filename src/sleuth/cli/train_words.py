"""The words of `sleuth train`, and what follows from them whatever the model: the length of a run, its splits."""

from dataclasses import dataclass
from pathlib import Path

from sleuth.errors import UserError
from sleuth.training.sections import Table

USUAL_STEPS = 6000
"""Length of a training on a folder of pictures, where nobody says otherwise."""

EVALUATIONS = 20
"""About how often a training is measured, where nobody says otherwise."""

_STEPS_A_MINUTE = 60
"""Taken for granted where a run is given in minutes: only its warm-up and its average depend on it."""


@dataclass(frozen=True)
class TrainWords:
    """What the command line said; see `sleuth train --help`. None was not said."""

    data: str | None = None
    model: str | None = None
    weights: str | None = None
    scratch: bool = False
    freeze: str | None = None
    lora: int | None = None
    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    batch_size: int | None = None
    rate: float | None = None
    scale: int | None = None
    format: str | None = None
    images: Path | None = None
    annotations: str | None = None
    tile: str | None = None
    tile_overlap: float | None = None
    seed: int | None = None
    device: str | None = None
    devices: int | None = None
    workers: int | None = None
    skip_faulty: bool = False
    tensorboard: bool = False
    languages: str | None = None
    overrides: tuple[str, ...] = ()


def set_length(run: Table, words: TrainWords) -> None:
    """Make the run as long as the words say; what was counted in another unit follows."""
    said = {unit: value for unit in ("epochs", "steps", "minutes") if (value := getattr(words, unit)) is not None}
    if len(said) > 1:
        raise UserError(f"both {' and '.join(f'--{unit}' for unit in said)} are given", mend="give one of them")
    for unit, value in said.items():
        others = [run.pop(other, None) for other in ("epochs", "steps", "minutes") if other != unit]
        if any(others):
            run["evaluate_every"] = max(1, int(value) // EVALUATIONS)
        run[unit] = value


def steps_and_length(run: Table, per_epoch: int) -> tuple[int, int | float]:
    """About how many steps a run has, and its length in its own unit."""
    if "minutes" in run:
        return round(run["minutes"] * _STEPS_A_MINUTE), run["minutes"]
    if "steps" in run:
        return run["steps"], run["steps"]
    return run["epochs"] * per_epoch, run["epochs"]


def splits(splits: tuple[str, ...]) -> Table:
    """Which split to train on and which to measure on; one split alone is trained on and nothing is measured."""
    if len(splits) == 1:
        return {"train": splits[0], "val": ""}
    bare = {split.lower().rstrip("0123456789"): split for split in reversed(splits)}
    train = next((bare[word] for word in ("train", "training") if word in bare), splits[0])
    val = next((bare[word] for word in ("val", "valid", "validation", "dev", "test", "testing") if word in bare), "")
    return {"train": train, "val": "" if val == train else val}
