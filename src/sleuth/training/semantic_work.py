"""Models of pixel classes as work for the training function: pictures with masks in, cross-entropy out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.data.kept import usual_budget
from sleuth.data.semantic.checks import SemanticReport, check_semantic, without_faulty
from sleuth.data.semantic.open import open_semantic
from sleuth.data.semantic.samples import SemanticSource, first_pictures, relabelled
from sleuth.data.semantic.scenes import SCENES, SemanticScenes
from sleuth.data.semantic.stream import SemanticStream
from sleuth.errors import UserError
from sleuth.models.segmenter import Segmenter, SegmenterConfig, as_backbone, build_segmenter
from sleuth.tasks.semantic import SemanticLoss, class_weights
from sleuth.training.adapters import merged
from sleuth.training.semantic_recipe import SemanticRecipe, semantic_recipe
from sleuth.training.start_vit import take_vit
from sleuth.training.trained_parts import choose_trained
from sleuth.training.work import Autocast, BatchLoss
from sleuth.types.batches import SemanticBatch
from sleuth.types.predictions import SemanticPrediction
from sleuth.weights.classifiers import open_classifier
from sleuth.weights.segmenter import LoadedSegmenter, is_segmenter, open_segmenter, save_segmenter

HELD_OUT_SCENES = 200
_COUNTED_SCENES = 256
"""Of data that is drawn rather than read, so many pictures tell how frequent classes are."""


class SemanticWork:
    """A model of pixel classes to train; see `Work`.

    Args:
        recipe: the run.
        source: pictures to train on; by default those that the recipe names.
        shares: of each class, the share of pixels in the pictures that have it; None counts them, if they are needed.
    """

    counted = "pictures"

    def __init__(
        self, recipe: SemanticRecipe, source: SemanticSource | None = None, shares: Sequence[float] | None = None
    ) -> None:
        self.recipe = recipe
        report = None
        if source is None:
            source, report = checked_semantic(recipe, recipe.data.train)
        self.report = report
        self.source = source
        if shares is None and recipe.loss.class_weights != "none":
            shares = _shares(source, report)
        self.shares = tuple(shares or (0.0,) * len(source.names))
        self.criterion = SemanticLoss(recipe.loss, class_weights(recipe.loss.class_weights, self.shares))

    @property
    def config(self) -> SegmenterConfig:
        """The recipe's numbers with that of the classes."""
        return replace(self.recipe.model.config, num_classes=len(self.source.names))

    def examine(self) -> list[str]:
        """What the checks of the pictures found."""
        told = [f"{len(self.source):,} pictures, {len(self.source.names)} classes"]
        if self.report is not None:
            told += [f"warning: {fault.line()}" for fault in self.report.faults if fault.severity == "warning"][:5]
            if unused := [count.name for count in self.report.classes if not count.pixels]:
                told.append(f"warning: no pixel of {', '.join(unused[:5])}")
        return told

    def reread(self, tables: Mapping[str, Any], where: object) -> SemanticRecipe:
        """A recipe of the same kind from its tables."""
        return semantic_recipe(tables, where=where)

    def settled(self, device: torch.device, autocast: Autocast, processes: int) -> "SemanticWork":
        """The same: the recipe says how many pictures a pass takes."""
        return self

    def with_batch_size(self, size: int) -> "SemanticWork":
        """The same with so many pictures in a pass."""
        recipe = replace(self.recipe, optimizer=replace(self.recipe.optimizer, batch_size=size))
        return SemanticWork(recipe, self.source, self.shares)

    def assemble(self, *, resume: bool) -> tuple[nn.Module, tuple[str, ...]]:
        """A model for the classes of the data."""
        settings = self.recipe.model
        model = build_segmenter(self.config)
        remarks = [f"{sum(p.numel() for p in model.parameters()):,} parameters"]
        if settings.weights and not resume:
            remarks.append(self._start(model))
        remarks += choose_trained(model, settings.freeze, self.recipe.lora)
        return model, tuple(remarks)

    def _start(self, model: Segmenter) -> str:
        """Take the weights of the model to start from, and say which, in a line."""
        weights, ours = self.recipe.model.weights, self.config.vit
        if is_segmenter(weights):
            start = open_segmenter(weights)
            take_vit(model.backbone, ours, start.model.backbone, start.config.vit, where=weights)
            kept = take_head(model, start, tuple(self.source.names), keep_classes=self.recipe.model.keep_classes)
            return f"starts from {weights}: {kept} classes kept, {len(self.source.names) - kept} fresh"
        found = open_classifier(weights)
        theirs = replace(as_backbone(found.config), norm_after_pool=found.config.norm_after_pool)
        take_vit(model.backbone, ours, found.model.backbone, theirs, where=weights)
        return f"starts from the backbone of {weights}"

    def stream(self, *, rank: int, world_size: int) -> SemanticStream:
        """Augmented pictures."""
        recipe = self.recipe
        processes = recipe.run.devices * max(1, recipe.run.workers)
        return SemanticStream(
            self.source,
            recipe.augmentation,
            size_hw=recipe.size_hw,
            preprocess=recipe.preprocess,
            batch_size=recipe.optimizer.batch_size,
            # Scenes are drawn anew each time: nothing is read twice.
            budget=usual_budget(processes) if recipe.data.cache == "auto" and recipe.data.path != SCENES else 0,
            seed=recipe.run.seed,
            workers=recipe.run.workers,
            rank=rank,
            world_size=world_size,
        )

    def placed(self, batch: SemanticBatch, device: torch.device) -> SemanticBatch:
        """The batch on the device."""
        return batch.to(device)

    def amount(self, batch: SemanticBatch) -> int:
        """Pictures."""
        return len(batch)

    def counts(self, batches: Sequence[SemanticBatch]) -> Float[Tensor, " counts"]:
        """Labelled pixels that the loss is divided by."""
        return torch.stack([self.criterion.counts(batch) for batch in batches]).mean(0)

    def loss(
        self, network: nn.Module, batch: SemanticBatch, counts: Float[Tensor, " counts"], autocast: Autocast
    ) -> BatchLoss:
        """The loss of what the pixels show."""
        with autocast():
            prediction = network(batch.images)
        return BatchLoss(self.criterion(prediction, batch, counts), partial(_finite_or_not, prediction, batch))

    def save_model(self, path: Path, model: nn.Module, **notes: object) -> None:
        """Write the model with its classes; adapters are merged."""
        whole = merged(model)
        assert isinstance(whole, Segmenter)
        kept: dict[str, Any] = {"ignore": list(self.recipe.data.ignore)} if self.recipe.data.ignore else {}
        if self.recipe.model.weights:
            kept["started_from"] = self.recipe.model.weights
        loaded = LoadedSegmenter(whole, self.config, tuple(self.source.names), self.recipe.preprocess)
        save_segmenter(path, loaded, notes=kept | notes)


def checked_semantic(
    recipe: SemanticRecipe, split: str, *, names: tuple[str, ...] | None = None
) -> tuple[SemanticSource, SemanticReport | None]:
    """The pictures of a split of a recipe, every mask of them checked; and what was found, where they are files.

    Raises:
        UserError: a picture or mask at fault, classes that the model does not know, or nothing to tell apart.
    """
    data = recipe.data
    limit = {data.train: data.train_limit, data.val: data.val_limit}.get(split, 0)
    return open_semantic_source(
        data.path, split, ignored=data.ignore, names=names, limit=limit, skip_faulty=data.skip_faulty
    )


def open_semantic_source(
    path: str,
    split: str | None,
    *,
    ignored: Sequence[int] = (),
    names: tuple[str, ...] | None = None,
    limit: int = 0,
    skip_faulty: bool = False,
) -> tuple[SemanticSource, SemanticReport | None]:
    """The pictures of a split, checked, by a path or the name of built-in data.

    Args:
        path: a folder, a zip, or ``scenes``.
        split: its name; None where there is only one.
        ignored: values of masks that mean nothing.
        names: give them the classes of this model, in its order.
        limit: only the first so many; 0 takes all.
        skip_faulty: leave out what the checks find fault with.

    Raises:
        UserError: there are none, they are at fault, or of other classes.
    """
    source: SemanticSource
    if path == SCENES:
        if split not in (None, "train", "val", "test"):
            raise UserError(f"scenes have no split {split!r}", where=path, mend="use train, val or test")
        held_out = None if split == "train" else HELD_OUT_SCENES
        source, report = SemanticScenes(split or "val", limit or held_out), None  # type: ignore[arg-type]
    else:
        pictures = open_semantic(Path(path), split or None, ignored=ignored)
        if limit:
            pictures = pictures.select(range(min(limit, len(pictures))))
        report = check_semantic(pictures)
        if skip_faulty and report.errors:
            pictures = without_faulty(pictures, report)
            report = check_semantic(pictures)
        if not len(pictures):
            raise UserError("no picture is without fault", where=path, mend="see them with `sleuth data check`")
        report.raise_if_fatal()
        source = pictures
    source = first_pictures(source, limit)
    return (source if names is None else relabelled(source, names, path)), report


def take_head(model: Segmenter, start: LoadedSegmenter, names: Sequence[str], *, keep_classes: bool) -> int:
    """Copy the head of a Segmenter, of each class by its name; a head of another kind or size stays fresh.

    Returns:
        How many classes keep what the start knows of them.
    """
    ours, theirs = model.head.state_dict(), start.model.head.state_dict()
    places = {name: place for place, name in enumerate(start.names)}
    kept = [(row, places[name]) for row, name in enumerate(names) if name in places] if keep_classes else []
    before, now = len(start.names), len(names)
    if ours.keys() != theirs.keys():
        return 0
    for name, tensor in theirs.items():
        own = ours[name]
        if name in ("classes.weight", "classes.bias", "mask_norm.weight", "mask_norm.bias", "queries"):
            # A row a class; of the queries, after one dimension for the batch.
            own, tensor = (each[0] if name == "queries" else each for each in (own, tensor))
            if own.shape[1:] != tensor.shape[1:] or (len(own), len(tensor)) != (now, before):
                return 0
            for row, place in kept:
                own[row] = tensor[place]
        elif own.shape == tensor.shape:
            own.copy_(tensor)
        else:
            return 0
    model.head.load_state_dict(ours)
    return len(kept)


def _shares(source: SemanticSource, report: SemanticReport | None) -> tuple[float, ...]:
    """Of each class, the share of pixels in the pictures that have it."""
    if report is not None and len(report.classes) == len(source.names):
        return tuple(count.pixels / max(1, count.area) for count in report.classes)
    classes = len(source.names)
    pixels, area = np.zeros(classes), np.zeros(classes)
    for index in range(min(_COUNTED_SCENES, len(source))):
        counts = np.bincount(source.load(index).labels.numpy().ravel(), minlength=256)[:classes]
        pixels += counts
        area += np.where(counts > 0, counts.sum(), 0)
    return tuple((pixels / np.maximum(area, 1)).tolist())


@torch.no_grad()
def _finite_or_not(prediction: SemanticPrediction, batch: SemanticBatch) -> list[tuple[str, bool]]:
    """Each picture's name, and whether what was predicted for it is finite."""
    fine = prediction.logits.isfinite().flatten(1).all(-1).tolist()
    return list(zip(batch.names, fine, strict=True))
