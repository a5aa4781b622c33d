"""The recipe of a classifier: one TOML file says everything about one run."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sleuth.data.classes.augmentation import ClassAugmentation
from sleuth.data.classes.digits import DIGITS
from sleuth.errors import UserError
from sleuth.models.vit import VitConfig
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.tasks.classification import ClassificationLossConfig, classifier_preprocess, input_size
from sleuth.tasks.preprocess import Preprocess
from sleuth.training.adapters import LoraSettings, check_start
from sleuth.training.optimizer import OptimizerSettings
from sleuth.training.recipe_sections import RecipeSections, own_keys, section_tables, take_own
from sleuth.training.run_settings import RunSettings
from sleuth.training.schedule import ScheduleSettings
from sleuth.training.sections import Table, check_keys, fill, plain, toml_text
from sleuth.training.usual import usual_of_vit
from sleuth.weights.classifiers import open_classifier

FAMILY = "vit"

_FROM_DATA = "num_classes"


@dataclass(frozen=True)
class ClassifierSettings:
    """The ``[model]`` of a classification recipe: a size by name, or a model to start from, and changes to its numbers.

    Args:
        name: a size, such as ``vit-s16``.
        family: what kind of model; it follows from the name, and a resolved recipe says it.
        weights: the model to start from; empty starts from fresh weights.
        keep_classes: classes that the model to start from knows by name keep what it knows of them.
        freeze: parts that are not trained: ``backbone`` leaves the head alone to learn.
        config: the numbers; that of the classes comes from the data.
    """

    name: str = "vit-cifar"
    family: str = FAMILY
    weights: str = ""
    keep_classes: bool = True
    freeze: tuple[str, ...] = ()
    config: VitConfig = field(default_factory=VitConfig)


@dataclass(frozen=True)
class ClassDataSettings:
    """The ``[data]`` of a classification recipe.

    Args:
        path: a folder, zip or CSV file of pictures of classes, or ``digits`` for the built-in ones.
        train: the split to train on.
        val: the split that scores are measured on; empty measures none.
        train_limit: train on the first so many pictures only; 0 takes all.
        val_limit: measure on the first so many pictures only; 0 takes all.
        skip_faulty: leave out pictures that cannot be read rather than stop at them.
        cache: ``auto`` keeps decoded pictures in memory, as far as a quarter of what is free goes; ``off`` decodes them
            each time.
    """

    path: str = DIGITS
    train: str = "train"
    val: str = "val"
    train_limit: int = 0
    val_limit: int = 0
    skip_faulty: bool = False
    cache: Literal["auto", "off"] = "auto"

    def __post_init__(self) -> None:
        if min(self.train_limit, self.val_limit) < 0:
            raise ValueError("limits must not be negative")


@dataclass(frozen=True)
class ClassificationRecipe:
    """One run as values: each attribute is a section of the file; without ``[lora]`` there are no adapters."""

    model: ClassifierSettings
    data: ClassDataSettings
    preprocess: Preprocess
    augmentation: ClassAugmentation
    loss: ClassificationLossConfig
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    run: RunSettings
    lora: LoraSettings | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the pictures that the model learns from."""
        return input_size(self.preprocess) or self.model.config.image_hw

    def tables(self) -> dict[str, Table]:
        """The resolved recipe as plain tables, every key written out."""
        tables = section_tables(self)
        config = tables["model"].pop("config")
        del config[_FROM_DATA]
        config["image_hw"] = list(config["image_hw"])
        return tables | {"model": tables["model"] | {key: v for key, v in config.items() if v is not None}}

    def text(self) -> str:
        """The resolved recipe as TOML; reading it gives the same recipe."""
        return toml_text(self.tables())


def classification_recipe(tables: Mapping[str, Any], *, where: object) -> ClassificationRecipe:
    """A recipe from its tables, each checked against the settings that it fills.

    Raises:
        UserError: an unknown key or section, named with the nearest, or a wrong value.
    """
    usual = usual_of_vit(batch_size=128, score="top-1")
    given = RecipeSections(tables, ClassificationRecipe, where=where, usual=usual)
    model, preprocess = _model(given.table("model"), where)
    # The whole model learns at one rate, unless somebody says otherwise.
    rate = given.table("optimizer")["rate"]
    recipe = ClassificationRecipe(
        model=model,
        data=given.fill(ClassDataSettings, "data"),
        preprocess=given.fill(Preprocess, "preprocess", plain(preprocess)),
        augmentation=given.fill(ClassAugmentation, "augmentation"),
        loss=given.fill(ClassificationLossConfig, "loss"),
        optimizer=given.fill(OptimizerSettings, "optimizer", {"backbone_rate": rate}),
        schedule=given.fill(ScheduleSettings, "schedule"),
        run=given.fill(RunSettings, "run"),
        lora=given.fill(LoraSettings, "lora") if "lora" in given else None,
    )
    _check(recipe, where)
    return recipe


def _check(recipe: ClassificationRecipe, where: object) -> None:
    """Refuse settings that do not go together."""
    if not recipe.optimizer.batch_size:
        what = "optimizer.batch_size = 0: a classifier's is not chosen for it"
        raise UserError(what, where=where, mend="set it, such as 128")
    check_start(recipe.lora, recipe.model.weights, where)
    if min(recipe.size_hw) < recipe.model.config.patch_size:
        what = "pictures of {}x{} are smaller than a patch of".format(*recipe.size_hw)
        what = f"{what} {recipe.model.config.patch_size}"
        raise UserError(what, where=where, mend="make model.image_hw larger, or model.patch_size smaller")


def _model(table: Table, where: object) -> tuple[ClassifierSettings, Preprocess]:
    """The settings of a model, and how it sees pictures of its own accord."""
    own = take_own(table, ClassifierSettings)
    settings = fill(ClassifierSettings, own, section="model", where=where)
    if _FROM_DATA in table:
        what = f"model.{_FROM_DATA} is not set in a recipe"
        raise UserError(what, where=where, mend="it comes from the data: remove it")
    start = None
    if settings.weights and "name" not in own:
        start = open_classifier(settings.weights)
        base = start.config
        settings = dataclasses.replace(settings, name="")
    elif settings.name:
        check_keys([settings.name], VIT_VARIANTS, what="model", where=where)
        base = VIT_VARIANTS[settings.name]
    else:  # a resolved recipe, whose run can be resumed without the model that it started from
        base = VitConfig()
    valid = [each.name for each in dataclasses.fields(VitConfig) if each.name != _FROM_DATA]
    check_keys(table, [*valid, *own_keys(ClassifierSettings)], what="key in [model]", where=where)
    config = fill(VitConfig, dataclasses.asdict(base) | {"num_classes": 2} | table, section="model", where=where)
    seen = start.preprocess if start is not None else classifier_preprocess(config.image_hw)
    return dataclasses.replace(settings, config=config), seen
