"""The recipe of a model of pixel classes: one TOML file says everything about one run."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sleuth.data.semantic.augmentation import SemanticAugmentation
from sleuth.data.semantic.scenes import SCENES
from sleuth.errors import UserError
from sleuth.models.segmenter import SegmenterConfig, as_backbone
from sleuth.models.segmenter_variants import SEGMENTER_VARIANTS
from sleuth.models.vit import VitConfig
from sleuth.tasks.preprocess import Preprocess
from sleuth.tasks.semantic import SemanticLossConfig, semantic_preprocess
from sleuth.training.adapters import LoraSettings, check_start
from sleuth.training.optimizer import OptimizerSettings
from sleuth.training.recipe_sections import RecipeSections, own_keys, section_tables, take_own
from sleuth.training.run_settings import RunSettings
from sleuth.training.schedule import ScheduleSettings
from sleuth.training.sections import Table, check_keys, fill, plain, toml_text
from sleuth.training.usual import usual_of_vit
from sleuth.weights.classifiers import open_classifier
from sleuth.weights.segmenter import is_segmenter, open_segmenter

FAMILY = "segmenter"

_NOT_OF_A_RECIPE = ("num_classes", "pool", "norm_after_pool", "pooler", "distillation")
"""Numbers of a classifier that follow from the data, or are of no use here."""


@dataclass(frozen=True)
class SegmenterSettings:
    """The ``[model]`` of a recipe for semantic segmentation: a size by name, or a model to start from, and changes.

    Args:
        name: a size, such as ``segmenter-s16``.
        family: what kind of model; it follows from the name, and a resolved recipe says it.
        weights: the model to start from: a Segmenter, or a classifier whose backbone is taken; empty starts afresh.
        keep_classes: classes that the Segmenter to start from knows by name keep what it knows of them.
        freeze: parts that are not trained: ``backbone`` leaves the head alone to learn.
        config: the numbers; that of the classes comes from the data.
    """

    name: str = "segmenter-street"
    family: str = FAMILY
    weights: str = ""
    keep_classes: bool = True
    freeze: tuple[str, ...] = ()
    config: SegmenterConfig = field(default_factory=lambda: SEGMENTER_VARIANTS["segmenter-street"])


@dataclass(frozen=True)
class SemanticDataSettings:
    """The ``[data]`` of a recipe for semantic segmentation.

    Args:
        path: a folder or zip of pictures with masks, or ``scenes`` for the built-in ones.
        train: the split to train on.
        val: the split that scores are measured on; empty measures none.
        ignore: values of masks that mean that nobody has said what is there; 255 always does.
        train_limit: train on the first so many pictures only; 0 takes all.
        val_limit: measure on the first so many pictures only; 0 takes all.
        skip_faulty: leave out pictures that the checks find fault with rather than stop at them.
        cache: ``auto`` keeps decoded pictures in memory, as far as a quarter of what is free goes; ``off`` decodes them
            each time.
    """

    path: str = SCENES
    train: str = "train"
    val: str = "val"
    ignore: tuple[int, ...] = ()
    train_limit: int = 0
    val_limit: int = 0
    skip_faulty: bool = False
    cache: Literal["auto", "off"] = "auto"

    def __post_init__(self) -> None:
        if min(self.train_limit, self.val_limit) < 0:
            raise ValueError("limits must not be negative")
        if any(not 0 <= value <= 65535 for value in self.ignore):
            raise ValueError(f"ignore = {list(self.ignore)} holds what is no value of a mask, 0 to 65535")


@dataclass(frozen=True)
class SemanticRecipe:
    """One run as values: each attribute is a section of the file; without ``[lora]`` there are no adapters."""

    model: SegmenterSettings
    data: SemanticDataSettings
    preprocess: Preprocess
    augmentation: SemanticAugmentation
    loss: SemanticLossConfig
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    run: RunSettings
    lora: LoraSettings | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the parts of pictures that the model learns from."""
        return self.augmentation.crop_hw or self.model.config.vit.image_hw

    def tables(self) -> dict[str, Table]:
        """The resolved recipe as plain tables, every key written out."""
        tables = section_tables(self)
        config = tables["model"].pop("config")
        numbers = {key: value for key, value in config.pop("vit").items() if key not in _NOT_OF_A_RECIPE} | config
        del numbers["num_classes"]
        numbers["image_hw"] = list(numbers["image_hw"])
        tables["model"] |= {key: value for key, value in numbers.items() if value is not None}
        return {name: {k: v for k, v in table.items() if v is not None} for name, table in tables.items()}

    def text(self) -> str:
        """The resolved recipe as TOML; reading it gives the same recipe."""
        return toml_text(self.tables())


def semantic_recipe(tables: Mapping[str, Any], *, where: object) -> SemanticRecipe:
    """A recipe from its tables, each checked against the settings that it fills.

    Raises:
        UserError: an unknown key or section, named with the nearest, or a wrong value.
    """
    given = RecipeSections(tables, SemanticRecipe, where=where, usual=usual_of_vit(batch_size=8, score="mIoU"))
    model, preprocess = _model(given.table("model"), where)
    # Weights that know something already learn at a tenth; adapters beside them know nothing.
    rate = given.table("optimizer")["rate"] / (10 if model.weights and "lora" not in given else 1)
    augmentation = given.fill(SemanticAugmentation, "augmentation")
    if not is_segmenter(model.weights) or model.name:
        # A classifier knows the colours of pictures, but not how large they are to be seen here.
        usual = semantic_preprocess(augmentation.crop_hw or model.config.vit.image_hw)
        preprocess = dataclasses.replace(preprocess, shortest=usual.shortest, longest=usual.longest)
    recipe = SemanticRecipe(
        model=model,
        data=given.fill(SemanticDataSettings, "data"),
        preprocess=given.fill(Preprocess, "preprocess", plain(preprocess)),
        augmentation=augmentation,
        loss=given.fill(SemanticLossConfig, "loss"),
        optimizer=given.fill(OptimizerSettings, "optimizer", {"backbone_rate": rate}),
        schedule=given.fill(ScheduleSettings, "schedule"),
        run=given.fill(RunSettings, "run"),
        lora=given.fill(LoraSettings, "lora") if "lora" in given else None,
    )
    _check(recipe, where)
    return recipe


def _check(recipe: SemanticRecipe, where: object) -> None:
    """Refuse settings that do not go together."""
    patch = recipe.model.config.vit.patch_size
    if not recipe.optimizer.batch_size:
        what = "optimizer.batch_size = 0: here, it is not chosen for you"
        raise UserError(what, where=where, mend="set it, such as 8")
    check_start(recipe.lora, recipe.model.weights, where)
    if min(recipe.size_hw) < patch:
        what = f"parts of {recipe.size_hw[0]}x{recipe.size_hw[1]} pixels are smaller than a patch of {patch}"
        raise UserError(what, where=where, mend="make augmentation.crop_hw larger, or model.patch_size smaller")
    if recipe.preprocess.crop_hw is not None:
        what = "preprocess.crop_hw cuts off parts of pictures, and every pixel is to have a class"
        raise UserError(what, where=where, mend="leave it out")


_OF_HEAD = tuple(each.name for each in dataclasses.fields(SegmenterConfig) if each.name not in ("vit", "num_classes"))
_OF_VIT = tuple(each.name for each in dataclasses.fields(VitConfig) if each.name not in _NOT_OF_A_RECIPE)


def _model(table: Table, where: object) -> tuple[SegmenterSettings, Preprocess]:
    """The settings of a model, and how it sees pictures of its own accord; of a classifier, the colours alone."""
    own = take_own(table, SegmenterSettings)
    settings = fill(SegmenterSettings, own, section="model", where=where)
    if settings.family != FAMILY:
        raise UserError(f"model.family = {settings.family!r} is not {FAMILY!r}", where=where, mend="leave it out")
    check_keys(table, [*own_keys(SegmenterSettings), *_OF_HEAD, *_OF_VIT], what="key in [model]", where=where)
    seen = Preprocess()
    if settings.weights and "name" not in own:
        settings = dataclasses.replace(settings, name="")
        if is_segmenter(settings.weights):
            start = open_segmenter(settings.weights)
            base, seen = start.config, start.preprocess
        else:
            classifier = open_classifier(settings.weights)
            base = SegmenterConfig(as_backbone(classifier.config))
            kept = classifier.preprocess
            seen = Preprocess(mean=kept.mean, std=kept.std, rescale=kept.rescale, normalise=kept.normalise)
    elif settings.name:
        check_keys([settings.name], SEGMENTER_VARIANTS, what="model", where=where)
        base = SEGMENTER_VARIANTS[settings.name]
    else:  # a resolved recipe, whose run can be resumed without the model that it started from
        base = SEGMENTER_VARIANTS["segmenter-b16"]
    vit_table = {key: table[key] for key in _OF_VIT if key in table}
    if "class_token" in vit_table or "registers" in vit_table:
        # What a classifier would pool follows from the tokens that there are.
        token = bool(vit_table.get("class_token", base.vit.class_token))
        base = dataclasses.replace(base, vit=_with_token(base.vit, token))
    vit = fill(VitConfig, dataclasses.asdict(base.vit) | vit_table, section="model", where=where)
    numbers = {key: getattr(base, key) for key in _OF_HEAD} | {key: table[key] for key in _OF_HEAD if key in table}
    try:
        config = SegmenterConfig(vit, num_classes=2, **numbers)
    except (TypeError, ValueError) as error:
        raise UserError(f"[model] {error}", where=where, mend="correct the value") from None
    return dataclasses.replace(settings, config=config), seen


def _with_token(config: VitConfig, token: bool) -> VitConfig:
    """The same numbers with or without a class token."""
    without = dataclasses.replace(config, pool="mean", distillation="none", prefix_positions=0)
    return dataclasses.replace(without, class_token=token, pool="class" if token else "mean")
