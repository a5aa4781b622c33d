"""`sleuth train` of a classifier."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from sleuth.cli.class_pictures import guess_cell
from sleuth.cli.drawing import write_picture
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
from sleuth.data.classes.digits import DIGITS, DigitPictures
from sleuth.data.classes.open import class_splits, is_classes, open_classes
from sleuth.data.classes.samples import ClassSource
from sleuth.data.open import is_annotated
from sleuth.evaluation.classification import evaluate_classifier
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.tasks.classification import decode_classes
from sleuth.tasks.preprocess import Preprocess, preprocess_images
from sleuth.training.classification_recipe import ClassificationRecipe, classification_recipe
from sleuth.training.classification_work import ClassificationWork, checked_source
from sleuth.training.machine import this_machine
from sleuth.training.run_folder import RunFolder
from sleuth.training.sections import Table
from sleuth.weights.classifiers import BUNDLED, is_classifier

SAMPLE_PICTURES = 16
_SMALL_SIDE = 64
"""Pictures up to this side are small: they are learned from scratch at their own size."""

_USELESS = ("format", "images", "annotations", "tile", "tile_overlap", "languages")
"""Words that classes have no use for."""


def wants_classification(words: TrainWords) -> bool:
    """Whether the words of the command line speak of classes of whole pictures."""
    if words.model is not None:
        return words.model in VIT_VARIANTS or is_classifier(words.model)
    if words.data is None or words.format is not None or words.annotations is not None:
        return False
    if words.data == DIGITS:
        return True
    return Path(words.data).exists() and is_classes(words.data) and not is_annotated(words.data)


def tables_for_classes(words: TrainWords, say: Callable[[str], object]) -> Table:
    """A recipe for somebody's pictures of classes.

    Raises:
        UserError: there are none.
    """
    assert words.data is not None
    data: Table = {"path": words.data}
    if words.data == DIGITS:
        count, small, side = len(DigitPictures()), True, 8
    else:
        data |= splits(class_splits(words.data))
        pictures = open_classes(words.data, data["train"])
        count, side = len(pictures), min(pictures.load(0).image.shape[1:])
        small = side <= _SMALL_SIDE
    by_cpu = 500_000 if words.data == DIGITS else 200_000 if small else 20_000
    run = usual_run(count, this_machine(words.device or "auto"), shown=500_000, shown_by_cpu=by_cpu)
    name = "vit-digits" if side <= 8 else "vit-cifar" if small else "vit-ti16"
    tables: Table = {
        "model": {"drop_path": 0.1} | ({} if words.weights else {"name": name}),
        "data": data,
        "augmentation": {"crop": "padded" if small else "resized", "randaugment": 2, "mixup": 0.2, "cutmix": 1.0},
        "optimizer": {"rate": 1e-3, "batch_size": min(128, max(8, count // 10))},
        "schedule": {"warmup_steps": min(500, max(10, count * run["epochs"] // 128 // 20))},
        "run": run,
    }
    if words.data == DIGITS:
        tables["augmentation"] = {"crop": "padded", "padding": 1, "fill": "black", "flip": False, "mixup": 0.3}
    say(what_is_taken(words.weights or words.model or name, tables, words, f"{count:,} pictures"))
    return tables


def with_class_words(tables: Table, words: TrainWords) -> Table:
    """The tables of a recipe with what the command line said instead; ``--set`` has the last word.

    Raises:
        UserError: words that classes have no use for, or that contradict each other.
    """
    refuse(words, _USELESS, "is not of classes, which are trained on here")
    check_scratch(words, VIT_VARIANTS)
    model = section(tables, "model")
    set_model(model, words, lambda name: name in BUNDLED or name not in VIT_VARIANTS)
    if words.scale is not None:
        model["image_hw"] = [words.scale, words.scale]
    set_values(tables, words, ("lora", "rank", words.lora))
    set_last(tables, words)
    return tables


def train_classification(
    tables: Table, words: TrainWords, folder: RunFolder, *, where: object, resume: bool, remarks: Sequence[str]
) -> int:
    """Train, and say where the results are; 0, or 130 if it was stopped before its end."""
    recipe = classification_recipe(with_class_words(tables, words), where=where)
    data = recipe.data
    work = ClassificationWork(recipe)
    held_out = checked_source(recipe, data.val, names=tuple(work.source.names))[0] if data.val else None
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


def evaluator(recipe: ClassificationRecipe, source: ClassSource) -> Callable[[nn.Module], dict[str, float]]:
    """Measures a model on these pictures."""

    def evaluate(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        return evaluate_classifier(model, source, recipe.preprocess, device=device).numbers

    return evaluate


def sampler(preprocess: Preprocess, source: ClassSource) -> Callable[[nn.Module, Path, int], None]:
    """Draws what a model takes some of these pictures for, spread over all of them."""

    def draw(model: nn.Module, folder: Path, step: int) -> None:
        count = min(SAMPLE_PICTURES, len(source))
        samples = [source.load(place * len(source) // count) for place in range(count)]
        device = next(model.parameters()).device
        with torch.inference_mode():
            images = preprocess_images([sample.image for sample in samples], preprocess).to(device)
            found = decode_classes(model(images), tuple(source.names), top=1)
        cells = [
            guess_cell(sample.image, guesses[0], truth=source.names[sample.label])
            for sample, guesses in zip(samples, found, strict=True)
        ]
        write_picture(
            folder / f"step-{step:06d}.png", cells, heading=f"step {step}: what each was taken for", columns=4, side=160
        )

    return draw
