"""Segmenters as files, and by their names: the weights, the numbers, the classes and how pictures become input."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sleuth.errors import UserError
from sleuth.models.segmenter import Segmenter, SegmenterConfig, build_segmenter
from sleuth.models.segmenter_variants import SEGMENTER_VARIANTS
from sleuth.models.vit import VitConfig
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.architectures import settings_from, task_of_file
from sleuth.weights.named import load_named, save_named

ARCHITECTURE = "segmenter"
_SUFFIX = ".safetensors"
_RUN_WEIGHTS = "best.safetensors"


@dataclass(frozen=True)
class LoadedSegmenter:
    """A Segmenter with its weights, in evaluation mode, and what belongs to them.

    Args:
        model: the model.
        config: its numbers.
        names: of the classes, by label.
        preprocess: how pictures become input.
        notes: whatever is worth keeping: scores, the data, and as ``ignore`` the values of its masks that mean nothing.
    """

    model: Segmenter
    config: SegmenterConfig
    names: tuple[str, ...]
    preprocess: Preprocess
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def ignored(self) -> tuple[int, ...]:
        """Values of masks that meant nothing in the data that it was trained on."""
        return tuple(int(value) for value in self.notes.get("ignore", ()))


def save_segmenter(path: Path, loaded: LoadedSegmenter, *, notes: Mapping[str, Any] | None = None) -> None:
    """Write a Segmenter atomically.

    Args:
        path: a ``.safetensors`` file.
        loaded: the model and what belongs to it.
        notes: further ones.

    Raises:
        UserError: the file cannot be written; a former file of that name stays as it was.
        ValueError: the names do not fit the number of classes.
    """
    save_named(
        path,
        loaded.model,
        architecture=ARCHITECTURE,
        config=loaded.config,
        names=loaded.names,
        preprocess=loaded.preprocess,
        notes=loaded.notes | dict(notes or {}),
    )


def load_segmenter(path: Path) -> LoadedSegmenter:
    """Build the Segmenter that a file's card describes and fill it with the file's weights.

    Raises:
        UserError: missing or broken file, a model for something else, an unknown option, weights of another model.
    """
    found = load_named(path, architecture=ARCHITECTURE, config_from=segmenter_config_from, build=build_segmenter)
    return LoadedSegmenter(found.model, found.config, found.names, found.preprocess, found.notes)


def segmenter_config_from(values: Mapping[str, Any]) -> SegmenterConfig:
    """A config from plain JSON values.

    Raises:
        TypeError: a number that it does not know.
        ValueError: numbers that make no model.
        KeyError: the numbers of the backbone are missing.
    """
    return settings_from(SegmenterConfig, {**values, "vit": settings_from(VitConfig, values["vit"])})


def open_segmenter(name_or_path: str | Path) -> LoadedSegmenter:
    """A Segmenter with its weights, ready to answer.

    Args:
        name_or_path: a ``.safetensors`` file that `sleuth train` wrote, or its run folder.

    Raises:
        UserError: there is no such model, it has no weights, or its files are broken.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if name in SEGMENTER_VARIANTS and not path.exists():
        what = f"{name!r} is an architecture without weights"
        raise UserError(what, mend=f"train one with `sleuth train --model {name}`, and name its {_SUFFIX} file")
    return load_segmenter(path / _RUN_WEIGHTS if path.is_dir() else path)


def is_segmenter(name_or_path: str | Path) -> bool:
    """Whether a name means a model of pixel classes, as far as that can be seen without loading it."""
    path = Path(name_or_path)
    if str(name_or_path) in SEGMENTER_VARIANTS:
        return True
    if not str(name_or_path):
        return False
    if path.is_dir():
        path = path / _RUN_WEIGHTS
    return path.suffix == _SUFFIX and path.is_file() and task_of_file(path) == "semantic segmentation"
