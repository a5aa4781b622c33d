"""Run a training in a process of its own: RECIPE OUT [--resume] [--poison INDEX] [section.key=value ...]."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console

from sleuth.data.samples import Sample, SampleSource
from sleuth.training.recipe import load_recipe
from sleuth.training.sources import open_source
from sleuth.training.train import TrainingResult, train

TINY = Path(__file__).parent / "tiny.toml"


@dataclass(frozen=True)
class Poisoned:
    """A source in which some samples have a box that is not a number."""

    source: SampleSource
    indices: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.source.names

    @property
    def category_ids(self) -> tuple[int, ...]:
        return self.source.category_ids

    @property
    def is_thing(self) -> tuple[bool, ...]:
        return self.source.is_thing

    def __len__(self) -> int:
        return len(self.source)

    def load(self, index: int) -> Sample:
        sample = self.source.load(index)
        if index not in self.indices:
            return sample
        return replace(sample, boxes_xyxy_px=torch.full_like(sample.boxes_xyxy_px, torch.nan))


def run(
    recipe: Path, out: Path, overrides: Sequence[str] = (), *, poison: Sequence[int] = (), resume: bool = False
) -> TrainingResult:
    settings = load_recipe(recipe, overrides)
    source = Poisoned(open_source(settings, "train"), tuple(poison))
    return train(settings, out, source=source, resume=resume, console=Console(stderr=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--poison", type=int, action="append", default=[])
    arguments = parser.parse_intermixed_args()
    run(arguments.recipe, arguments.out, arguments.overrides, poison=arguments.poison, resume=arguments.resume)


if __name__ == "__main__":
    main()
