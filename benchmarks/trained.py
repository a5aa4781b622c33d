"""Train a recipe and measure what came of it: what the benchmarks of trainings share."""

from pathlib import Path
from typing import Any

from sleuth.evaluation.detection import evaluate_model
from sleuth.nn.folding import FoldedConvolutions
from sleuth.training.recipe import Recipe
from sleuth.training.sources import open_source
from sleuth.training.train import train
from sleuth.weights.resolve import open_model


def train_and_measure(recipe: Recipe, folder: Path, *, layers: bool) -> dict[str, Any]:
    """Train into a folder, and measure once on val: figures, steps, seconds, parameters; of each layer if asked for."""
    result = train(recipe, folder)
    if not result.finished:
        raise SystemExit(f"{folder.name} was stopped; its folder is {folder}")
    loaded = open_model(folder)
    model = loaded.model.eval()
    with FoldedConvolutions(model):
        found = evaluate_model(
            model, open_source(recipe, "val"), loaded.preprocess, layers=layers, model_names=loaded.card.names
        )
    scores = found.scores.numbers
    return {
        "AP": scores["AP"],
        "AP50": scores["AP50"],
        "steps": result.step,
        "skipped": result.skipped,
        "seconds": result.seconds,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "layers": None if found.layers is None else found.layers.to_json(),
    }
