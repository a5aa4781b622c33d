"""The words of `sleuth train`, and how they change the tables of a recipe, whatever it trains."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sleuth.errors import UserError
from sleuth.training.machine import Machine
from sleuth.training.sections import Table, set_value

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


def section(tables: Table, name: str) -> Table:
    """A section of a recipe that may lack it; one that is no table is told of when the recipe is read."""
    found = tables.setdefault(name, {})
    return found if isinstance(found, dict) else {}


def refuse(words: TrainWords, options: tuple[str, ...], why: str) -> None:
    """Refuse words that such a training has no use for.

    Args:
        words: of the command line.
        options: those words, as `TrainWords` calls them.
        why: goes on after the option: ``is of text, ...``.

    Raises:
        UserError: one of them was said.
    """
    for option in options:
        if getattr(words, option) is not None:
            raise UserError(f"--{option.replace('_', '-')} {why}", mend="leave it out")


def check_scratch(words: TrainWords, architectures: Iterable[str]) -> None:
    """Refuse ``--scratch`` of what is no architecture.

    Args:
        words: of the command line.
        architectures: names of those that can be trained so.

    Raises:
        UserError: ``--model`` is none of them.
    """
    known = tuple(architectures)
    if words.scratch and words.model not in (None, *known):
        what = f"--scratch takes an architecture by its name, and {words.model!r} is none"
        raise UserError(what, mend=f"known: {', '.join(known)}")


def set_model(model: Table, words: TrainWords, has_weights: Callable[[str], bool]) -> None:
    """Change a ``[model]``: a name that has weights is a model to start from, any other is an architecture.

    Args:
        model: the section.
        words: of the command line.
        has_weights: whether there are weights of this name.

    Raises:
        UserError: words that contradict each other, or no such name.
    """
    name, weights = words.model, words.weights
    if words.scratch and (name is None or weights is not None):
        raise UserError("--scratch takes a model's architecture alone", mend="name it with --model, without --weights")
    if name is not None and not words.scratch and has_weights(name):
        if weights is not None:
            raise UserError(
                "both --model and --weights name a model to start from", mend="give one, or an architecture by --model"
            )
        name, weights = None, name
        model.pop("name", None)
    if name is not None:
        model["name"] = name
    if words.scratch:
        model.pop("weights", None)
    if weights is not None:
        model["weights"] = weights


def set_values(tables: Table, words: TrainWords, *own: tuple[str, str, object]) -> None:
    """Put what was said into the sections where it belongs.

    Args:
        tables: of the recipe.
        words: of the command line.
        own: section, key and value of what only this kind of training knows; None was not said.
    """
    for name, key, value in (
        ("data", "path", words.data),
        ("data", "skip_faulty", words.skip_faulty or None),
        ("model", "freeze", None if words.freeze is None else _listed(words.freeze)),
        ("optimizer", "batch_size", words.batch_size),
        ("optimizer", "rate", words.rate),
        ("run", "seed", words.seed),
        ("run", "device", words.device),
        ("run", "devices", words.devices),
        ("run", "workers", words.workers),
        ("run", "tensorboard", words.tensorboard or None),
        *own,
    ):
        if value is not None:
            section(tables, name)[key] = value


def set_last(tables: Table, words: TrainWords) -> None:
    """Set the length of the run, and then what ``--set`` says."""
    set_length(section(tables, "run"), words)
    for override in words.overrides:
        set_value(tables, override)


def usual_run(pictures: int, machine: Machine, *, shown: int, shown_by_cpu: int) -> Table:
    """The ``[run]`` of a training on a folder of pictures: 10 to 200 epochs with a GPU, 5 to 200 without.

    Args:
        pictures: that there are.
        machine: where it will run.
        shown: how often pictures are shown in all by a GPU, as far as the epochs allow.
        shown_by_cpu: the same by a processor, which is to be done in about an hour.
    """
    least, shown = (10, shown) if machine.gpu_memory else (5, shown_by_cpu)
    epochs = max(least, min(200, shown // max(1, pictures)))
    precision = "bf16-mixed" if machine.fast_bf16 else "32-true"
    every = max(1, epochs // 20)
    return {"epochs": epochs, "evaluate_every": every, "ema_decay": 0.998, "log_every": 20, "precision": precision}


def what_is_taken(name: str, tables: Table, words: TrainWords, data: str, batch_of: str = "") -> str:
    """In a line: the model, how long it learns from which data, and in what steps.

    Args:
        name: of the model.
        tables: the recipe before the words have changed it.
        words: what the command line said.
        data: how many pictures or pairs.
        batch_of: what a batch is counted in, if not in these.
    """
    run: Table = dict(tables["run"])
    set_length(run, words)
    length = next(f"{run[unit]:g} {unit}" for unit in ("epochs", "steps", "minutes") if unit in run)
    batch = words.batch_size or tables["optimizer"]["batch_size"]
    precision = f", {run['precision']}" if "precision" in run else ""
    return f"{name}: {length} of {data}, {batch:,}{batch_of} in a step{precision}"


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


def _listed(text: str) -> list[str]:
    """The words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]
