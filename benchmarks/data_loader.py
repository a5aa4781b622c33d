"""How long training waits for data: the share of its time, on built-in scenes and on pictures from files.

    uv run --group bench python benchmarks/data_loader.py --pictures /path/to/bccd --markdown benchmarks/README.md

Trains each recipe for a few steps, without evaluation, as `sleuth train` would: the model on one thread, and data
prepared by no, one or two worker processes. The first window of steps is left out, in which workers start and
memory grows. Beside it, how many pictures a second the data alone would give.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from machine import describe, put_between_marks, sentence, table, write_json
from rich.console import Console

from sleuth.data.samples import SampleSource
from sleuth.data.stream import TrainingStream
from sleuth.training.recipe import Recipe, load_recipe
from sleuth.training.sources import open_source
from sleuth.training.train import train

RECIPES = Path(__file__).parents[1] / "recipes"
WINDOWS = 4


@dataclass(frozen=True)
class Found:
    """What one short training came to.

    Args:
        recipe: its file's name.
        workers: processes that prepared data.
        pictures_per_s: trained on.
        waiting: share of the time spent waiting for data, 0 to 1.
        data_alone_per_s: pictures that one process prepares in a second with nothing else to do.
    """

    recipe: str
    workers: int
    pictures_per_s: float
    waiting: float
    data_alone_per_s: float


def data_alone(recipe: Recipe, source: SampleSource, batches: int) -> float:
    """Pictures a second from the stream in this process, without a model."""
    stream = TrainingStream(source, recipe.augmentation, batch_size=recipe.optimizer.batch_size, seed=recipe.run.seed)
    served = stream.epoch(0)
    next(served)
    began, count = time.perf_counter(), 0
    for _, (images, _targets) in zip(range(batches), served, strict=False):
        count += len(images.pixels)
    return count / (time.perf_counter() - began)


def measure(name: str, overrides: list[str], *, workers: int, steps: int) -> Found:
    """Train for a while and read the run's own metrics."""
    settings = ["run.epochs=0", f"run.steps={steps}", f"run.log_every={steps // WINDOWS}", f"run.workers={workers}"]
    settings += ["run.evaluate_every=0", "run.checkpoint_every=0", "run.threads=1", "run.device=cpu"]
    recipe = load_recipe(RECIPES / name, [*overrides, *settings])
    source = open_source(recipe, recipe.data.train)
    alone = data_alone(recipe, source, batches=min(10, steps))
    with tempfile.TemporaryDirectory() as folder:
        train(recipe, Path(folder) / "run", source=source, console=Console(quiet=True))
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    windows = [record for record in map(json.loads, lines) if "waiting" in record][1:]
    # Windows have the same number of pictures, so times add up as the inverses of speeds.
    time_of = [1 / window["pictures_per_s"] for window in windows]
    waiting = sum(t * window["waiting"] for t, window in zip(time_of, windows, strict=True)) / sum(time_of)
    return Found(Path(name).stem, workers, len(windows) / sum(time_of), waiting, alone)


def as_markdown(found: list[Found], machine: dict[str, object]) -> str:
    rows = [
        [
            f"`{one.recipe}`, {one.workers} worker{'s' if one.workers != 1 else ''}",
            f"{one.pictures_per_s:.0f}",
            f"{one.waiting:.1%}",
            f"{one.data_alone_per_s:.0f}",
        ]
        for one in found
    ]
    header = ["training", "pictures/s", "waiting for data", "pictures/s of the data alone, one process"]
    return f"{table(header, rows)}\n\nThe model on one thread. {sentence(machine)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="a folder of pictures for recipes/detr-bccd.toml")
    parser.add_argument("--steps", type=int, default=80, help="steps of each training")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--markdown", type=Path, help="put the table between the marks of this page")
    words = parser.parse_args()
    torch.set_num_threads(1)
    machine = describe()
    cases = [("detr-scenes.toml", [])]
    if words.pictures:
        cases.append(("detr-bccd.toml", [f"data.path={words.pictures}"]))
    found = []
    for name, overrides in cases:
        for workers in words.workers:
            found.append(measure(name, overrides, workers=workers, steps=words.steps))
            print(found[-1], flush=True)
    page = as_markdown(found, machine)
    print(page)
    if words.json:
        write_json(words.json, {"machine": machine, "found": [vars(one) for one in found]})
    if words.markdown:
        put_between_marks(words.markdown, "data-loader", page)


if __name__ == "__main__":
    main()
