"""Softmax, sigmoid, linear, local and reduced attention in the same small ViT: time, memory and accuracy.

    uv run python benchmarks/attention_variants.py --threads 1 --markdown docs/attention-variants.md

Time and memory are those of four blocks of 192 channels on one picture of growing size: forward pass, and forward and
backward pass. The variants take turns and medians are compared; peak memory is that of a process of its own for each.
Accuracy is top-1 on the held-out fifth of scikit-learn's handwritten digits, after the training of
recipes/vit-digits.toml with fewer epochs and patches of one pixel, so that each picture has 64 tokens. Nothing but the
attention differs, and nothing is chosen by what is held out.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from machine import describe, put_between_marks, sentence, table, write_json
from rich.console import Console
from turns import CLOCKS, Step, add_options, medians, peak_in_a_process, peak_mib, take_turns

from sleuth.cli.train_classification import evaluator
from sleuth.models.vit import VitConfig, build_vit
from sleuth.training.classification_recipe import classification_recipe
from sleuth.training.classification_work import ClassificationWork, checked_source
from sleuth.training.sections import Table, read_toml
from sleuth.training.train import train_work
from sleuth.types import ImageBatch

VARIANTS = ("softmax", "sigmoid", "linear", "local", "reduced")
RADIUS, REDUCTION = 2, 2
SIDES = (8, 16, 32, 64)
"""Rows and columns of patches."""

PASSES = {"forward": "forward pass", "training": "forward and backward pass"}
RECIPE = Path(__file__).parents[1] / "recipes" / "vit-digits.toml"

CONFIG = VitConfig(
    patch_size=16,
    num_classes=10,
    dim=192,
    depth=4,
    num_heads=3,
    feedforward_dim=768,
    pool="mean",
    class_token=False,
    prefix_positions=0,
    positions="sine",
    radius=RADIUS,
    reduction=REDUCTION,
)


def cases() -> Iterator[tuple[str, str, int]]:
    """Name, pass and rows of patches of what is measured."""
    for each in PASSES:
        for side in SIDES:
            yield f"{each}-{side * side}", each, side


# Time and memory


def make_step(each: str, side: int, variant: str, device: str) -> Step:
    """One pass over one picture of so many rows of patches."""
    torch.manual_seed(0)
    model = build_vit(replace(CONFIG, attention=variant)).to(device)
    size = side * CONFIG.patch_size
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    images = ImageBatch(pixels, torch.ones(1, size, size, dtype=torch.bool)).to(device)

    @torch.inference_mode()
    def forward() -> object:
        return model(images).logits

    def training() -> object:
        model(images).logits.logsumexp(-1).sum().backward()
        model.zero_grad(set_to_none=True)
        return None

    return forward if each == "forward" else training


def measure_memory(each: str, side: int, variant: str, device: str) -> float:
    """MiB at the peak of two calls, above a process that has run the smallest picture once."""
    make_step(each, min(SIDES), variant, device)()  # loads the kernels, which are as large for every picture
    return peak_mib(lambda: make_step(each, side, variant, device), device)


def time_case(each: str, side: int, words: argparse.Namespace) -> dict[str, float]:
    steps = {variant: make_step(each, side, variant, words.device) for variant in VARIANTS}
    return medians(take_turns(steps, words.repeats, words.device), VARIANTS, words.clock)


# Accuracy


def recipe_tables(variant: str, seed: int, words: argparse.Namespace) -> Table:
    """The recipe of vit-digits with this attention."""
    tables = read_toml(RECIPE)
    tables["model"] |= {"patch_size": 1, "pool": "mean", "class_token": False, "prefix_positions": 0}
    tables["model"] |= {"attention": variant, "radius": RADIUS, "reduction": REDUCTION}
    run = {"epochs": words.epochs, "evaluate_every": words.epochs, "ema_decay": 0.98, "seed": seed}
    tables["run"] |= run | {"threads": words.threads, "device": words.device}
    return tables


def accuracy(variant: str, seed: int, words: argparse.Namespace) -> tuple[float, int]:
    """Top-1 at the end of one training, and the parameters."""
    recipe = classification_recipe(recipe_tables(variant, seed, words), where=RECIPE)
    work = ClassificationWork(recipe)
    held_out, _ = checked_source(recipe, recipe.data.val, names=tuple(work.source.names))
    with tempfile.TemporaryDirectory() as folder:
        measure = evaluator(recipe, held_out)
        result = train_work(work, Path(folder) / "run", evaluate=measure, console=Console(quiet=True))
    assert result.best_score is not None
    return result.best_score, sum(each.numel() for each in build_vit(work.config).parameters())


# Report


def cost_tables(results: dict[str, Any]) -> str:
    """A table of time and one of memory for either pass: a row a variant, a column a length."""
    found = results["cases"]
    parts = []
    for each, title in PASSES.items():
        for key, unit, digits in (("seconds", "ms", 1), ("memory_mib", "MiB", 0)):
            sides = [side for side in SIDES if key in found.get(f"{each}-{side * side}", {})]
            if not sides:
                continue
            scale = 1000 if key == "seconds" else 1
            rows = [
                [variant, *(f"{scale * found[f'{each}-{side * side}'][key][variant]:,.{digits}f}" for side in sides)]
                for variant in VARIANTS
            ]
            what = f"Time of a {title}" if key == "seconds" else f"Peak memory of a {title}"
            parts.append(f"{what}, {unit}, by tokens:\n\n{table(['', *(f'{s * s:,}' for s in sides)], rows)}")
    clock = f"Medians of {results['repeats']} turns, {CLOCKS[results['clock']]}; float32"
    return "\n\n".join([*parts, f"{clock}. {sentence(results['machine'])}"])


def accuracy_table(results: dict[str, Any]) -> str:
    """A row a variant, a column a seed, and the mean."""
    seeds = range(results["seeds"])
    rows = [
        [variant, f"{found['parameters']:,}", *(f"{score:.3f}" for score in found["top1"]), f"{found['mean']:.3f}"]
        for variant, found in results["accuracy"].items()
    ]
    header = ["", "parameters", *(f"top-1, seed {seed}" for seed in seeds), "mean"]
    return f"{table(header, rows)}\n\n{results['epochs']} epochs each. {sentence(results['machine'])}"


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, [name for name, *_ in cases()], repeats=5)
    parser.add_argument("--no-accuracy", action="store_true", help="train nothing")
    parser.add_argument("--epochs", type=int, default=30, help="of each training")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each variant")
    return parser.parse_args()


def main() -> None:
    words = parse_words()
    torch.set_num_threads(words.threads)
    named = {name: (each, side) for name, each, side in cases()}
    if words.memory_of:
        print(measure_memory(*named[words.memory_of[0]], words.memory_of[1], words.device))
        return
    results: dict[str, Any] = {"machine": describe(words.device), "repeats": words.repeats, "clock": words.clock}
    results |= {"epochs": words.epochs, "seeds": words.seeds, "cases": {}, "accuracy": {}}
    for name, (each, side) in named.items():
        if words.only and name not in words.only:
            continue
        found: dict[str, dict[str, float]] = {}
        if not words.no_time:
            found["seconds"] = time_case(each, side, words)
        if not words.no_memory:
            found["memory_mib"] = {variant: peak_in_a_process(name, variant, words) for variant in VARIANTS}
        if found:
            results["cases"][name] = found
            print(name, found, flush=True)
    for variant in () if words.no_accuracy else VARIANTS:
        runs = [accuracy(variant, seed, words) for seed in range(words.seeds)]
        scores = [score for score, _ in runs]
        results["accuracy"][variant] = {"top1": scores, "mean": statistics.mean(scores), "parameters": runs[0][1]}
        print(variant, results["accuracy"][variant], flush=True)
    if words.json:
        write_json(words.json, results)
    for mark, text in (
        ("attention-cost", cost_tables(results) if results["cases"] else ""),
        ("attention-accuracy", accuracy_table(results) if results["accuracy"] else ""),
    ):
        print(text)
        if words.markdown and text:
            put_between_marks(words.markdown, mark, text)


if __name__ == "__main__":
    main()
