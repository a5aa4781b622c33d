"""From a recipe to its model, with fresh or given weights, and the card that the model carries."""

from dataclasses import replace
from pathlib import Path

from torch import nn

from sleuth.data.samples import SampleSource
from sleuth.errors import UserError
from sleuth.models.detr import Detr, build_detr
from sleuth.training.recipe import Recipe
from sleuth.weights.checkpoint import ModelCard, detr_card, read_tensors


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
        is_thing=tuple(source.is_thing),
    )
