"""Softmax, sigmoid, linear, local and reduced attention in the same small ViT: what each learns.

    uv run python benchmarks/attention_accuracy.py --threads 1 --markdown docs/attention-variants.md

Top-1 on the held-out fifth of scikit-learn's handwritten digits, at the end of a short training of vit-digits without
augmentation, which pays in long trainings only. Nothing but the attention differs between variants, and nothing is
chosen by what is held out.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from machine import describe, sentence, table
from rich.console import Console
from turns import publish

from sleuth.cli.train_classification import evaluator
from sleuth.models.vit import build_vit
from sleuth.training.classification_recipe import classification_recipe
from sleuth.training.classification_work import ClassificationWork, checked_source
from sleuth.training.sections import Table
from sleuth.training.train import train_work

VARIANTS = ("softmax", "sigmoid", "linear", "local", "reduced")


def recipe_tables(variant: str, seed: int, words: argparse.Namespace) -> Table:
    """A short recipe that is the same for all but the attention."""
    return {
        "model": {"name": "vit-digits", "attention": variant, "radius": 1, "reduction": 2},
        "data": {"path": "digits"},
        "augmentation": {"crop": "none", "flip": False},
        "optimizer": {"rate": 3e-3, "batch_size": 32},
        "schedule": {"kind": "cosine", "warmup_steps": 100},
        "run": {
            "epochs": words.epochs,
            "evaluate_every": words.epochs,
            "ema_decay": 0.99,
            "seed": seed,
            "workers": 0,
            "threads": words.threads,
            "device": words.device,
        },
    }


def accuracy(variant: str, seed: int, words: argparse.Namespace) -> tuple[float, int]:
    """Top-1 at the end of one training, and the parameters."""
    recipe = classification_recipe(recipe_tables(variant, seed, words), where=__file__)
    work = ClassificationWork(recipe)
    held_out, _ = checked_source(recipe, recipe.data.val, names=tuple(work.source.names))
    with tempfile.TemporaryDirectory() as folder:
        measure = evaluator(recipe, held_out)
        result = train_work(work, Path(folder) / "run", evaluate=measure, console=Console(quiet=True))
    assert result.best_score is not None
    return result.best_score, sum(each.numel() for each in build_vit(work.config).parameters())


def as_markdown(results: dict[str, Any]) -> str:
    """A row a variant, a column a seed, and the mean."""
    seeds = range(results["seeds"])
    rows = [
        [variant, f"{found['parameters']:,}", *(f"{score:.3f}" for score in found["top1"]), f"{found['mean']:.3f}"]
        for variant, found in results["variants"].items()
    ]
    header = ["", "parameters", *(f"top-1, seed {seed}" for seed in seeds), "mean"]
    return f"{table(header, rows)}\n\n{results['epochs']} epochs each. {sentence(results['machine'])}"


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--epochs", type=int, default=30, help="of each training")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each variant")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--markdown", type=Path, help="put the table between the marks of this page")
    return parser.parse_args()


def main() -> None:
    words = parse_words()
    torch.set_num_threads(words.threads)
    results: dict[str, Any] = {"machine": describe(words.device), "epochs": words.epochs, "seeds": words.seeds}
    results["variants"] = {}
    for variant in VARIANTS:
        runs = [accuracy(variant, seed, words) for seed in range(words.seeds)]
        scores = [score for score, _ in runs]
        results["variants"][variant] = {"top1": scores, "mean": statistics.mean(scores), "parameters": runs[0][1]}
        print(variant, results["variants"][variant], flush=True)
    publish(results, as_markdown(results), "attention-accuracy", words)


if __name__ == "__main__":
    main()
