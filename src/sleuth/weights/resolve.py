"""Finding a model by its name: of the catalog, of a file or folder on this machine, or of the Hugging Face hub."""

from difflib import get_close_matches
from pathlib import Path

from sleuth.errors import UserError
from sleuth.weights.catalog import CATALOG, entry
from sleuth.weights.checkpoint import LoadedModel, load_model
from sleuth.weights.hub import CONFIG, is_hub_name, snapshot
from sleuth.weights.listing import LISTED, published_as
from sleuth.weights.origins.huggingface import check_config, open_folder
from sleuth.weights.origins.original import open_original

SUFFIX = ".safetensors"
RUN_WEIGHTS = "best.safetensors"
ADAPTER = "adapter_config.json"
PICKLES = (".pt", ".pth", ".bin", ".ckpt")
UNREADABLE = (".onnx", ".h5", ".tflite", ".engine", ".msgpack")


def open_model(name_or_path: str | Path) -> LoadedModel:
    """A model with its weights, ready to answer.

    What lies on this machine goes before the hub, and a name of the catalog before both.

    Args:
        name_or_path: a name from the catalog that has weights; a ``.safetensors`` file that `sleuth train` wrote, or a
            run folder, which stands for the best weights in it; a folder with ``config.json`` and weights in Hugging
            Face's form; a ``.pth`` file of an original project; or a model of the hub, ``organisation/model``, perhaps
            with ``@revision``, which is downloaded once.

    Raises:
        UserError: there is no such model, it has no weights, it cannot be had, or its files are broken.
    """
    path = find_weights(name_or_path)
    if path.is_dir():
        return open_folder(path)
    if path.suffix in PICKLES:
        return open_original(path)
    return load_model(path)


def find_weights(name_or_path: str | Path) -> Path:
    """The file or folder on this machine that a name or path means; a model of the hub is downloaded first.

    Raises:
        UserError: as for :func:`open_model`.
    """
    if not is_path(name_or_path):
        return _of_catalog(str(name_or_path))
    path, name = Path(name_or_path), str(name_or_path)
    if path.is_dir():
        return _in_folder(path)
    if path.suffix in UNREADABLE:
        mend = f"use a {SUFFIX} file that `sleuth train` wrote, a folder with {CONFIG}, or a .pth file of the original"
        raise UserError(f"cannot read {path.suffix} weights", where=path, mend=mend)
    if path.exists():
        # Of a folder in Hugging Face's form, one may name the weights: they are nothing without the rest.
        ours = path.suffix not in (SUFFIX, ".bin") or not (path.parent / CONFIG).is_file()
        return path if ours else path.parent
    if is_hub_name(name) and path.suffix not in (SUFFIX, *PICKLES):
        return _of_hub(name)
    raise UserError("there is no such model file", where=path, mend=_nearby(path))


def is_path(name_or_path: str | Path) -> bool:
    """Whether this is meant as a file, a folder or a model of the hub rather than as a name from the catalog."""
    if isinstance(name_or_path, Path):
        return True
    if name_or_path in CATALOG:
        return False
    looks = "/" in name_or_path or "\\" in name_or_path or name_or_path.endswith((SUFFIX, *PICKLES, *UNREADABLE))
    return looks or Path(name_or_path).exists()


def has_weights(name_or_path: str | Path) -> bool:
    """Whether this means a model with weights rather than an architecture alone.

    Raises:
        UserError: there is no such name.
    """
    return is_path(name_or_path) or entry(str(name_or_path)).weights is not None


def _of_catalog(name: str) -> Path:
    known = entry(name)
    if known.weights is None:
        with_weights = [other for other, values in CATALOG.items() if values.weights is not None]
        published = published_as(name)
        raise UserError(
            f"{name!r} is an architecture without weights",
            mend=f"train one with `sleuth train --model {name}` and name its .safetensors file, "
            f"or use {' or '.join([published] if published else with_weights)}",
        )
    if not known.weights.is_file():
        what = f"the bundled weights of {name!r} are missing"
        raise UserError(what, where=known.weights, mend="install Sleuth again")
    return known.weights


def _in_folder(path: Path) -> Path:
    """The best weights of a run folder, or the folder itself where it is in Hugging Face's form."""
    if (path / RUN_WEIGHTS).is_file():
        return path / RUN_WEIGHTS
    if (path / CONFIG).is_file():
        return path
    if (path / ADAPTER).is_file():
        mend = f"`sleuth merge {path} --out merged{SUFFIX}` makes a model of it and its base"
        raise UserError("this folder holds adapters, not a model", where=path, mend=mend)
    raise UserError(f"this folder holds neither {RUN_WEIGHTS} nor {CONFIG}", where=path, mend=f"name a {SUFFIX} file")


def _of_hub(name: str) -> Path:
    try:
        return snapshot(name, check_config=check_config)
    except UserError as error:
        if name in LISTED or error.where is not None:
            raise
        # It may have been meant as a path.
        what = f"there is no file or folder {name!r} here; and as for the Hugging Face hub, {error.what}"
        raise UserError(what, mend=error.mend) from error


def _nearby(path: Path) -> str:
    folder = path.parent
    suffix = path.suffix or SUFFIX
    files = {file.stem: file for file in sorted(folder.glob(f"*{suffix}"))} if folder.is_dir() else {}
    near = get_close_matches(path.stem, files, n=1, cutoff=0.6)
    if near:
        return f"did you mean {files[near[0]]}?"
    return "check the path, or see `sleuth models` for known names"
