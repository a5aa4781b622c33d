"""From a recipe to its model, with fresh or given weights, and the card that the model carries."""

from dataclasses import dataclass, replace

from sleuth.backbones.vit_features import VitFeatures
from sleuth.data.samples import SampleSource
from sleuth.errors import UserError
from sleuth.models.detector import Detector, DetectorConfig
from sleuth.models.families import build_detector
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.training.recipe import Recipe
from sleuth.training.rows import rows_of
from sleuth.training.start import take_backbone, take_weights
from sleuth.training.start_vit import is_detector_file, take_vit
from sleuth.training.trained_parts import choose_trained
from sleuth.weights.checkpoint import ModelCard, detector_card
from sleuth.weights.classifiers import open_classifier
from sleuth.weights.resolve import open_model


@dataclass(frozen=True)
class Assembled:
    """A model that is ready to be trained.

    Args:
        model: the model, its frozen parts frozen.
        remarks: what was taken from other models, in a line each.
    """

    model: Detector
    remarks: tuple[str, ...]


def build_model(recipe: Recipe, names: tuple[str, ...]) -> Detector:
    """The model of :func:`assemble`."""
    return assemble(recipe, names).model


def assemble(recipe: Recipe, names: tuple[str, ...], *, resume: bool = False) -> Assembled:
    """The recipe's model for these classes, with fresh weights or those that the recipe starts from.

    Args:
        recipe: what to build and to start from.
        names: the classes.
        resume: the weights will be a saved state's: the model to start from is not asked for.

    Raises:
        UserError: sizes that do not fit each other, weights of another model, an unknown part to freeze.
    """
    settings, remarks = recipe.model, []
    config = replace(settings.config, num_classes=len(names))
    try:
        model = build_detector(config)
    except ValueError as error:
        raise UserError(f"[model] {error}", mend="change the sizes in the recipe") from None
    if settings.weights and not resume:
        start = open_model(settings.weights)
        taken = take_weights(model, config, start, names, keep_classes=settings.keep_classes, where=settings.weights)
        remarks += [f"starts from {settings.weights}: {taken.line()}", _plan(recipe)]
    if settings.backbone_weights and not resume:
        _take_backbone(model, config, settings.backbone_weights)
        remarks.append(f"backbone of {settings.backbone_weights}")
    if settings.freeze_stem:
        _freeze_stem(model)
    remarks += choose_trained(model, settings.freeze, recipe.lora, also=rows_of(config).modules)
    return Assembled(model, tuple(remarks))


def model_card(recipe: Recipe, source: SampleSource, **notes: object) -> ModelCard:
    """What a saved model has to know about itself."""
    start = {"started_from": recipe.model.weights} if recipe.model.weights else {}
    return detector_card(
        replace(recipe.model.config, num_classes=len(source.names)),
        names=tuple(source.names),
        category_ids=tuple(source.category_ids),
        preprocess=recipe.preprocess,
        notes=start | dict(notes),
        is_thing=tuple(source.is_thing),
        panoptic=recipe.panoptic,
        loss=recipe.loss,
    )


def _take_backbone(model: Detector, config: DetectorConfig, name: str) -> None:
    """The backbone of another detector, or a vision Transformer out of a classifier."""
    if isinstance(model.backbone, VitFeatures) and not is_detector_file(name):
        known, start = VIT_VARIANTS[str(vars(config)["backbone"])], open_classifier(name)
        take_vit(model.backbone.body, known, start.model.backbone, start.config, where=name)
    else:
        take_backbone(model, open_model(name), where=name)


def _freeze_stem(model: Detector) -> None:
    freeze_stem = getattr(model.backbone, "freeze_stem", None)
    if freeze_stem is None:
        what = f"a {type(model.backbone).__name__} has no stem that can be frozen"
        raise UserError(what, where="model.freeze_stem", mend="leave it out, or freeze the backbone as a whole")
    freeze_stem()


def _plan(recipe: Recipe) -> str:
    """What a fine-tuning will do, in a line."""
    settings, optimizer = recipe.preprocess, recipe.optimizer
    units = {"steps": recipe.run.steps, "epochs": recipe.run.epochs, "minutes": recipe.run.minutes}
    length = next(f"{length:g} {unit}" for unit, length in units.items() if length)
    sides = f"{settings.shortest} to {settings.longest}"
    if settings.resize != "shortest":
        sides = "as they are" if settings.size_hw is None else f"{settings.resize} {settings.size_hw}"
    backbone = optimizer.rate / 10 if optimizer.backbone_rate is None else optimizer.backbone_rate
    return (
        f"fine-tunes {recipe.model.weights} for {length} of {optimizer.batch_size} pictures, sides {sides} pixels, "
        f"rate {optimizer.rate:g}, backbone {backbone:g}"
    )
