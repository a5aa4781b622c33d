"""A recipe: one TOML file says everything about one run, and nothing is inherited."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sleuth.data.scenes import SceneConfig
from sleuth.data.transforms import Augmentation
from sleuth.errors import UserError
from sleuth.geometry.tiles import LEAST_SIDE, Tiling
from sleuth.models.detector import DetectorConfig, field_names
from sleuth.models.detr import DetrConfig
from sleuth.models.families import FAMILIES, family_of
from sleuth.tasks.detection import DetectionLossConfig, Preprocess
from sleuth.tasks.segmentation import PAPER_RULE, PanopticRule
from sleuth.training.adapters import LoraSettings
from sleuth.training.optimizer import OptimizerSettings
from sleuth.training.recipe_sections import RecipeSections, own_keys, section_tables, take_own
from sleuth.training.run_settings import RunSettings
from sleuth.training.schedule import ScheduleSettings
from sleuth.training.sections import Table, check_keys, fill, plain, read_toml, set_value, toml_text
from sleuth.weights.catalog import CATALOG, names_of
from sleuth.weights.resolve import open_model


@dataclass(frozen=True)
class ModelSettings:
    """The ``[model]`` of a recipe: an architecture from the catalog or of a starting model, and changes to its config.

    Args:
        name: an architecture of the catalog, such as ``detr-r50``; left out, it is that of ``weights``, and a resolved
            recipe has an empty name and all its numbers.
        family: the kind of detector; it follows from the name or the weights, and a resolved recipe says it.
        weights: the model to start from: a name, a file or a folder, as for `sleuth predict --model`; empty starts
            from fresh weights.
        backbone_weights: a model whose backbone to start from; empty starts from fresh weights. A vision Transformer
            as backbone takes a classifier's: a bundled one, a file or a folder, or a model of the hub.
        keep_classes: of the model to start from, keep what it knows of classes that have the same name here.
        freeze_stem: leave the stem and the first stage of the backbone as they are, as the paper does.
        freeze: parts that are not trained, such as ``backbone`` and ``encoder``; ``detector`` is all but the mask head.
        config: the architecture with the recipe's changes; the number of classes comes from the data.
    """

    name: str = "detr-r50"
    family: str = "detr"
    weights: str = ""
    backbone_weights: str = ""
    keep_classes: bool = True
    freeze_stem: bool = False
    freeze: tuple[str, ...] = ()
    config: DetectorConfig = field(default_factory=DetrConfig)


@dataclass(frozen=True)
class DataSettings:
    """The ``[data]`` of a recipe.

    Args:
        path: a folder of annotated pictures, or ``scenes`` for the built-in data, which ``[scenes]`` describes.
        format: ``coco``, ``voc`` or ``yolo``; empty finds it out from the folder.
        images: the folder of the pictures, where it is not one of the usual ones.
        annotations: ``boxes``, ``instances`` (boxes and masks), or ``panoptic`` (stuff, such as sky, as well).
        train: the split to train on.
        val: the split that scores are measured on; empty measures none.
        train_limit: train on the first so many pictures only; 0 takes all (100,000 scenes).
        val_limit: measure on the first so many pictures only; 0 takes all (500 scenes).
        skip_faulty: leave faulty pictures out rather than stop at them.
        cache: ``auto`` keeps decoded pictures in memory, as far as a quarter of what is free goes, no larger than
            training shows them; ``off`` decodes them each time.
        tile: train on tiles of larger pictures too, and measure boxes so: their side in pixels, or height and width; 0
            takes whole pictures only.
        tile_overlap: share of a tile that its neighbour shows too.
    """

    path: str = "scenes"
    format: str = ""
    images: str = ""
    annotations: Literal["boxes", "instances", "panoptic"] = "boxes"
    train: str = "train"
    val: str = "val"
    train_limit: int = 0
    val_limit: int = 0
    skip_faulty: bool = False
    cache: Literal["auto", "off"] = "off"
    tile: int | tuple[int, int] = 0
    tile_overlap: float = 0.2

    def __post_init__(self) -> None:
        if min(self.train_limit, self.val_limit) < 0:
            raise ValueError("limits must not be negative")
        if self.tiling is None:
            Tiling((LEAST_SIDE, LEAST_SIDE), self.tile_overlap)

    @property
    def tiling(self) -> Tiling | None:
        """How pictures are cut into tiles, if they are."""
        if not self.tile:
            return None
        return Tiling((self.tile, self.tile) if isinstance(self.tile, int) else self.tile, self.tile_overlap)


@dataclass(frozen=True)
class Recipe:
    """One run as values: each attribute is a section of the file; without ``[lora]`` there are no adapters."""

    model: ModelSettings
    data: DataSettings
    scenes: SceneConfig
    preprocess: Preprocess
    augmentation: Augmentation
    loss: DetectionLossConfig
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    run: RunSettings
    panoptic: PanopticRule = PAPER_RULE
    lora: LoraSettings | None = None

    def tables(self) -> dict[str, Table]:
        """The resolved recipe as plain tables, every key written out."""
        tables = section_tables(self)
        config = tables["model"].pop("config")
        del config["num_classes"]
        return tables | {"model": tables["model"] | config}

    def text(self) -> str:
        """The resolved recipe as TOML; reading it gives the same recipe."""
        return toml_text(self.tables())


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply ``section.key=value`` overrides.

    Raises:
        UserError: no such file, not TOML, an unknown key or section (named with the nearest), or a wrong value.
    """
    tables = read_toml(path)
    for override in overrides:
        set_value(tables, override)
    return recipe_from_tables(tables, where=path)


def recipe_from_tables(tables: Mapping[str, Any], *, where: object) -> Recipe:
    """A recipe from its tables, each checked against the settings that it fills.

    Raises:
        UserError: as for :func:`load_recipe`.
    """
    given = RecipeSections(tables, Recipe, where=where)
    model, usual = _model(given.table("model"), where)
    if "lora" in given and not model.weights:
        raise UserError(
            "[lora] adapts a model, and none is named", where=where, mend="name one with model.weights, or --model"
        )
    recipe = Recipe(
        model=model,
        data=given.fill(DataSettings, "data"),
        scenes=given.fill(SceneConfig, "scenes"),
        preprocess=given.fill(Preprocess, "preprocess", usual["preprocess"] | _by_sides(given.table("preprocess"))),
        augmentation=augmentation_from_table(given.table("augmentation"), where),
        loss=given.fill(DetectionLossConfig, "loss", usual["loss"]),
        optimizer=given.fill(OptimizerSettings, "optimizer"),
        schedule=given.fill(ScheduleSettings, "schedule"),
        run=given.fill(RunSettings, "run"),
        panoptic=given.fill(PanopticRule, "panoptic"),
        lora=given.fill(LoraSettings, "lora") if "lora" in given else None,
    )
    _check_together(recipe, where)
    return recipe


def _by_sides(table: Table) -> Table:
    """A recipe that gives sides means them, also where the model's own way is one exact size, which has none."""
    return {"resize": "shortest"} if table.keys() & {"shortest", "longest"} else {}


def _check_together(recipe: Recipe, where: object) -> None:
    """Refuse settings of different sections that do not go together."""
    if recipe.data.annotations == "panoptic" and recipe.augmentation.several:
        raise UserError(
            "mosaic, mixup and copy_paste do not know stuff, of which a picture has one segment a kind",
            where=where,
            mend="leave them out, or set data.annotations to instances",
        )
    if recipe.run.close_augmentation and recipe.schedule.kind == "flat_cosine" and not recipe.schedule.floor:
        raise UserError(
            "the closing steps of flat_cosine would learn at a rate of 0",
            where=where,
            mend="set schedule.floor, such as 0.05",
        )


def _model(table: Table, where: object) -> tuple[ModelSettings, dict[str, Table]]:
    """The settings of a model, and what other sections hold of its own accord: how it sees pictures, and its losses."""
    own = take_own(table, ModelSettings)
    settings = fill(ModelSettings, own, section="model", where=where)
    if "num_classes" in table:
        raise UserError(
            "model.num_classes is not set in a recipe", where=where, mend="it comes from the data: remove it"
        )
    check_keys([settings.family], FAMILIES, what="family", where=where)
    preprocess, loss = Preprocess(), DetectionLossConfig()
    if settings.weights and "name" not in own:
        start = open_model(settings.weights)
        settings = dataclasses.replace(settings, name="")
        base = dataclasses.replace(start.config, num_classes=type(start.config)().num_classes)
        preprocess, loss = start.preprocess, start.loss
    elif settings.name or not settings.weights:
        check_keys([settings.name], CATALOG, what="model", where=where)
        known = CATALOG[settings.name]
        base, preprocess, loss = known.config, known.preprocess, known.loss
    else:  # a resolved recipe, whose run can be resumed without the model that it started from
        base = FAMILIES[settings.family].config()
    family = family_of(base)
    if "family" in own and settings.family != family.name:
        what = f"model.family = {settings.family}, but {settings.name or settings.weights} is a {family.name}"
        raise UserError(what, where=where, mend=f"models of that family: {', '.join(names_of(settings.family))}")
    valid = [key for key in field_names(family.config) if key != "num_classes"]
    check_keys(table, [*valid, *own_keys(ModelSettings)], what="key in [model]", where=where)
    config = fill(family.config, dataclasses.asdict(base) | table, section="model", where=where)
    usual = {"preprocess": plain(preprocess), "loss": plain(loss)}
    return dataclasses.replace(settings, family=family.name, config=config), usual


def augmentation_from_table(table: Mapping[str, Any], where: object) -> Augmentation:
    """The augmentation that an ``[augmentation]`` asks for.

    Raises:
        UserError: an unknown key or a wrong value.
    """
    table = dict(table)
    # `scale` is short for the paper's augmentation in proportion to another size.
    scale = table.pop("scale", None)
    if scale is None:
        # What says how large pictures are takes the place of the paper's scales and crops.
        fitted = {"scales": [], "crop_prob": 0.0} if "fit" in table else {}
        return fill(Augmentation, fitted | table, section="augmentation", where=where)
    if type(scale) is not int or scale < 1:
        raise UserError(f"augmentation.scale = {scale} is not a size in pixels", where=where, mend="such as 256")
    base = plain(Augmentation.for_scale(scale))
    return fill(Augmentation, base | table, section="augmentation", where=where)
