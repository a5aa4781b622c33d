"""Finding a model by its name in the catalog or by its file."""

from difflib import get_close_matches
from pathlib import Path

from sleuth.errors import UserError
from sleuth.weights.catalog import CATALOG, entry
from sleuth.weights.checkpoint import LoadedModel, load_model

SUFFIX = ".safetensors"
RUN_WEIGHTS = "best.safetensors"
FOREIGN_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".onnx")


def open_model(name_or_path: str | Path) -> LoadedModel:
    """A model with its weights, ready to answer.

    Args:
        name_or_path: a name from the catalog that has weights, a ``.safetensors`` file that `sleuth train` wrote, or
            a run folder, which stands for the best weights in it.

    Raises:
        UserError: there is no such model, it has no weights, or its file is broken.
    """
    return load_model(find_weights(name_or_path))


def find_weights(name_or_path: str | Path) -> Path:
    """The weights file that a name or path means.

    Raises:
        UserError: as for :func:`open_model`.
    """
    if not is_path(name_or_path):
        known = entry(str(name_or_path))
        if known.weights is None:
            with_weights = [name for name, other in CATALOG.items() if other.weights is not None]
            raise UserError(
                f"{name_or_path!r} is an architecture without weights",
                mend=f"train one with `sleuth train --model {name_or_path}` and name its .safetensors file, "
                f"or use {' or '.join(with_weights)}",
            )
        if not known.weights.is_file():
            raise UserError(
                f"the bundled weights of {name_or_path!r} are missing",
                where=known.weights,
                mend="install Sleuth again",
            )
        return known.weights
    path = Path(name_or_path)
    if path.suffix in FOREIGN_SUFFIXES:
        raise UserError(
            f"cannot read {path.suffix} weights", where=path, mend=f"use a {SUFFIX} file that `sleuth train` wrote"
        )
    if path.is_dir():
        if not (path / RUN_WEIGHTS).is_file():
            raise UserError(f"this folder holds no {RUN_WEIGHTS}", where=path, mend=f"name a {SUFFIX} file")
        return path / RUN_WEIGHTS
    if not path.exists():
        raise UserError("there is no such model file", where=path, mend=_nearby(path))
    return path


def is_path(name_or_path: str | Path) -> bool:
    """Whether this is meant as a file or folder rather than as a name from the catalog."""
    if isinstance(name_or_path, Path):
        return True
    if name_or_path in CATALOG:
        return False
    looks = "/" in name_or_path or "\\" in name_or_path or name_or_path.endswith((SUFFIX, *FOREIGN_SUFFIXES))
    return looks or Path(name_or_path).exists()


def has_weights(name_or_path: str | Path) -> bool:
    """Whether this means a model with weights rather than an architecture alone.

    Raises:
        UserError: there is no such name.
    """
    return is_path(name_or_path) or entry(str(name_or_path)).weights is not None


def _nearby(path: Path) -> str:
    folder = path.parent
    names = sorted(file.name for file in folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    near = get_close_matches(path.name, names, n=1, cutoff=0.4)
    if near:
        return f"did you mean {folder / near[0]}?"
    return "check the path, or see `sleuth models` for known names"
