"""`sleuth train`: a recipe from a file or from a folder of pictures, and everything wired together."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from sleuth.cli.console import err
from sleuth.cli.drawing import find, found_cell, write_picture
from sleuth.data.checks import check_data
from sleuth.data.open import available_splits, open_data
from sleuth.data.samples import SampleSource
from sleuth.errors import UserError
from sleuth.evaluation.detection import evaluate_model
from sleuth.training.devices import is_main_process
from sleuth.training.recipe import Recipe, recipe_from_tables
from sleuth.training.run_folder import next_run_folder
from sleuth.training.sections import Table, read_toml, set_value
from sleuth.training.sources import open_source
from sleuth.training.train import train
from sleuth.weights.catalog import entry

USUAL_STEPS = 6000
"""Length of a training on a folder of pictures, where nobody says otherwise."""

SAMPLE_PICTURES = 9


@dataclass(frozen=True)
class TrainWords:
    """What the command line said; see `sleuth train --help`. None was not said."""

    data: str | None = None
    model: str | None = None
    weights: Path | None = None
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    rate: float | None = None
    scale: int | None = None
    format: str | None = None
    seed: int | None = None
    device: str | None = None
    devices: int | None = None
    workers: int | None = None
    skip_faulty: bool = False
    tensorboard: bool = False
    overrides: tuple[str, ...] = ()


def run_train(recipe_file: Path | None, words: TrainWords, out: Path | None, *, resume: bool) -> None:
    """Train, and say where the results are."""
    if resume and out is None:
        raise UserError("which run to continue is not said", where="--resume", mend="name its folder with --out")
    if recipe_file is None and resume and out is not None and words.data is None:
        recipe_file = out / "recipe.toml"
        if not recipe_file.is_file():
            raise UserError("there is no run to resume", where=out, mend="start it without --resume")
    if recipe_file is not None:
        tables, where, name = read_toml(recipe_file), str(recipe_file), recipe_file.stem
    elif words.data is not None:
        tables, where, name = tables_for_data(words), "the command line", Path(words.data).resolve().name
    else:
        raise UserError("what to train on is not said", mend="give a recipe (recipes/*.toml) or --data DIR")
    recipe = recipe_from_tables(_with_words(tables, words), where=where)
    folder = out or next_run_folder(Path("runs"), name)
    result = train(
        recipe,
        folder,
        evaluate=evaluator(recipe),
        render=sampler(recipe),
        resume=resume,
    )
    if not is_main_process():
        return
    best = "" if result.best_score is None else f", best {recipe.run.score} {result.best_score:.4f}"
    state = "finished" if result.finished else f"stopped (continue with: sleuth train --resume --out {folder})"
    err().print(f"{state} at step {result.step} after {result.seconds:.0f} s{best}", markup=False)
    if result.finished:
        err().print(f"try: sleuth predict PICTURE --model {folder / 'best.safetensors'}", markup=False)


def _with_words(tables: Table, words: TrainWords) -> Table:
    """The recipe's tables with what the command line said instead; --set has the last word."""
    said: list[tuple[str, str, object]] = [
        ("data", "path", words.data),
        ("data", "format", words.format),
        ("model", "name", words.model),
        ("model", "weights", None if words.weights is None else str(words.weights)),
        ("optimizer", "batch_size", words.batch_size),
        ("optimizer", "rate", words.rate),
        ("run", "seed", words.seed),
        ("run", "device", words.device),
        ("run", "devices", words.devices),
        ("run", "workers", words.workers),
        ("data", "skip_faulty", words.skip_faulty or None),
        ("run", "tensorboard", words.tensorboard or None),
    ]
    if words.epochs is not None and words.steps is not None:
        raise UserError("both --epochs and --steps are given", mend="give one of them")
    for section, key, value in said:
        if value is not None:
            tables.setdefault(section, {})[key] = value
    if words.scale is not None:
        tables["preprocess"] = _preprocess(words.scale)
        tables["augmentation"] = {**tables.get("augmentation", {}), "scale": words.scale}
        for key in ("scales", "longest", "crop_sizes", "pre_scales"):
            tables["augmentation"].pop(key, None)
    run = tables.setdefault("run", {})
    for key, value in (("epochs", words.epochs), ("steps", words.steps)):
        if value is not None:
            run.pop("epochs", None)
            run.pop("steps", None)
            run[key] = value
    for override in words.overrides:
        set_value(tables, override)
    return tables


def _preprocess(scale: int) -> Table:
    return {"shortest": scale, "longest": round(scale * 1333 / 800)}


def tables_for_data(words: TrainWords) -> Table:
    """A recipe for somebody's folder: a small DETR, or a named one, learning from scratch.

    Raises:
        UserError: there is no such data or model.
    """
    if words.data is None:
        raise ValueError("no data is named")
    name = words.model or "detr-small"
    small = entry(name).config.dim < 256
    scale = words.scale or (128 if words.data == "scenes" else 256 if small else 800)
    batch = words.batch_size or (8 if small else 2)
    model: Table = {"name": name}
    data: Table = {"path": words.data}
    if words.data == "scenes":
        pictures, most = 100_000, 0
        augmentation: Table = {"scales": [], "crop_prob": 0.0, "flip": False}
    else:
        splits = available_splits(Path(words.data), words.format)
        data |= _splits(splits)
        opened = open_data(Path(words.data), words.format, data["train"])
        report = check_data(opened)
        pictures, most = max(len(opened), 1), report.most_objects
        augmentation = {"scale": scale, "color_jitter": 0.2}
    if words.weights is None:
        # Frozen statistics of 0 and 1 normalise nothing: from scratch, the norms learn too.
        model |= {"frozen_norm": False, "supervise_encoder": True}
    queries = entry(name).config.num_queries
    if most > queries * 3 // 4:
        model["num_queries"] = math.ceil(most * 1.5)
    total = words.steps or (words.epochs or 0) * math.ceil(pictures / batch) or USUAL_STEPS
    epochs = math.ceil(total * batch / pictures)
    run: Table = {
        "precision": "32-true",
        "ema_decay": 0.998 if total >= 1000 else 0.98,
        "workers": 1,
        "log_every": 10,
        "checkpoint_every": 200,
    }
    run |= (
        {"steps": total, "evaluate_every": max(1, total // 20)}
        if words.data == "scenes"
        else {"epochs": epochs, "evaluate_every": max(1, epochs // 20)}
    )
    return {
        "model": model,
        "data": data,
        "preprocess": _preprocess(scale),
        "augmentation": augmentation,
        "loss": {"class_weight": 2.0, "match_class": 2.0},
        "optimizer": {
            "rate": 5e-4 if small else 1e-4,
            "backbone_rate": 1e-3 if small else 1e-4,
            "clip": 1.0 if small else 0.1,
            "batch_size": batch,
        },
        "schedule": {"kind": "cosine", "warmup_steps": min(200, max(1, total // 10)), "floor": 0.02},
        "run": run,
    }


def _splits(splits: tuple[str, ...]) -> Table:
    """Which split to train on and which to measure on; one split alone is trained on and nothing is measured."""
    if len(splits) == 1:
        return {"train": splits[0], "val": ""}
    bare = {split.lower().rstrip("0123456789"): split for split in reversed(splits)}
    val = next((bare[word] for word in ("val", "valid", "validation", "test") if word in bare), "")
    return {"train": bare.get("train", splits[0]), "val": val}


def evaluator(recipe: Recipe) -> Callable[[nn.Module], dict[str, float]] | None:
    """Measures a model on the recipe's validation split, or None where it has none."""
    if not recipe.data.val:
        return None
    source = _validation(recipe)

    def evaluate(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        found = evaluate_model(model, source, recipe.preprocess, device=device, batch_size=8)
        return {name: value for name, value in found.scores.numbers.items() if value is not None}

    return evaluate


def sampler(recipe: Recipe) -> Callable[[nn.Module, Path, int], None]:
    """Draws what a model finds in the first pictures of the validation split, or else of the training split."""
    source = _validation(recipe) if recipe.data.val else open_source(recipe, recipe.data.train)
    samples = [source.load(index) for index in range(min(SAMPLE_PICTURES, len(source)))]

    def draw(model: nn.Module, folder: Path, step: int) -> None:
        found = find(model, samples, recipe.preprocess, threshold=0.5)
        cells = [found_cell(sample, each, source.names) for sample, each in zip(samples, found, strict=True)]
        write_picture(folder / f"step-{step:06d}.png", cells, heading=f"step {step}: found, of how many")

    return draw


def _validation(recipe: Recipe) -> SampleSource:
    if recipe.data.path == "scenes":
        return open_source(recipe, recipe.data.val)
    return open_source(recipe, recipe.data.val, like=open_source(recipe, recipe.data.train))
