"""What `sleuth train` takes where no model is named."""

import math
from collections.abc import Callable
from dataclasses import replace

from sleuth.cli.sizes import parse_tiling
from sleuth.cli.splits import detection_splits
from sleuth.cli.train_words import EVALUATIONS, USUAL_STEPS, TrainWords, set_length, steps_and_length
from sleuth.data.checks import check_data
from sleuth.data.fullness import training_fullness
from sleuth.data.open import open_data
from sleuth.data.records import DetectionData
from sleuth.data.source import PictureSource
from sleuth.data.tiled import TiledSource
from sleuth.geometry.tiles import Tiling
from sleuth.training.choice import Choice, choose
from sleuth.training.facts import DataFacts, facts_of
from sleuth.training.machine import Machine, this_machine
from sleuth.training.recipe import augmentation_from_table
from sleuth.training.sections import Table
from sleuth.training.sources import BUILT_IN_DATA

SCENES_SIDE = 192

_SCENES = DataFacts(
    pictures=100_000,
    size_hw=(128, 128),
    small_share=0.125,
    most_objects=7,
    mean_objects=4.0,
    class_counts=(),
)


def tables_of_choice(words: TrainWords, say: Callable[[str], object]) -> Table:
    """A recipe of the detector, the sizes and the settings that suit the data and the machine."""
    machine = this_machine(words.device or "auto")
    data: Table = {"path": words.data, "cache": "auto"}
    run: Table = {}
    set_length(run, words)
    if words.data == BUILT_IN_DATA:
        choice, pictures = _for_scenes(machine, words.scale, words.batch_size)
        run, measured = run or {"steps": USUAL_STEPS}, True
    else:
        data |= detection_splits(words, str(words.data))
        choice, pictures = _for_pictures(
            open_data(str(words.data), words.format, data["train"], words.images),
            machine,
            tiling=parse_tiling(words.tile, words.tile_overlap),
            skip_faulty=words.skip_faulty,
            shortest=words.scale,
            batch_size=words.batch_size,
            length=next((f"{value:g} {unit}" for unit, value in run.items()), ""),
        )
        run, measured = run or {"epochs": choice.epochs}, bool(data["val"])
    total, length = steps_and_length(run, max(1, pictures // choice.batch_size))
    run |= choice.run | {"log_every": 10, "checkpoint_every": 200}
    run |= {"evaluate_every": max(1, int(length) // EVALUATIONS), "ema_decay": 0.998 if total >= 1000 else 0.98}
    if measured:
        # A third of the evaluations without a better score, and it is over.
        run["patience"] = max(5, math.ceil(length / run["evaluate_every"] / 3))
    optimizer = dict(choice.optimizer)
    if words.rate is not None:
        optimizer |= {"rate": words.rate, "backbone_rate": words.rate}
    for line in (*choice.reasons, *(f"warning: {warning}" for warning in choice.warnings)):
        say(line)
    return {
        "model": {"name": choice.name, "num_queries": choice.num_queries},
        "data": data,
        "preprocess": choice.preprocess,
        "augmentation": dict(choice.augmentation),
        "optimizer": optimizer,
        "schedule": choice.schedule | {"warmup_steps": min(200, max(1, total // 10))},
        "run": run,
    }


def _for_pictures(
    data: DetectionData,
    machine: Machine,
    *,
    tiling: Tiling | None,
    skip_faulty: bool,
    shortest: int | None,
    batch_size: int | None,
    length: str,
) -> tuple[Choice, int]:
    """The training that suits somebody's pictures, and how many there are to train on.

    Args:
        data: the split to train on.
        machine: where the training will run.
        tiling: how pictures are cut, if they are.
        skip_faulty: leave faulty pictures out.
        shortest: shorter side of the pictures in pixels, if it was said.
        batch_size: pictures in a step, if it was said.
        length: of the run in words, if it was said.

    Raises:
        UserError: faults that training cannot go on with, no pictures, or no objects in any.
    """
    report = check_data(data)
    if skip_faulty and report.errors:
        data = data.without_faulty(report)
        report = check_data(data)
    report.raise_if_fatal()
    facts, pictures = facts_of(data, tiling), PictureSource(data)
    source = pictures if tiling is None else TiledSource(pictures, tiling)
    choice = choose(
        facts,
        machine,
        shortest=shortest,
        batch_size=batch_size,
        length=length,
        objects_with=lambda table: training_fullness(source, augmentation_from_table(table, "[augmentation]")).usual,
    )
    return choice, facts.pictures


def _for_scenes(machine: Machine, shortest: int | None, batch_size: int | None) -> tuple[Choice, int]:
    """The training for the built-in scenes, and how many of them make an epoch.

    They are small and easy, so that the smallest detector does on any machine. Signs have a left and a right.
    """
    choice = choose(_SCENES, replace(machine, gpu_memory=None), shortest=shortest or SCENES_SIDE, batch_size=batch_size)
    augmentation = {"fit": list(choice.fit), "flip": False}
    reasons = (f"{choice.name}, the smallest: the scenes are small, and seen at {choice.shortest} pixels",)
    return replace(choice, augmentation=augmentation, reasons=reasons, warnings=()), _SCENES.pictures
