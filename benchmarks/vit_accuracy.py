"""timm's plain ViT by one of our recipes: the same pictures in the same order, loss, optimiser, schedule and time.

    uv run python benchmarks/vit_accuracy.py recipes/vit-cifar.toml --data /path/to/cifar10_jpg --minutes 60 \
        --out runs/vit-cifar-timm

Only the model differs. timm's `VisionTransformer` gets the recipe's dim, depth, heads, patch, activation and
pooling; ``--depth`` and ``--feedforward-dim`` bring it near our number of parameters where the recipe spends some of
them in another place, such as a stem of convolutions. Beside it: `sleuth train` with the same recipe, minutes, threads.
"""

import argparse
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from machine import describe, write_json
from rich.console import Console
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer as TimmTransformer
from torch import Tensor, nn

from sleuth.cli.train_classification import evaluator
from sleuth.training.classification_recipe import classification_recipe
from sleuth.training.classification_work import ClassificationWork, checked_source
from sleuth.training.train import train_work
from sleuth.types.batches import ImageBatch
from sleuth.types.predictions import ClassPrediction


class TimmClassifier(nn.Module):
    """timm's model, which takes and gives what ours does."""

    def __init__(self, model: TimmTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: ImageBatch) -> ClassPrediction:
        """Say what each picture shows."""
        states: Tensor = self.model.forward_features(images.pixels)
        features: Tensor = self.model.forward_head(states, pre_logits=True)
        return ClassPrediction(logits=self.model.head(features), features=features, memory=None)


class TimmWork(ClassificationWork):
    """A classification run with timm's model in the place of ours."""

    def __init__(self, recipe: Any, words: argparse.Namespace) -> None:
        super().__init__(recipe)
        self.words = words

    def assemble(self, *, resume: bool) -> tuple[nn.Module, tuple[str, ...]]:
        """timm's ViT of the recipe's numbers."""
        config = self.config
        hidden = self.words.feedforward_dim or config.feedforward_dim
        model = TimmTransformer(
            img_size=config.image_hw,
            patch_size=config.patch_size,
            num_classes=config.num_classes,
            embed_dim=config.dim,
            depth=self.words.depth or config.depth,
            num_heads=config.num_heads,
            mlp_ratio=hidden / config.dim,
            class_token=config.class_token,
            global_pool={"class": "token", "mean": "avg"}[config.pool],
            drop_path_rate=config.drop_path,
            act_layer={"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}[config.activation],
        )
        return TimmClassifier(model), (f"{sum(p.numel() for p in model.parameters()):,} parameters",)

    def save_model(self, path: Path, model: nn.Module, **notes: object) -> None:
        """Its weights as they are."""
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)


def changed(tables: Mapping[str, Any], words: argparse.Namespace) -> dict[str, Any]:
    """The recipe's tables with what the command line says."""
    data = tables["data"] | {"path": str(words.data)}
    run = tables["run"] | {"minutes": words.minutes, "threads": words.threads, "seed": words.seed}
    run = {key: value for key, value in run.items() if key not in ("steps", "epochs")}
    return {**tables, "data": data, "run": run}


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--depth", type=int, help="blocks, if not the recipe's")
    parser.add_argument("--feedforward-dim", type=int, help="hidden units, if not the recipe's")
    parser.add_argument("--out", type=Path, required=True, help="the run folder")
    return parser.parse_args()


def main() -> None:
    words = parse_words()
    machine = describe()
    recipe = classification_recipe(changed(tomllib.loads(words.recipe.read_text()), words), where=words.recipe)
    work = TimmWork(recipe, words)
    held_out, _ = checked_source(recipe, recipe.data.val, names=tuple(work.source.names))
    result = train_work(work, words.out, evaluate=evaluator(recipe, held_out), console=Console())
    model, _ = work.assemble(resume=True)
    found = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "minutes": words.minutes,
        "best": result.best_score,
        "torch_threads": torch.get_num_threads(),
        "machine": machine,
    }
    write_json(words.out / "result.json", found)
    print(found)


if __name__ == "__main__":
    main()
