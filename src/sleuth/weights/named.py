"""Files of models whose card has a config, names of classes and how pictures become input: what is the same for all."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from sleuth.errors import UserError
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.architectures import KEY, TASKS, card_faults, card_for, settings_from
from sleuth.weights.checkpoint import fill, read_tensors, save_tensors, stored

Config = TypeVar("Config")
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class NamedModel(Generic[Model, Config]):
    """A model of named classes, and what belongs to it.

    Args:
        model: with its weights, in evaluation mode.
        config: its numbers.
        names: of the classes, by label.
        preprocess: how pictures become input.
        notes: whatever is worth keeping: scores, licence, the data.
    """

    model: Model
    config: Config
    names: tuple[str, ...]
    preprocess: Preprocess
    notes: dict[str, Any]


def save_named(
    path: Path,
    model: nn.Module,
    *,
    architecture: str,
    config: Any,
    names: tuple[str, ...],
    preprocess: Preprocess,
    notes: Mapping[str, Any],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a model with its card, atomically.

    Args:
        path: a ``.safetensors`` file.
        model: whose state dict to write.
        architecture: as in `TASKS`.
        config: its numbers, with ``num_classes`` among them.
        names: of the classes.
        preprocess: how pictures become input.
        notes: whatever is worth keeping.
        dtype: store weights in this type (half halves the file); None keeps them.

    Raises:
        UserError: the file cannot be written; a former file of that name stays as it was.
        ValueError: the names do not fit the number of classes.
    """
    if len(names) != config.num_classes:
        raise ValueError(f"{config.num_classes} classes, but {len(names)} names")
    card = {
        "architecture": architecture,
        "config": asdict(config),
        "names": names,
        "preprocess": asdict(preprocess),
        "notes": dict(notes),
    }
    save_tensors(path, stored(model.state_dict(), dtype), {KEY: json.dumps(card)})


def load_named(
    path: Path,
    *,
    architecture: str,
    config_from: Callable[[Mapping[str, Any]], Config],
    build: Callable[[Config], Model],
) -> NamedModel[Model, Config]:
    """Build the model that a file's card describes and fill it with the file's weights.

    Args:
        path: a ``.safetensors`` file.
        architecture: that is asked for.
        config_from: the numbers from plain JSON values; raises TypeError or ValueError where they make no model.
        build: the model of these numbers.

    Raises:
        UserError: missing or broken file, a model for something else, an unknown option, weights of another model.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path)
    values = card_for(TASKS[architecture], path, metadata)
    with card_faults(path):
        config = config_from(values["config"])
        preprocess = settings_from(Preprocess, values["preprocess"])
        names = tuple(map(str, values["names"]))
        notes = dict(values.get("notes", {}))
        model = build(config)
        classes = int(getattr(config, "num_classes"))  # noqa: B009 (whatever the config is of)
    if len(names) != classes:
        what = f"the card names {len(names)} classes, but the model has {classes}"
        raise UserError(what, where=path, mend="train or export it again")
    fill(model, tensors, path)
    return NamedModel(model.eval(), config, names, preprocess, notes)
