"""Finding a classifier by its name: bundled, of a file or folder on this machine, or of the Hugging Face hub."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from sleuth.errors import UserError
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.weights.architectures import task_of_file
from sleuth.weights.classifier import LoadedClassifier, load_classifier
from sleuth.weights.hub import CONFIG, is_hub_name, snapshot
from sleuth.weights.origins.vit_folder import check_vit_config, is_vit_folder, open_vit_folder

_SUFFIX = ".safetensors"
_RUN_WEIGHTS = "best.safetensors"
_OF_THE_HUB = (
    *("google/vit-", "facebook/deit-", "facebook/dinov2-", "facebook/dino-vit", "WinKawaks/vit-"),
    *("timm/vit_", "timm/deit"),
)
"""How names of the hub begin that are known to be classifiers' before anything is downloaded."""

BUNDLED: Mapping[str, Path] = {"vit-digits": Path(__file__).parent / "bundled" / "vit-digits.safetensors"}
"""Classifiers that come with the program, by name."""


def open_classifier(name_or_path: str | Path) -> LoadedClassifier:
    """A classifier with its weights, ready to answer.

    Args:
        name_or_path: a bundled model's name; a ``.safetensors`` file that `sleuth train` wrote, or its run folder; a
            folder of a vision Transformer in the form of Hugging Face's library or of timm; or such a model of the hub,
            as ``google/vit-base-patch16-224``, which is downloaded once.

    Raises:
        UserError: there is no such model, it has no weights, it cannot be had, or its files are broken.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if isinstance(name_or_path, str) and name in BUNDLED:
        return load_classifier(BUNDLED[name])
    if path.is_dir():
        return _of_folder(path)
    if path.is_file() and path.suffix == _SUFFIX and task_of_file(path) is None and (path.parent / CONFIG).is_file():
        return _of_folder(path.parent)  # the weights of a folder in another form: they are nothing without the rest
    if path.exists():
        return load_classifier(path)
    if name in VIT_VARIANTS:
        what = f"{name!r} is an architecture without weights"
        raise UserError(what, mend=f"train one with `sleuth train --model {name}`, and name its .safetensors file")
    if is_hub_name(name) and path.suffix != _SUFFIX:
        return _of_folder(snapshot(name, check_config=check_vit_config))
    near = get_close_matches(name, BUNDLED, n=1, cutoff=0.6)
    mend = f"did you mean {near[0]!r}?" if near else f"name a {_SUFFIX} file, a run folder, or {', '.join(BUNDLED)}"
    raise UserError(f"there is no classifier {name!r}", mend=mend)


def is_classifier(name_or_path: str) -> bool:
    """Whether a name means a classifier, as far as that can be seen without loading it."""
    path = Path(name_or_path)
    if name_or_path in BUNDLED or name_or_path in VIT_VARIANTS:
        return True
    if path.is_dir():
        path = path / (_RUN_WEIGHTS if (path / _RUN_WEIGHTS).is_file() else CONFIG)
    elif path.suffix == _SUFFIX and path.is_file() and task_of_file(path) is None:
        path = path.parent / CONFIG
    if path.suffix == ".json" and path.is_file():
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(values, dict) and is_vit_folder(values)
    if path.suffix == _SUFFIX and path.is_file():
        return task_of_file(path) == "classification"
    return not path.exists() and name_or_path.startswith(_OF_THE_HUB)


def _of_folder(path: Path) -> LoadedClassifier:
    if (path / _RUN_WEIGHTS).is_file():
        return load_classifier(path / _RUN_WEIGHTS)
    if (path / CONFIG).is_file():
        found = open_vit_folder(path)
        names = found.names or tuple(f"class {number}" for number in range(found.config.num_classes))
        return LoadedClassifier(found.model, found.config, names, found.preprocess)
    raise UserError(f"this folder holds neither {_RUN_WEIGHTS} nor {CONFIG}", where=path, mend=f"name a {_SUFFIX} file")
