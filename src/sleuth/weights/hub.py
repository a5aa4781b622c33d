"""Models of the Hugging Face hub by name: from ``facebook/detr-resnet-50`` to a folder on this machine."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sleuth.errors import UserError
from sleuth.weights.download import (
    AbsentError,
    Shelf,
    UnreachableError,
    cached,
    check_cached,
    commit_of,
    fetch,
    keep_revision,
)

CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""A model's weights under the first of these names that it has, whole or in shards."""

_NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(@(?P<revision>[\w./+-]+))?")


def is_hub_name(name: str) -> bool:
    """Whether this is written like a model of the hub: ``organisation/model``, perhaps with ``@revision``.

    >>> is_hub_name("facebook/detr-resnet-50"), is_hub_name("me/my-detr@v2")
    (True, True)
    >>> is_hub_name("runs/mine/best.safetensors"), is_hub_name("./mine")
    (False, False)
    """
    match = _NAME.fullmatch(name)
    return match is not None and not any(part in match["repo"] for part in ("--", ".."))


def shelf_of(name: str, *, endpoint: str | None = None, cache: Path | None = None) -> Shelf:
    """Where the files of a named model come from.

    Args:
        name: ``organisation/model``, or ``organisation/model@revision``.
        endpoint: address of the hub, where it is not huggingface_hub's own.
        cache: folder of the cache, where it is not huggingface_hub's own.

    Raises:
        UserError: it is not written like one.
    """
    match = _NAME.fullmatch(name)
    if match is None or not is_hub_name(name):
        raise UserError(f"{name!r} is no name of a model on the hub", mend="write organisation/model")
    return Shelf(match["repo"], match["revision"] or "main", endpoint, cache)


def snapshot(
    name: str,
    *,
    endpoint: str | None = None,
    cache: Path | None = None,
    check_config: Callable[[Path], object] | None = None,
    beside: tuple[str, ...] = (PROCESSOR,),
) -> Path:
    """The folder on this machine with a hub model's configuration and weights; downloads what is missing.

    Once it has been downloaded, no network is needed.

    Args:
        name: ``organisation/model``, or ``organisation/model@revision``.
        endpoint: address of the hub, where it is not huggingface_hub's own.
        cache: folder of the cache, where it is not huggingface_hub's own.
        check_config: called with the folder before the weights are downloaded; it raises what speaks against them.
        beside: further files that are wanted where the model has them.

    Raises:
        UserError: no such model, no access to it, no network and not in the cache, or the download failed.
    """
    shelf = shelf_of(name, endpoint=endpoint, cache=cache)
    try:
        return _present_snapshot(shelf, check_config, beside)
    except UnreachableError as error:
        kept = _cached_files(shelf, beside)
        if not kept:
            raise UserError(
                f"the model {shelf.name!r} is not on this machine, and the hub cannot be reached ({error})",
                mend="load it once with a network; afterwards none is needed",
            ) from error
        for file in kept:
            check_cached(file, shelf)
        return kept[0].parent


def is_on_this_machine(name: str) -> bool:
    """Whether a hub model can be loaded without a network. The contents of its files are not looked at."""
    return bool(_cached_files(shelf_of(name)))


def _present_snapshot(shelf: Shelf, check_config: Callable[[Path], object] | None, beside: tuple[str, ...]) -> Path:
    """The folder of what the hub has now; only when it is whole is it noted as what the revision is."""
    try:
        commit = commit_of(shelf, CONFIG)
        pinned = replace(shelf, commit=commit)
        folder = fetch(pinned, CONFIG).parent
    except AbsentError as error:
        what = f"the model {shelf.name!r} holds no {CONFIG}, so nothing says what it is"
        raise UserError(what, mend="name a model that `transformers` can load") from error
    for file in beside:
        _fetch_if_any(pinned, file)
    if check_config is not None:
        check_config(folder)
    if not _fetch_weights(pinned):
        what = f"the model {shelf.name!r} holds no weights that can be read"
        raise UserError(what, mend=f"a model has {' or '.join(WEIGHTS)}")
    keep_revision(shelf, commit)
    return folder


def _fetch_if_any(shelf: Shelf, file: str) -> Path | None:
    try:
        return fetch(shelf, file)
    except AbsentError:
        return None


def _fetch_weights(shelf: Shelf) -> bool:
    """Get the weights, preferring those that cannot run code; whether there are any."""
    for weights in WEIGHTS:
        if _fetch_if_any(shelf, weights) is not None:
            return True
        index = _fetch_if_any(shelf, f"{weights}.index.json")
        if index is not None:
            for shard in shards_of(index):
                if _fetch_if_any(shelf, shard) is None:
                    raise UserError(f"the model {shelf.name!r} lacks {shard}", mend="tell its author")
            return True
    return False


def _cached_files(shelf: Shelf, beside: tuple[str, ...] = (PROCESSOR,)) -> list[Path]:
    """All files that loading the model reads, the configuration first; empty if one is not in the cache."""
    config = cached(shelf, CONFIG)
    if config is None:
        return []
    found = [config, *(file for file in (cached(shelf, name) for name in beside) if file is not None)]
    for weights in WEIGHTS:
        if (whole := cached(shelf, weights)) is not None:
            return [*found, whole]
        if (index := cached(shelf, f"{weights}.index.json")) is not None:
            shards = [cached(shelf, shard) for shard in shards_of(index)]
            return [*found, index, *(shard for shard in shards if shard)] if all(shards) else []
    return []


def shards_of(index: Path) -> list[str]:
    """The files that an index of sharded weights names, each once.

    Raises:
        UserError: the index is broken, or names a file outside its folder.
    """
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError("not an index of weights", where=index, mend="copy or download it again") from error
    for shard in shards:
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise UserError(f"names {shard!r}, which is no file beside it", where=index, mend="do not trust this model")
    return shards
