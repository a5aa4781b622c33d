"""Classifiers as files: the weights, the numbers, the names of the classes and how pictures become input, in one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sleuth.models.vit import VitConfig, build_vit
from sleuth.weights.architectures import settings_from
from sleuth.weights.named import load_named, save_named
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
    kept = loaded.notes if isinstance(loaded, LoadedClassifier) else {}
    save_named(
        path,
        loaded.model,
        architecture=ARCHITECTURE,
        config=loaded.config,
        names=loaded.names,
        preprocess=loaded.preprocess,
        notes=kept | dict(notes or {}),
        dtype=dtype,
    )


def load_classifier(path: Path) -> LoadedClassifier:
    """Build the classifier that a file's card describes and fill it with the file's weights.

    Raises:
        UserError: missing or broken file, a model for something else, an unknown option, weights of another model.
    """
    found = load_named(path, architecture=ARCHITECTURE, config_from=partial(settings_from, VitConfig), build=build_vit)
    return LoadedClassifier(found.model, found.config, found.names, found.preprocess, found.notes)
