"""From a recipe to the things that it names: data, model, criterion, and the card that the model carries."""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from sleuth.data.open import open_data
from sleuth.data.samples import Sample, SampleSource
from sleuth.data.scenes import SceneSource
from sleuth.data.source import PictureSource
from sleuth.errors import UserError
from sleuth.models.detr import Detr, build_detr
from sleuth.training.recipe import Recipe
from sleuth.weights.checkpoint import ModelCard, detr_card, read_tensors

BUILT_IN_DATA = "scenes"


@dataclass(frozen=True)
class FirstOf:
    """The first ``count`` samples of a source."""

    source: SampleSource
    count: int

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.source.names

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The category id that each label has in the data set's own format."""
        return self.source.category_ids

    def __len__(self) -> int:
        return min(self.count, len(self.source))

    def load(self, index: int) -> Sample:
        """The sample at ``index``."""
        return self.source.load(index)


def open_source(recipe: Recipe, split: str) -> SampleSource:
    """The pictures of a split: ``train``, ``val``, or any other that the data has.

    Raises:
        UserError: there are none.
    """
    settings = recipe.data
    limit = {settings.train: settings.train_limit, settings.val: settings.val_limit}.get(split, 0)
    if settings.path == BUILT_IN_DATA:
        return SceneSource(split=split, count=limit or None, config=recipe.scenes)  # type: ignore[arg-type]
    source = PictureSource(open_data(Path(settings.path), format=settings.format or None, split=split or None))
    return FirstOf(source, limit) if limit else source


def build_model(recipe: Recipe, names: tuple[str, ...]) -> Detr:
    """The recipe's model for these classes, with fresh weights or those that the recipe starts from.

    Raises:
        UserError: sizes that do not fit each other, or weights of another model.
    """
    settings = recipe.model
    try:
        model = build_detr(replace(settings.config, num_classes=len(names)))
    except ValueError as error:
        raise UserError(f"[model] {error}", mend="change the sizes in the recipe") from None
    if settings.weights:
        start_from(model, Path(settings.weights))
    if settings.backbone_weights:
        start_from(model.backbone, Path(settings.backbone_weights), prefix="backbone.")
    if settings.freeze_stem:
        model.backbone.freeze_stem()
    return model


def start_from(model: nn.Module, path: Path, *, prefix: str = "") -> list[str]:
    """Copy weights into a model; only the class head may be of another size, for other classes: it stays fresh.

    Args:
        model: the model, or a part of it.
        path: a safetensors file.
        prefix: take only the names that begin so; the others are of no concern.

    Returns:
        Names of the tensors that stayed fresh.

    Raises:
        UserError: the file is missing, damaged, or of another model.
    """
    tensors, _ = read_tensors(path)
    found = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    wanted = model.state_dict()
    fresh = []
    for name, tensor in wanted.items():
        shape = tuple(found[name].shape) if name in found else None
        if shape == tuple(tensor.shape):
            continue
        if not (name.startswith("class_head.") and shape is not None):
            given = "absent" if shape is None else str(list(shape))
            raise UserError(
                f"weights of another model: {name} is {given} in the file, {list(tensor.shape)} in the recipe",
                where=path,
                mend="give [model] the sizes of that file, or other weights",
            )
        fresh.append(name)
    unknown = [name for name in found if name not in wanted]
    if unknown:
        raise UserError(
            f"weights of another model: the recipe's has no {unknown[0]}",
            where=path,
            mend="change [model] or the weights",
        )
    model.load_state_dict({name: wanted[name] if name in fresh else found[name] for name in wanted})
    return fresh


def model_card(recipe: Recipe, source: SampleSource, **notes: object) -> ModelCard:
    """What a saved model has to know about itself."""
    return detr_card(
        replace(recipe.model.config, num_classes=len(source.names)),
        names=tuple(source.names),
        category_ids=tuple(source.category_ids),
        preprocess=recipe.preprocess,
        notes=dict(notes),
    )
