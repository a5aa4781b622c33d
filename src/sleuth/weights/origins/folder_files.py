"""The files of a model's folder: JSON, weights whole or in shards, and the names of its classes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sleuth.errors import UserError
from sleuth.weights.checkpoint import read_tensors
from sleuth.weights.hub import WEIGHTS, shards_of
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.reading import FolderWeights
from sleuth.weights.pickles import read_pickle


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model's folder.

    Raises:
        UserError: it is missing, not readable, or no object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"this folder holds no {path.name}", where=path.parent, mend="name a model's folder") from None
    except PermissionError as error:
        raise UserError("no permission to read", where=path, mend="change its permissions") from error
    except (OSError, ValueError) as error:
        raise UserError(f"not readable JSON ({error})", where=path, mend="copy or download it again") from error
    if not isinstance(values, dict):
        raise UserError("holds no JSON object", where=path, mend="copy or download it again")
    return values


def read_weights(folder: Path) -> FolderWeights:
    """The state dict of a folder.

    Raises:
        UserError: there is none, or it is broken.
    """
    for name in WEIGHTS:
        path, index = folder / name, folder / f"{name}.index.json"
        if path.is_file():
            return FolderWeights(_read(path), path)
        if index.is_file():
            tensors: dict[str, Tensor] = {}
            for shard in shards_of(index):
                found = _read(folder / shard)
                if twice := sorted(found.keys() & tensors.keys()):
                    raise UserError(f"{twice[0]!r} is in two shards", where=index, mend="copy or download them again")
                tensors |= found
            return FolderWeights(tensors, index)
    raise UserError(f"this folder holds neither {' nor '.join(WEIGHTS)}", where=folder, mend="name a model's folder")


def _read(path: Path) -> dict[str, Tensor]:
    return read_pickle(path).tensors if path.suffix == ".bin" else read_tensors(path)[0]


def class_names(values: Mapping[str, Any], num_classes: int, where: Path) -> tuple[str, ...]:
    """Names of the classes by ``id2label`` of Hugging Face's config.json; without it LABEL_0, LABEL_1, ... as there.

    Raises:
        UserError: they are not as many as the weights have.
    """
    fields = Fields(values, where)
    if "id2label" not in fields:
        count = fields.whole("num_labels", num_classes)
        if count != num_classes:
            raise fields.fault("num_labels", f"the weights have {num_classes} classes")
        return tuple(f"LABEL_{label}" for label in range(num_classes))
    table = fields.table("id2label").values
    if sorted(table) != sorted(str(label) for label in range(num_classes)):
        what = f"id2label names {len(table)} classes, but the weights have {num_classes}, numbered from 0"
        raise UserError(what, where=where, mend="name every class once")
    return tuple(str(table[str(label)]) for label in range(num_classes))
