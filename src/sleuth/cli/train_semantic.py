"""`sleuth train` of a model that gives every pixel a class."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import nn

from sleuth.cli.console import tell
from sleuth.cli.drawing import write_picture
from sleuth.cli.train_words import TrainWords, set_length, splits
from sleuth.data.open import available_splits
from sleuth.data.semantic.open import is_semantic, open_semantic, semantic_splits
from sleuth.data.semantic.samples import SemanticSource
from sleuth.data.semantic.scenes import SCENES
from sleuth.errors import UserError
from sleuth.evaluation.semantic import evaluate_segmenter
from sleuth.models.segmenter_variants import SEGMENTER_VARIANTS
from sleuth.render.sheet import Cell
from sleuth.runtime.segmenter import draw_labels
from sleuth.tasks.preprocess import Preprocess
from sleuth.tasks.semantic import label_map
from sleuth.tasks.semantic_views import class_scores
from sleuth.training.devices import is_main_process
from sleuth.training.run_folder import next_run_folder
from sleuth.training.sections import Table, set_value
from sleuth.training.semantic_recipe import FAMILY, SemanticRecipe, semantic_recipe
from sleuth.training.semantic_work import SemanticWork, checked_semantic
from sleuth.training.train import TrainingResult, train_work
from sleuth.weights.segmenter import is_segmenter

SEMANTIC = "semantic"
"""What ``--annotations`` calls masks of classes."""

INTERRUPTED = 130
SAMPLE_PICTURES = 6
_FEW_PICTURES = 2000
"""Up to so many pictures, a compact model learns from scratch; of more, a size of the paper."""


def wants_semantic(words: TrainWords) -> bool:
    """Whether the words of the command line speak of classes of pixels."""
    if words.annotations is not None:
        return words.annotations == SEMANTIC
    if words.model is not None and is_segmenter(words.model):
        return True
    if words.data is None or words.format is not None or words.data == SCENES:
        return False
    return Path(words.data).exists() and is_semantic(words.data) and not _has_boxes(words.data)


def _has_boxes(path: str) -> bool:
    try:
        return bool(available_splits(path))
    except UserError:
        return False


def tables_for_masks(words: TrainWords) -> Table:
    """A recipe for somebody's pictures with masks.

    Raises:
        UserError: there are none.
    """
    assert words.data is not None
    data: Table = {"path": words.data}
    if words.data == SCENES:
        count, side = 10_000, 128
    else:
        data |= splits(semantic_splits(words.data))
        pictures = open_semantic(words.data, data["train"])
        count, side = len(pictures), min(pictures.load(0).image.shape[1:])
    small = count <= _FEW_PICTURES or words.data == SCENES
    side = min(side, 240 if small else 512) // 16 * 16 or 16
    epochs = max(10, min(200, 100_000 // max(1, count)))
    batch = min(8, max(1, count))
    return {
        "model": {"name": "segmenter-street" if small else "segmenter-s16"},
        "data": data,
        "augmentation": {"crop_hw": [side, side]},
        "optimizer": {"rate": 1e-3 if small else 5e-4, "batch_size": batch},
        "schedule": {"warmup_steps": min(200, max(5, count * epochs // batch // 20)), "floor": 0.01},
        "run": {"epochs": epochs, "evaluate_every": max(1, epochs // 20), "ema_decay": 0.998, "log_every": 20},
    }


def with_semantic_words(tables: Table, words: TrainWords) -> Table:
    """The tables of a recipe with what the command line said instead; ``--set`` has the last word.

    Raises:
        UserError: words that masks of classes have no use for, or that contradict each other.
    """
    useless: dict[str, object] = {
        "--format": words.format,
        "--images": words.images,
        "--tile": words.tile,
        "--tile-overlap": words.tile_overlap,
        "--languages": words.languages,
        "--lora": words.lora,
    }
    for word, value in useless.items():
        if value is not None:
            raise UserError(f"{word} is not of masks of classes, which are trained on here", mend="leave it out")
    if words.annotations not in (None, SEMANTIC):
        what = f"--annotations {words.annotations} is not what this model learns"
        raise UserError(what, mend=f"leave it out, or give {SEMANTIC}")
    _set_model(tables.setdefault("model", {}), words)
    if words.scale is not None:
        tables.setdefault("augmentation", {})["crop_hw"] = [words.scale, words.scale]
    said: tuple[tuple[str, str, object], ...] = (
        ("data", "path", words.data),
        ("data", "skip_faulty", words.skip_faulty or None),
        ("model", "freeze", None if words.freeze is None else [part.strip() for part in words.freeze.split(",")]),
        ("optimizer", "batch_size", words.batch_size),
        ("optimizer", "rate", words.rate),
        ("run", "seed", words.seed),
        ("run", "device", words.device),
        ("run", "devices", words.devices),
        ("run", "workers", words.workers),
        ("run", "tensorboard", words.tensorboard or None),
    )
    for section, key, value in said:
        if value is not None:
            tables.setdefault(section, {})[key] = value
    set_length(tables.setdefault("run", {}), words)
    for override in words.overrides:
        set_value(tables, override)
    return tables


def _set_model(model: Table, words: TrainWords) -> None:
    """A name with weights is a model to start from, a Segmenter or a classifier; any other is an architecture."""
    weights = words.weights
    if words.scratch and words.model not in SEGMENTER_VARIANTS:
        what = f"--scratch takes an architecture by its name, and {words.model!r} is none"
        raise UserError(what, mend=f"known: {', '.join(SEGMENTER_VARIANTS)}")
    if words.model in SEGMENTER_VARIANTS:
        model["name"] = words.model
    elif words.model is not None:
        if weights is not None:
            what = "both --model and --weights name a model to start from"
            raise UserError(what, mend="give one, or an architecture by --model")
        model.pop("name", None)
        weights = words.model
    if weights is not None:
        model |= {"weights": weights, "family": FAMILY}


def train_semantic(
    tables: Table, words: TrainWords, out: Path | None, name: str, *, where: object, resume: bool
) -> int:
    """Train, and say where the results are; 0, or 130 if it was stopped before its end."""
    recipe = semantic_recipe(with_semantic_words(tables, words), where=where)
    folder = out or next_run_folder(Path("runs"), name)
    work = SemanticWork(recipe)
    held_out = None
    if recipe.data.val:
        held_out, _ = checked_semantic(recipe, recipe.data.val, names=tuple(work.source.names))
    elif is_main_process():
        tell("no split to measure on: no scores, and the last weights count as the best")
    result = train_work(
        work,
        folder,
        evaluate=None if held_out is None else evaluator(recipe, held_out),
        render=sampler(recipe.preprocess, held_out or work.source),
        resume=resume,
    )
    if is_main_process():
        _say_what_came_out(recipe, result)
    return 0 if result.finished else INTERRUPTED


def evaluator(recipe: SemanticRecipe, source: SemanticSource) -> Callable[[nn.Module], dict[str, float]]:
    """Measures a model on these pictures, each as a whole."""

    def evaluate(model: nn.Module) -> dict[str, float]:
        found = evaluate_segmenter(model, source, recipe.preprocess)
        ious = {f"IoU {each.name}": each.iou for each in found.per_class if each.iou is not None}
        return found.numbers | ious

    return evaluate


def sampler(preprocess: Preprocess, source: SemanticSource) -> Callable[[nn.Module, Path, int], None]:
    """Draws what a model takes the pixels of some of these pictures for, spread over all of them, beside the truth."""

    def draw(model: nn.Module, folder: Path, step: int) -> None:
        count = min(SAMPLE_PICTURES, len(source))
        cells = []
        for place in range(count):
            sample = source.load(place * len(source) // count)
            height, width = sample.labels.shape
            found = label_map(class_scores(model, sample.image, preprocess), (height, width)).cpu().numpy()
            for labels, title in ((sample.labels.numpy(), Path(sample.name).name), (found, "as found")):
                cells.append(label_cell(sample.image.permute(1, 2, 0).numpy(), labels, tuple(source.names), title))
        write_picture(
            folder / f"step-{step:06d}.png", cells, heading=f"step {step}: truth, and as found", columns=4, side=320
        )

    return draw


def label_cell(picture: np.ndarray, labels: np.ndarray, names: tuple[str, ...], title: str) -> Cell:
    """A picture with the classes of its pixels in colours, as a cell of a page."""
    drawn = draw_labels(picture, labels, names, legend=False)
    return Cell(drawn, title, np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64))


def _say_what_came_out(recipe: SemanticRecipe, result: TrainingResult) -> None:
    if not result.finished:
        tell(f"  sleuth train --resume --out {result.folder}")
        return
    best = "" if result.best_score is None else f", best {recipe.run.score} {result.best_score:.4f}"
    skipped = f", {result.skipped} steps skipped" if result.skipped else ""
    tell(f"finished at step {result.step} after {result.seconds:.0f} s{best}{skipped}: {result.folder}")
    model = result.folder / "best.safetensors"
    if result.best_score is not None:
        tell(f"  sleuth evaluate --model {model} --data {recipe.data.path} --split {recipe.data.val}")
    tell(f"  sleuth predict PICTURE --model {model}")
