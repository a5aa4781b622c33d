"""Classifiers as files: the weights, the numbers, the names of the classes and how pictures become input, in one."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from sleuth.errors import UserError
from sleuth.models.vit import VitConfig, build_vit
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.architectures import KEY, card_faults, card_for, settings_from
from sleuth.weights.checkpoint import fill, read_tensors, save_tensors, stored
from sleuth.weights.origins.vit_folder import LoadedVit

ARCHITECTURE = "vit"


@dataclass(frozen=True)
class LoadedClassifier(LoadedVit):
    """A classifier with its weights, in evaluation mode, and what belongs to them.

    Args:
        notes: whatever is worth keeping: scores, licence, the data.
    """

    notes: dict[str, Any] = field(default_factory=dict)


def save_classifier(
    path: Path, loaded: LoadedVit, *, dtype: torch.dtype | None = None, notes: Mapping[str, Any] | None = None
) -> None:
    """Write a classifier atomically.

    Args:
        path: a ``.safetensors`` file.
        loaded: the model and what belongs to it; a `LoadedClassifier` keeps its notes.
        dtype: store weights in this type (half halves the file); None keeps them.
        notes: further ones.

    Raises:
        UserError: the file cannot be written; a former file of that name stays as it was.
        ValueError: the names do not fit the number of classes.
    """
    if len(loaded.names) != loaded.config.num_classes:
        raise ValueError(f"{loaded.config.num_classes} classes, but {len(loaded.names)} names")
    kept = loaded.notes if isinstance(loaded, LoadedClassifier) else {}
    card = {
        "architecture": ARCHITECTURE,
        "config": asdict(loaded.config),
        "names": loaded.names,
        "preprocess": asdict(loaded.preprocess),
        "notes": kept | dict(notes or {}),
    }
    save_tensors(path, stored(loaded.model.state_dict(), dtype), {KEY: json.dumps(card)})


def load_classifier(path: Path) -> LoadedClassifier:
    """Build the classifier that a file's card describes and fill it with the file's weights.

    Raises:
        UserError: missing or broken file, a model for something else, an unknown option, weights of another model.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path)
    values = card_for("classification", path, metadata)
    with card_faults(path):
        config = settings_from(VitConfig, values["config"])
        preprocess = settings_from(Preprocess, values["preprocess"])
        names = tuple(map(str, values["names"]))
        notes = dict(values.get("notes", {}))
        model = build_vit(config)
    if len(names) != config.num_classes:
        what = f"the card names {len(names)} classes, but the model has {config.num_classes}"
        raise UserError(what, where=path, mend="train or export it again")
    fill(model, tensors, path)
    return LoadedClassifier(model.eval(), config, names, preprocess, notes)
