"""Classifiers as work for the training function: pictures of classes in, cross-entropy out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.data.classes.cache import cached_classes
from sleuth.data.classes.checks import check_classes, check_pictures, without_faulty
from sleuth.data.classes.digits import DIGITS, DigitPictures
from sleuth.data.classes.open import ClassPictures, open_classes
from sleuth.data.classes.samples import ClassSource, FirstPictures
from sleuth.data.classes.stream import ClassStream
from sleuth.errors import UserError
from sleuth.models.vit import VisionTransformer, VitConfig, build_vit
from sleuth.tasks.classification import ClassificationLoss
from sleuth.training.adapters import merged
from sleuth.training.classification_recipe import ClassificationRecipe, classification_recipe
from sleuth.training.trained_parts import choose_trained
from sleuth.training.work import Autocast, BatchLoss
from sleuth.types.batches import ClassBatch
from sleuth.types.predictions import ClassPrediction
from sleuth.weights.classifier import LoadedClassifier, save_classifier
from sleuth.weights.classifiers import open_classifier

_HEADS = ("head", "distill_head")


class ClassificationWork:
    """A classifier to train; see `Work`.

    Args:
        recipe: the run.
        source: pictures to train on; by default those that the recipe names.
    """

    counted = "pictures"

    def __init__(self, recipe: ClassificationRecipe, source: ClassSource | None = None) -> None:
        self.recipe = recipe
        self.notes: list[str] = []
        if source is None:
            source, self.notes = checked_source(recipe, recipe.data.train)
        check_classes(source.names, recipe.data.path)
        self.source = source
        self.criterion = ClassificationLoss(recipe.loss)

    @property
    def config(self) -> VitConfig:
        """The recipe's numbers with that of the classes."""
        return replace(self.recipe.model.config, num_classes=len(self.source.names))

    def examine(self) -> list[str]:
        """What the checks of the pictures found."""
        return self.notes or [f"{len(self.source):,} pictures, {len(self.source.names)} classes"]

    def reread(self, tables: Mapping[str, Any], where: object) -> ClassificationRecipe:
        """A classification recipe from its tables."""
        return classification_recipe(tables, where=where)

    def settled(self, device: torch.device, autocast: Autocast, processes: int) -> "ClassificationWork":
        """The same: the recipe says how many pictures a pass takes."""
        return self

    def with_batch_size(self, size: int) -> "ClassificationWork":
        """The same with so many pictures in a pass."""
        recipe = replace(self.recipe, optimizer=replace(self.recipe.optimizer, batch_size=size))
        return ClassificationWork(recipe, self.source)

    def assemble(self, *, resume: bool) -> tuple[nn.Module, tuple[str, ...]]:
        """A model for the classes of the data."""
        settings = self.recipe.model
        model = build_vit(self.config)
        remarks = [f"{sum(p.numel() for p in model.parameters()):,} parameters"]
        if settings.weights and not resume:
            start = open_classifier(settings.weights)
            kept = take_weights(
                model, start, self.source.names, keep_classes=settings.keep_classes, where=settings.weights
            )
            fresh = len(self.source.names) - kept
            remarks.append(f"starts from {settings.weights}: {kept} classes kept, {fresh} fresh")
        remarks += choose_trained(model, settings.freeze, self.recipe.lora)
        return model, tuple(remarks)

    def stream(self, *, rank: int, world_size: int) -> ClassStream:
        """Augmented pictures."""
        recipe, source = self.recipe, self.source
        if recipe.data.cache == "auto":
            source = cached_classes(source, processes=recipe.run.devices * max(1, recipe.run.workers))
        return ClassStream(
            source,
            recipe.augmentation,
            size_hw=recipe.size_hw,
            preprocess=recipe.preprocess,
            batch_size=recipe.optimizer.batch_size,
            seed=recipe.run.seed,
            workers=recipe.run.workers,
            rank=rank,
            world_size=world_size,
        )

    def placed(self, batch: ClassBatch, device: torch.device) -> ClassBatch:
        """The batch on the device."""
        return batch.to(device)

    def amount(self, batch: ClassBatch) -> int:
        """Pictures."""
        return len(batch)

    def counts(self, batches: Sequence[ClassBatch]) -> Float[Tensor, " counts"]:
        """Pictures that the loss is divided by."""
        return torch.stack([self.criterion.counts(batch) for batch in batches]).mean(0)

    def loss(
        self, network: nn.Module, batch: ClassBatch, counts: Float[Tensor, " counts"], autocast: Autocast
    ) -> BatchLoss:
        """The loss of what the pictures show."""
        with autocast():
            prediction = network(batch.images)
        return BatchLoss(self.criterion(prediction, batch, counts), partial(_finite_or_not, prediction, batch))

    def save_model(self, path: Path, model: nn.Module, **notes: object) -> None:
        """Write the model with its classes; adapters are merged."""
        whole = merged(model)
        assert isinstance(whole, VisionTransformer)
        started: dict[str, Any] = {"started_from": self.recipe.model.weights} if self.recipe.model.weights else {}
        loaded = LoadedClassifier(whole, self.config, tuple(self.source.names), self.recipe.preprocess)
        save_classifier(path, loaded, notes=started | notes)


def open_class_source(
    path: str, split: str | None, *, names: tuple[str, ...] | None = None, limit: int = 0, skip_faulty: bool = False
) -> ClassSource:
    """The pictures of a split, by a path or the name of built-in data.

    Args:
        path: a folder, zip, CSV file, or ``digits``.
        split: its name; None where there is only one.
        names: give them the classes of this model, in its order.
        limit: only the first so many; 0 takes all.
        skip_faulty: leave out what cannot be read.

    Raises:
        UserError: there are none, or of other classes.
    """
    source: ClassSource
    if path == DIGITS:
        source = DigitPictures(split or "val")
        if names is not None and names != source.names:
            what = f"the model's classes are {', '.join(names[:10])}, not the ten digits"
            raise UserError(what, where=path, mend="name data of its own classes")
    else:
        pictures = open_classes(Path(path), split or None)
        if skip_faulty:
            pictures = without_faulty(pictures, check_pictures(pictures))
        source = pictures if names is None else pictures.with_names(names)
    return FirstPictures(source, limit) if limit else source


def checked_source(
    recipe: ClassificationRecipe, split: str, *, names: tuple[str, ...] | None = None
) -> tuple[ClassSource, list[str]]:
    """The pictures of a split of a recipe, checked by their headers; and what is worth saying, in lines.

    Raises:
        UserError: a picture that cannot be read, classes that the model does not know, or nothing to tell apart.
    """
    data = recipe.data
    limit = {data.train: data.train_limit, data.val: data.val_limit}.get(split, 0)
    if data.path == DIGITS:
        return open_class_source(data.path, split, names=names, limit=limit), []
    pictures = open_classes(Path(data.path), split)
    report = check_pictures(pictures)
    notes = report.notes()
    if data.skip_faulty and report.unreadable:
        pictures = without_faulty(pictures, report)
        notes.append(f"left out: {len(report.unreadable)} pictures that cannot be read")
    else:
        report.raise_if_fatal(data.path)
    source: ClassPictures = pictures if names is None else pictures.with_names(names)
    return (FirstPictures(source, limit) if limit else source), notes


def take_weights(
    model: VisionTransformer, start: LoadedClassifier, names: Sequence[str], *, keep_classes: bool, where: object
) -> int:
    """Copy the weights of a model to start from; of its heads, the rows of classes that it knows by name.

    Returns:
        How many classes keep what the start knows of them.

    Raises:
        UserError: the start is of other sizes.
    """
    ours, theirs = model.state_dict(), start.model.state_dict()
    places = {name: place for place, name in enumerate(start.names)} if keep_classes else {}
    kept = [(row, places[name]) for row, name in enumerate(names) if name in places]
    for name in sorted(ours.keys() | theirs.keys()):
        if name.split(".")[0] in _HEADS:
            if name in ours and name in theirs and theirs[name].shape[1:] == ours[name].shape[1:]:
                for row, place in kept:
                    ours[name][row] = theirs[name][place]
            continue
        shapes = [list(state[name].shape) if name in state else "absent" for state in (theirs, ours)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"weights of another model: {name} is {shapes[0]} there, {shapes[1]} in the recipe",
                where=where,
                mend="leave the sizes of that model out of [model], or name other weights",
            )
        ours[name] = theirs[name]
    model.load_state_dict(ours)
    return len(kept)


@torch.no_grad()
def _finite_or_not(prediction: ClassPrediction, batch: ClassBatch) -> list[tuple[str, bool]]:
    """Each picture's name, and whether what was predicted for it is finite."""
    fine = prediction.logits.isfinite().all(-1).tolist()
    return list(zip(batch.names, fine, strict=True))
