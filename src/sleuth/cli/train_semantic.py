"""`sleuth train` of a model that gives every pixel a class."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from sleuth.cli.drawing import write_picture
from sleuth.cli.semantic_pictures import pairs
from sleuth.cli.splits import splits
from sleuth.cli.train_run import run_and_tell
from sleuth.cli.train_words import (
    TrainWords,
    check_scratch,
    refuse,
    section,
    set_last,
    set_model,
    set_values,
    usual_run,
    what_is_taken,
)
from sleuth.data.open import is_annotated
from sleuth.data.pictures import picture_size
from sleuth.data.semantic.open import is_semantic, open_semantic, semantic_splits
from sleuth.data.semantic.samples import SemanticSource
from sleuth.data.semantic.scenes import SCENES
from sleuth.errors import UserError
from sleuth.evaluation.semantic import evaluate_segmenter
from sleuth.models.segmenter_variants import SEGMENTER_VARIANTS
from sleuth.tasks.preprocess import Preprocess
from sleuth.training.machine import this_machine
from sleuth.training.run_folder import RunFolder
from sleuth.training.sections import Table
from sleuth.training.semantic_recipe import FAMILY, SemanticRecipe, semantic_recipe
from sleuth.training.semantic_work import SemanticWork, checked_semantic
from sleuth.weights.segmenter import is_segmenter

SEMANTIC = "semantic"
"""What ``--annotations`` calls masks of classes."""

SAMPLE_PICTURES = 6
_USELESS = ("format", "images", "tile", "tile_overlap", "languages")
"""Words that masks of classes have no use for."""
_COMPACT = "segmenter-street"
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
    return Path(words.data).exists() and is_semantic(words.data) and not is_annotated(words.data)


def tables_for_masks(words: TrainWords, say: Callable[[str], object]) -> Table:
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
        count, side = len(pictures), min(picture_size(pictures.where(0), pictures.content(0)))
    small = count <= _FEW_PICTURES or words.data == SCENES
    side = min(side, 240 if small else 512) // 16 * 16 or 16
    run = usual_run(count, this_machine(words.device or "auto"), shown=100_000, shown_by_cpu=20_000)
    batch = min(8, max(1, count))
    start = words.weights or words.model or ""
    # A Segmenter to start from knows the size of the parts that it learned from.
    crop: Table = {} if start not in SEGMENTER_VARIANTS and is_segmenter(start) else {"crop_hw": [side, side]}
    name = _COMPACT if small else "segmenter-s16"
    tables: Table = {
        "model": {} if words.weights else {"name": name},
        "data": data,
        "augmentation": crop,
        "optimizer": {**_optimizer(start or name, small), "batch_size": batch},
        "schedule": {"warmup_steps": min(200, max(5, count * run["epochs"] // batch // 20)), "floor": 0.01},
        "run": run,
    }
    say(what_is_taken(start or name, tables, words, f"{count:,} pictures"))
    return tables


def _optimizer(start: str, small: bool) -> Table:
    """Muon for the compact model from scratch, as measured on streets; else AdamW."""
    if start == _COMPACT:
        return {"kind": "muon", "rate": 4e-3}
    return {"rate": 1e-3 if small else 5e-4}


def with_semantic_words(tables: Table, words: TrainWords) -> Table:
    """The tables of a recipe with what the command line said instead; ``--set`` has the last word.

    Raises:
        UserError: words that masks of classes have no use for, or that contradict each other.
    """
    refuse(words, _USELESS, "is not of masks of classes, which are trained on here")
    if words.annotations not in (None, SEMANTIC):
        what = f"--annotations {words.annotations} is not what this model learns"
        raise UserError(what, mend=f"leave it out, or give {SEMANTIC}")
    check_scratch(words, SEGMENTER_VARIANTS)
    model = section(tables, "model")
    set_model(model, words, lambda name: name not in SEGMENTER_VARIANTS)
    if model.get("weights"):
        model["family"] = FAMILY  # a classifier's backbone is asked for as well
    if words.scale is not None:
        section(tables, "augmentation")["crop_hw"] = [words.scale, words.scale]
    set_values(tables, words, ("lora", "rank", words.lora))
    set_last(tables, words)
    return tables


def train_semantic(
    tables: Table, words: TrainWords, folder: RunFolder, *, where: object, resume: bool, remarks: Sequence[str]
) -> int:
    """Train, and say where the results are; 0, or 130 if it was stopped before its end."""
    recipe = semantic_recipe(with_semantic_words(tables, words), where=where)
    data = recipe.data
    work = SemanticWork(recipe)
    held_out = checked_semantic(recipe, data.val, names=tuple(work.source.names))[0] if data.val else None
    return run_and_tell(
        work,
        folder,
        evaluate=None if held_out is None else evaluator(recipe, held_out),
        render=sampler(recipe.preprocess, held_out or work.source),
        resume=resume,
        measure=f"evaluate --model {folder.best} --data {data.path} --split {data.val}",
        remarks=remarks,
        use=f"predict PICTURE --model {folder.best}",
    )


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
        cells = pairs(model, source, preprocess, count=SAMPLE_PICTURES)
        write_picture(
            folder / f"step-{step:06d}.png", cells, heading=f"step {step}: truth, and as found", columns=4, side=320
        )

    return draw
