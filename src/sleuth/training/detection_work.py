"""Detectors as work for the training function: pictures in, set losses out."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sleuth.data.cache import cached
from sleuth.data.samples import SampleSource
from sleuth.data.stream import Batch, TrainingStream
from sleuth.tasks.detection import Preprocess, build_criterion
from sleuth.training.adapter_files import save_adapters
from sleuth.training.adapters import merged
from sleuth.training.assemble import assemble, model_card
from sleuth.training.batch_size import choose_batch_size
from sleuth.training.query_count import crowding_notes
from sleuth.training.recipe import Recipe, recipe_from_tables
from sleuth.training.sources import check_source, training_source
from sleuth.training.work import Autocast, BatchLoss
from sleuth.types.batches import Target
from sleuth.types.predictions import MaskReader, SetPrediction
from sleuth.weights.checkpoint import save_model

Colour = tuple[float, float, float]


class DetectionWork:
    """A detector to train; see `Work`.

    Args:
        recipe: the run.
        source: pictures to train on; by default those that the recipe names.
    """

    counted = "pictures"

    def __init__(self, recipe: Recipe, source: SampleSource | None = None) -> None:
        self.recipe, self.source = recipe, training_source(recipe) if source is None else source
        self.criterion = build_criterion(recipe.loss)

    def examine(self) -> list[str]:
        """Check the pictures by their headers, and whether the model has queries for what training makes of them."""
        _, notes = check_source(self.recipe, self.source)
        return notes + crowding_notes(self.recipe, self.source)

    def reread(self, tables: Mapping[str, Any], where: object) -> Recipe:
        """A detector's recipe from its tables."""
        return recipe_from_tables(tables, where=where)

    def settled(self, device: torch.device, autocast: Autocast, processes: int) -> "DetectionWork":
        """As many pictures in a pass as memory and data allow, where the recipe leaves it open."""
        if self.recipe.optimizer.batch_size:
            return self
        model = assemble(self.recipe, self.source.names).model.to(device)
        processes *= self.recipe.optimizer.accumulate
        return self.with_batch_size(
            choose_batch_size(model, self.source, self.recipe.augmentation, autocast=autocast, processes=processes)
        )

    def with_batch_size(self, size: int) -> "DetectionWork":
        """The same with so many pictures in a pass."""
        optimizer = replace(self.recipe.optimizer, batch_size=size)
        return DetectionWork(replace(self.recipe, optimizer=optimizer), self.source)

    def assemble(self, *, resume: bool) -> tuple[nn.Module, tuple[str, ...]]:
        """The detector for the classes of the data."""
        assembled = assemble(self.recipe, self.source.names, resume=resume)
        if self.recipe.run.channels_last:
            assembled.model.to(memory_format=torch.channels_last)
        return assembled.model, assembled.remarks

    def stream(self, *, rank: int, world_size: int) -> TrainingStream:
        """Augmented pictures."""
        recipe, (mean, std) = self.recipe, _colours(self.recipe.preprocess)
        return TrainingStream(
            _kept(self.source, recipe),
            recipe.augmentation,
            batch_size=recipe.optimizer.batch_size,
            seed=recipe.run.seed,
            workers=recipe.run.workers,
            rank=rank,
            world_size=world_size,
            mean=mean,
            std=std,
            closing=recipe.augmentation.closed(),
        )

    def placed(self, batch: Any, device: torch.device) -> Batch:
        """Pictures on the device; boxes stay where they are. Worker processes make lists of tuples."""
        images, targets = batch
        images = images.to(device)
        layout = torch.channels_last if self.recipe.run.channels_last else torch.preserve_format
        return replace(images, pixels=images.pixels.contiguous(memory_format=layout)), targets

    def amount(self, batch: Batch) -> int:
        """Pictures."""
        return len(batch[1])

    def counts(self, batches: Sequence[Batch]) -> Float[Tensor, " counts"]:
        """Objects that losses are divided by.

        With their mean, several processes or accumulated batches have the loss and gradient of one large batch.
        """
        queries = self.recipe.model.config.num_queries
        return torch.stack([self.criterion.counts(targets, queries) for _, targets in batches]).mean(0)

    def loss(self, network: nn.Module, batch: Batch, counts: Float[Tensor, " counts"], autocast: Autocast) -> BatchLoss:
        """The set loss of a batch."""
        images, targets = batch
        with autocast():
            prediction = network(images, targets)
        report = self.criterion(as_float32(prediction, autocast), targets, counts)
        return BatchLoss(report, partial(_finite_or_not, prediction, targets))

    def save_model(self, path: Path, model: nn.Module, **notes: object) -> None:
        """Write the detector; adapters are merged, and saved apart as well."""
        card = model_card(self.recipe, self.source, **notes)
        save_model(path, merged(model), card)
        if self.recipe.lora is not None:
            folder = path.with_name(f"{path.stem}-adapter")
            save_adapters(folder, model, self.recipe.lora, card, base=self.recipe.model.weights)


def _kept(source: SampleSource, recipe: Recipe) -> SampleSource:
    """The source as training reads it: with a cache where the recipe asks for one."""
    if recipe.data.cache == "off":
        return source
    processes = recipe.run.devices * max(1, recipe.run.workers)
    return cached(source, longest=recipe.augmentation.longest_needed(), processes=processes)


def _colours(preprocess: Preprocess) -> tuple[Colour, Colour]:
    """Mean and deviation, on the scale 0 to 1, that bring pixels to where the model has them at evaluation."""
    scale = preprocess.rescale * 255
    if not preprocess.normalise:
        return (0.0, 0.0, 0.0), (1 / scale, 1 / scale, 1 / scale)
    red, green, blue = ((mean / scale, std / scale) for mean, std in zip(preprocess.mean, preprocess.std, strict=True))
    return (red[0], green[0], blue[0]), (red[1], green[1], blue[1])


@torch.no_grad()
def _finite_or_not(prediction: SetPrediction, targets: Sequence[Target]) -> list[tuple[str, bool]]:
    """Each picture's name, and whether its own predictions and boxes are finite."""
    logits, boxes = prediction.logits, prediction.boxes_cxcywh
    finite = (logits.isfinite().all(-1) & boxes.isfinite().all(-1)).all(-1).all(0)
    return [
        (target.name, fine and bool(target.boxes_cxcywh.isfinite().all()))
        for target, fine in zip(targets, finite.tolist(), strict=True)
    ]


def as_float32(prediction: SetPrediction, autocast: Autocast) -> SetPrediction:
    """Losses are computed in float32 whatever the precision of the model; masks are read in the model's."""
    if prediction.masks is not None:
        prediction = replace(prediction, masks=partial(_read_masks, prediction.masks, autocast))
    return replace(prediction, **{name: _widened(getattr(prediction, name)) for name in _LOSSES_READ})


_LOSSES_READ = (
    *("logits", "boxes_cxcywh", "memory_logits", "memory_boxes_cxcywh"),
    *("proposals", "denoising", "corners", "points"),
)
"""What of a prediction losses read in float32."""


def _widened(value: Any) -> Any:
    """A tensor, or all tensors of a dataclass and of those within it, in float32 if they are of less."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _widened(getattr(value, field.name)) for field in fields(value)})
    return value


def _read_masks(read: MaskReader, autocast: Autocast, picture: Tensor, query: Tensor) -> Tensor:
    with autocast():
        return read(picture, query).float()
