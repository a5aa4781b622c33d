"""Starting from another model: what of it is kept for new classes, another number of queries, or masks."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.detector import Detector, DetectorConfig, has_masks
from sleuth.models.families import computation, family_of
from sleuth.queries.top_k import TopKSource
from sleuth.training.rows import rows_of
from sleuth.weights.checkpoint import LoadedModel

_MASKS, _DENOISING = "mask_head.", "denois"
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Taken:
    """What a model has of the one that it starts from.

    Args:
        classes_kept: classes whose rows of the class heads are the start's.
        classes_fresh: classes that the start does not know.
        queries_kept: learned queries that are the start's.
        queries_fresh: learned queries drawn anew. Both are 0 where queries are picked from the picture.
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
        if self.queries_kept:
            parts.append(f"{_count(self.queries_kept, 'query')} kept")
        if self.queries_fresh:
            parts.append(f"{_count(self.queries_fresh, 'query')} fresh")
        if self.masks:
            parts.append(f"mask head {self.masks}")
        return ", ".join([*parts, "everything else kept"])


def take_weights(
    model: Detector,
    config: DetectorConfig,
    start: LoadedModel,
    names: tuple[str, ...],
    *,
    keep_classes: bool,
    where: object,
) -> Taken:
    """Copy what fits from a starting model; only classes, queries and the mask head may differ.

    A class keeps its rows, of class heads and of embedded labels, if the start has a class of that name, in whatever
    case; so does no-object, and so does the row of a proposing head that means any object. Of learned queries the first
    are kept; further ones are drawn with mean and spread of the start's.

    Args:
        model: with fresh weights.
        config: its numbers.
        start: the model to start from.
        names: the model's classes.
        keep_classes: False leaves all rows of classes fresh.
        where: the start's name, for messages.

    Raises:
        UserError: the start is of another architecture.
    """
    _check_computation(config, start.config, where)
    found, wanted = start.model.state_dict(), model.state_dict()
    rows = rows_of(config)
    places = _places(start.card.names if keep_classes else None, names)
    agnostic = _agnostic_heads(model)
    taken: dict[str, Tensor] = {}
    for name, fresh in wanted.items():
        theirs, by_class, by_query = found.get(name), rows.classes.get(name), rows.queries.get(name)
        if theirs is None:
            if not _may_lack(name, start.config):
                raise _differs(name, None, fresh, where)
            taken[name] = fresh
        elif by_class is not None and _alike(theirs, fresh, but=by_class):
            extra = fresh.shape[by_class] - len(names) if keep_classes else 0
            of_any_object = name.rpartition(".")[0] in agnostic
            taken[name] = _take_rows(theirs, fresh, [0] if of_any_object else places, extra=extra, dim=by_class)
        elif by_query is not None and _alike(theirs, fresh, but=by_query):
            taken[name] = _resized(theirs.movedim(by_query, 0), fresh.shape[by_query]).movedim(0, by_query)
        elif theirs.shape == fresh.shape:
            taken[name] = theirs
        else:
            raise _differs(name, theirs, fresh, where)
    for name in found.keys() - wanted.keys():
        if not _may_lack(name, config):
            raise _differs(name, found[name], None, where)
    model.load_state_dict(taken)
    kept = tuple(name for name, row in zip(names, places, strict=True) if row is not None)
    queries_here, queries_there = (each.num_queries if rows.queries else 0 for each in (config, start.config))
    masks = {(True, True): "kept", (False, True): "fresh", (True, False): "dropped", (False, False): ""}
    return Taken(
        classes_kept=kept,
        classes_fresh=tuple(name for name in names if name not in kept),
        queries_kept=min(queries_here, queries_there),
        queries_fresh=max(0, queries_here - queries_there),
        masks=masks[has_masks(start.config), has_masks(config)],
    )


def take_backbone(model: Detector, start: LoadedModel, *, where: object) -> None:
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


def _check_computation(ours: DetectorConfig, theirs: DetectorConfig, where: object) -> None:
    """Refuse another family, and numbers that change the answer of the same weights where no shape tells."""
    here, there = family_of(ours).name, family_of(theirs).name
    if here != there:
        raise UserError(
            f"weights of another model: a {there} there, a {here} in the recipe",
            where=where,
            mend="leave model.name out of the recipe, or name other weights",
        )
    known = computation(theirs)
    for field, value in computation(ours).items():
        if known[field] != value:
            raise UserError(
                f"weights of another model: {field} is {known[field]} there, {value} in the recipe",
                where=where,
                mend=f"leave model.{field} out of the recipe, or name other weights",
            )


def _agnostic_heads(model: Detector) -> set[str]:
    """The heads whose first row means any object, whatever its class."""
    sources = {name: part for name, part in model.named_modules() if isinstance(part, TopKSource)}
    return {f"{name}.class_head" for name, source in sources.items() if source.rank_by == "first"}


def _places(theirs: tuple[str, ...] | None, ours: tuple[str, ...]) -> list[int | None]:
    """For each class of ours, its row in the start, or None for a fresh one."""
    if theirs is None:
        return [None] * len(ours)
    rows: dict[str, int] = {}
    for row, name in enumerate(theirs):
        rows.setdefault(name.casefold(), row)
    return [rows.get(name.casefold()) for name in ours]


def _alike(theirs: Tensor, ours: Tensor, *, but: int) -> bool:
    """Whether two shapes are the same but for one dimension."""
    return [*theirs.shape[:but], *theirs.shape[but + 1 :]] == [*ours.shape[:but], *ours.shape[but + 1 :]]


def _may_lack(name: str, config: DetectorConfig) -> bool:
    """Whether a model may do without a weight: a mask head, what only training reads, and counters of batches."""
    training_only = any(part.startswith(_DENOISING) for part in name.split("."))
    return training_only or name.endswith(_COUNTER) or (name.startswith(_MASKS) and not has_masks(config))


def _take_rows(found: Tensor, fresh: Tensor, places: list[int | None], *, extra: int, dim: int) -> Tensor:
    """The start's rows of classes that it knows, and its last rows, which are of no class."""
    taken, theirs = fresh.movedim(dim, 0).clone(), found.movedim(dim, 0)
    for place, row in enumerate(places):
        if row is not None:
            taken[place] = theirs[row]
    if extra:
        taken[-extra:] = theirs[-extra:]
    return taken.movedim(0, dim)


def _resized(queries: Float[Tensor, "theirs *dims"], count: int) -> Float[Tensor, "ours *dims"]:
    """The first queries, and as many more as are missing, drawn with mean and spread of all of them."""
    spread = queries.std(0, correction=0)
    further = queries.mean(0) + spread * torch.randn(max(0, count - len(queries)), *queries.shape[1:])
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
