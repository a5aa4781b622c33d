"""Starting from another model: what of it is kept for new classes, another number of queries, or masks."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.detr import Detr, DetrConfig
from sleuth.weights.checkpoint import LoadedModel

_CLASSES, _QUERIES, _MASKS = "class_head.", "queries.", "mask_head."
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Taken:
    """What a model has of the one that it starts from.

    Args:
        classes_kept: classes whose rows of the class head are the start's.
        classes_fresh: classes that the start does not know.
        queries_kept: object queries that are the start's.
        queries_fresh: object queries drawn anew.
        masks: what became of the mask head: ``kept``, ``fresh``, ``dropped``, or empty where there was and is none.
    """

    classes_kept: tuple[str, ...]
    classes_fresh: tuple[str, ...]
    queries_kept: int
    queries_fresh: int
    masks: str = ""

    def line(self) -> str:
        """All of it in a line."""
        parts = [f"{_count(len(self.classes_kept), 'class')} kept{_listed(self.classes_kept)}"]
        if self.classes_fresh:
            parts.append(f"{_count(len(self.classes_fresh), 'class')} fresh{_listed(self.classes_fresh)}")
        parts.append(f"{_count(self.queries_kept, 'query')} kept")
        if self.queries_fresh:
            parts.append(f"{_count(self.queries_fresh, 'query')} fresh")
        if self.masks:
            parts.append(f"mask head {self.masks}")
        return ", ".join([*parts, "everything else kept"])


def take_weights(
    model: Detr, config: DetrConfig, start: LoadedModel, names: tuple[str, ...], *, keep_classes: bool, where: object
) -> Taken:
    """Copy what fits from a starting model; only classes, queries and the mask head may differ.

    A class keeps its row of the class head if the start has a class of that name, in whatever case; so does no-object.
    Of the object queries the first are kept; further ones are drawn with mean and spread of the start's.

    Args:
        model: with fresh weights.
        config: its numbers.
        start: the model to start from.
        names: the model's classes.
        keep_classes: False leaves the whole class head fresh.
        where: the start's name, for messages.

    Raises:
        UserError: the start is of another architecture.
    """
    theirs = _computation(start.config)
    for field, ours in _computation(config).items():
        if theirs[field] != ours:
            raise UserError(
                f"weights of another model: {field} is {theirs[field]} there, {ours} in the recipe",
                where=where,
                mend=f"leave model.{field} out of the recipe, or name other weights",
            )
    found, wanted = start.model.state_dict(), model.state_dict()
    rows = _class_rows(start.card.names if keep_classes else None, names, len(found["class_head.bias"]))
    taken: dict[str, Tensor] = {}
    for name, fresh in wanted.items():
        if name not in found:
            if not (name.startswith(_MASKS) and not start.config.masks) and not name.endswith(_COUNTER):
                raise _differs(name, None, fresh, where)
            taken[name] = fresh
        elif name.startswith(_CLASSES) and found[name].shape[1:] == fresh.shape[1:]:
            taken[name] = _take_rows(found[name], fresh, rows)
        elif name.startswith(_QUERIES) and found[name].shape[1:] == fresh.shape[1:]:
            taken[name] = _resized(found[name], len(fresh))
        elif found[name].shape == fresh.shape:
            taken[name] = found[name]
        else:
            raise _differs(name, found[name], fresh, where)
    for name in found.keys() - wanted.keys():
        if not name.startswith(_MASKS) and not name.endswith(_COUNTER):
            raise _differs(name, found[name], None, where)
    model.load_state_dict(taken)
    kept = tuple(name for name, row in zip(names, rows, strict=False) if row is not None)
    queries = min(config.num_queries, start.config.num_queries)
    masks = {(True, True): "kept", (False, True): "fresh", (True, False): "dropped", (False, False): ""}
    return Taken(
        classes_kept=kept,
        classes_fresh=tuple(name for name in names if name not in kept),
        queries_kept=queries,
        queries_fresh=config.num_queries - queries,
        masks=masks[start.config.masks, config.masks],
    )


def take_backbone(model: Detr, start: LoadedModel, *, where: object) -> None:
    """Copy the backbone alone.

    Raises:
        UserError: the start has another one.
    """
    found, wanted = start.model.backbone.state_dict(), model.backbone.state_dict()
    counters = {name: tensor for name, tensor in wanted.items() if name.endswith(_COUNTER)}
    for name in [*wanted, *found]:
        theirs, ours = found.get(name), wanted.get(name)
        if not name.endswith(_COUNTER) and (theirs is None or ours is None or theirs.shape != ours.shape):
            raise _differs(f"backbone.{name}", theirs, ours, where)
    model.backbone.load_state_dict(counters | {name: found[name] for name in wanted if name in found})


def _computation(config: DetrConfig) -> dict[str, object]:
    """What changes the answer of the same weights, where no shape tells."""
    silent = ("num_heads", "activation", "pre_norm", "positions", "norm_between_layers")
    return {name: getattr(config, name) for name in silent} | {
        "decoder_num_heads": config.decoder_num_heads or config.num_heads
    }


def _class_rows(theirs: tuple[str, ...] | None, ours: tuple[str, ...], no_object: int) -> list[int | None]:
    """For each class of ours, and last no-object, its row in the start's class head, or None for a fresh one."""
    if theirs is None:
        return [None] * (len(ours) + 1)
    places: dict[str, int] = {}
    for place, name in enumerate(theirs):
        places.setdefault(name.casefold(), place)
    return [*(places.get(name.casefold()) for name in ours), no_object - 1]


def _take_rows(found: Tensor, fresh: Tensor, rows: list[int | None]) -> Tensor:
    taken = fresh.clone()
    for place, row in enumerate(rows):
        if row is not None:
            taken[place] = found[row]
    return taken


def _resized(queries: Float[Tensor, "theirs dim"], count: int) -> Float[Tensor, "ours dim"]:
    """The first queries, and as many more as are missing, drawn with mean and spread of all of them."""
    spread = queries.std(0, correction=0)
    further = queries.mean(0) + spread * torch.randn(max(0, count - len(queries)), queries.shape[1])
    return torch.cat([queries[:count], further])


def _differs(name: str, theirs: Tensor | None, ours: Tensor | None, where: object) -> UserError:
    there, here = ("absent" if tensor is None else str(list(tensor.shape)) for tensor in (theirs, ours))
    return UserError(
        f"weights of another model: {name} is {there} there, {here} in the recipe",
        where=where,
        mend="leave the sizes of that model out of [model], or name other weights",
    )


def _count(number: int, what: str) -> str:
    many = {"class": "classes", "query": "queries"}[what]
    return f"{number} {what if number == 1 else many}"


def _listed(names: tuple[str, ...], most: int = 6) -> str:
    if not names:
        return ""
    return f" ({', '.join(names[:most])}{', ...' if len(names) > most else ''})"
