"""From the words of `sleuth train` to the tables of a recipe."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sleuth.cli.chosen import tables_of_choice
from sleuth.cli.sizes import parse_tiling
from sleuth.cli.splits import detection_splits
from sleuth.cli.train_words import (
    EVALUATIONS,
    USUAL_STEPS,
    TrainWords,
    section,
    set_last,
    set_length,
    set_model,
    set_values,
    steps_and_length,
)
from sleuth.data.checks import check_data
from sleuth.data.open import open_data
from sleuth.data.samples import check_annotations
from sleuth.data.source import PictureSource
from sleuth.data.tiled import TiledSource
from sleuth.errors import UserError
from sleuth.models.detector import DetectorConfig, has_masks, takes_masks
from sleuth.models.families import family_of, options
from sleuth.tasks.detection import DetectionLossConfig, Preprocess
from sleuth.training.sections import Table
from sleuth.training.sources import BUILT_IN_DATA
from sleuth.weights.catalog import entry, names_of
from sleuth.weights.resolve import has_weights, is_path, open_model

FINE_TUNING_STEPS = 3000
"""Length of a training from a model with weights, where nobody says otherwise."""

USUAL_DETR = "detr-small"
SMALL_DIM = 256


def with_words(tables: Table, words: TrainWords) -> Table:
    """The tables of a recipe with what the command line said instead; ``--set`` has the last word.

    Raises:
        UserError: words that contradict each other.
    """
    set_model(section(tables, "model"), words, has_weights)
    # A recipe may have tiles of its own, for which the words give another overlap.
    overlap = words.tile_overlap if words.tile or not section(tables, "data").get("tile") else None
    tiling = parse_tiling(words.tile, overlap)
    set_values(
        tables,
        words,
        ("data", "format", words.format),
        ("data", "images", None if words.images is None else str(words.images)),
        ("data", "annotations", words.annotations),
        ("data", "tile", None if tiling is None else list(tiling.size_hw)),
        ("data", "tile_overlap", words.tile_overlap),
        ("lora", "rank", words.lora),
    )
    if words.scale is not None:
        tables["preprocess"] = section(tables, "preprocess") | _sides(words.scale, _resize(tables))
        kept = {"flip", "color_jitter", "crop_prob"}
        own = {key: value for key, value in section(tables, "augmentation").items() if key in kept}
        tables["augmentation"] = own | {"scale": words.scale}
    set_last(tables, words)
    run = section(tables, "run")
    said = [override.partition("=")[0].strip() for override in words.overrides]
    if "run.evaluate_every" in said and "run.patience" not in said and run.get("evaluate_every") == 0:
        run.pop("patience", None)  # it counts evaluations, and there are none
    return tables


def tables_for_data(words: TrainWords, say: Callable[[str], object] = lambda line: None) -> Table:
    """A recipe for somebody's pictures: one of Sleuth's detectors that suits them, or the model that the words name.

    Args:
        words: of the command line.
        say: called with what is worth saying about a choice, in lines.

    Raises:
        UserError: there is no such data or model, or nothing to learn.
    """
    if words.data is None:
        raise ValueError("no data is named")
    check_annotations(words.annotations or "boxes")
    if words.model is None and words.weights is None and not words.scratch and words.annotations in (None, "boxes"):
        return tables_of_choice(words, say)
    return _tables_for_model(words, words.data)


def _tables_for_model(words: TrainWords, path: str) -> Table:
    """A recipe of the model that the words name, from scratch or from its weights."""
    start = _start(words)
    small, scenes = start.config.dim < SMALL_DIM, path == BUILT_IN_DATA
    tiling = parse_tiling(words.tile, words.tile_overlap)
    # From scratch, pixels of tiles are the model's own.
    usual_scale = min(tiling.size_hw) if tiling is not None else 256 if small else 800
    scale = words.scale or (128 if scenes else start.scale or usual_scale)
    batch = words.batch_size or (8 if small else 2)
    model, data, annotations = dict(start.model), {"path": path}, words.annotations or "boxes"
    if has_masks(start.config) != (annotations != "boxes"):
        if not takes_masks(start.config):
            what = f"a {start.family} finds boxes, no masks"
            raise UserError(what, where=f"--annotations {annotations}", mend="leave it out, or name a DETR")
        # Boxes alone teach no masks.
        model["masks"] = annotations != "boxes"
    if scenes:
        pictures = 100_000
        augmentation: Table = {"scales": [], "crop_prob": 0.0, "flip": False}
    else:
        data |= detection_splits(words, path, annotations)
        pictures_there = open_data(path, words.format, data["train"], words.images, annotations=annotations)
        report = check_data(pictures_there)
        if words.skip_faulty:
            pictures_there = pictures_there.without_faulty(report)
        source = PictureSource(pictures_there)
        pictures = max(1, len(source if tiling is None else TiledSource(source, tiling)))
        augmentation = {"scale": scale, "color_jitter": 0.2}
        if start.preprocess is not None and words.scale is None:
            augmentation["longest"] = start.preprocess.longest
        if report.most_objects > start.config.num_queries * 3 // 4:
            model["num_queries"] = math.ceil(report.most_objects * 1.5)
    per_epoch = max(1, pictures // batch)
    usual = FINE_TUNING_STEPS if start.weights else USUAL_STEPS
    run: Table = {"workers": 1, "log_every": 10, "checkpoint_every": 200}
    if scenes:
        run |= {"steps": usual}
    else:
        run |= {"epochs": math.ceil(usual / per_epoch)}
    set_length(run, words)
    total, length = steps_and_length(run, per_epoch)
    run |= {"evaluate_every": max(1, int(length) // EVALUATIONS), "ema_decay": 0.998 if total >= 1000 else 0.98}
    as_the_start = start.preprocess is not None and not scenes and words.scale is None
    # A DETR that is small or new learns classes faster so; what others want is known by their names and weights.
    louder = start.family == "detr" and (small or not start.weights)
    return {
        "model": model,
        "data": data,
        "preprocess": {} if as_the_start else _sides(scale, _resize_of(start.config, start.usual)),
        "augmentation": augmentation,
        "loss": dict(start.loss) | ({"class_weight": 2.0, "match_class": 2.0} if louder else {}),
        "optimizer": _rates(small=small, fresh=not start.weights) | {"batch_size": batch},
        "schedule": {"kind": "cosine", "warmup_steps": min(200, max(1, total // 10)), "floor": 0.02},
        "run": run,
    }


@dataclass(frozen=True)
class _Start:
    """What a training begins from.

    Args:
        model: the ``[model]`` of its recipe.
        config: the architecture.
        weights: whether it begins from given weights.
        preprocess: how the model that it begins from sees pictures; None without one.
        usual: how models of this architecture see pictures.
        loss: the ``[loss]`` of its recipe, as far as the name does not say it.
    """

    model: Mapping[str, Any]
    config: DetectorConfig
    weights: bool
    preprocess: Preprocess | None = None
    usual: Preprocess = field(default_factory=Preprocess)
    loss: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The kind of detector."""
        return family_of(self.config).name

    @property
    def scale(self) -> int | None:
        """Shorter side of the pictures of the model that it begins from."""
        if self.preprocess is None:
            return None
        return min(self.preprocess.size_hw) if self.preprocess.size_hw else self.preprocess.shortest


def _start(words: TrainWords) -> _Start:
    chosen: Table = {}
    set_model(chosen, words, has_weights)
    name, weights = chosen.get("name"), chosen.get("weights")
    if words.scratch and words.model is not None and is_path(words.model):
        # A file's architecture has no name in the catalog: its numbers are written out.
        loaded = open_model(words.model)
        config, family = loaded.config, family_of(loaded.config).name
        numbers = {key: value for key, value in asdict(config).items() if key != "num_classes" and value is not None}
        name = USUAL_DETR if USUAL_DETR in names_of(family) else names_of(family)[0]
        loss = {} if family == "detr" else _changed(loaded.loss, entry(name).loss)
        return _Start({"name": name} | numbers, config, weights=False, usual=loaded.preprocess, loss=loss)
    if weights is None:
        # Frozen statistics of 0 and 1 normalise nothing: from scratch, the norms learn too.
        name = name or USUAL_DETR
        known = entry(name)
        changes = options(known.config, frozen_norm=False, supervise_encoder=True)
        config = replace(known.config, **changes)
        return _Start({"name": name} | changes, config, weights=False, usual=known.preprocess)
    start = open_model(weights)
    config = entry(name).config if name else start.config
    return _Start(chosen, config, weights=True, preprocess=start.preprocess, usual=start.preprocess)


def _changed(settings: DetectionLossConfig, usual: DetectionLossConfig) -> Table:
    """The keys in which losses differ from the usual ones."""
    before = asdict(usual)
    return {key: value for key, value in asdict(settings).items() if value != before[key]}


def _rates(*, small: bool, fresh: bool) -> Table:
    """Learning rates: the paper's for a large model, higher for a small one; the backbone's is lower once trained."""
    rate = 5e-4 if small else 1e-4
    return {"rate": rate, "backbone_rate": 2 * rate if small and fresh else rate if fresh else rate / 10} | (
        {"clip": 1.0} if small else {}
    )


def _resize(tables: Table) -> str:
    """The way in which pictures of another size are resized: as the recipe says, or as its model wants it."""
    said, model = section(tables, "preprocess"), section(tables, "model")
    name, weights = model.get("name"), model.get("weights")
    if "resize" in said or not (name or weights):
        return str(said.get("resize", "shortest"))
    known = entry(str(name)) if name else open_model(str(weights))
    return _resize_of(known.config, known.preprocess)


def _resize_of(config: DetectorConfig, usual: Preprocess) -> str:
    """A DETR takes pictures of any shape; others, what they were made for."""
    return "shortest" if family_of(config).name == "detr" else usual.resize


def _sides(scale: int, resize: str = "shortest") -> Table:
    """How large pictures become: all of one size for models that see them so, else by their shorter side."""
    if resize in ("exact", "within"):
        return {"resize": resize, "size_hw": [scale, scale]}
    return {"resize": "shortest", "shortest": scale, "longest": round(scale * 1333 / 800)}
