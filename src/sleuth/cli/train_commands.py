"""The words of `sleuth train`, `merge` and `average`. The work is imported when one runs."""

from pathlib import Path
from typing import Annotated

import typer

from sleuth.cli.options import TileOverlap, TileSize


def train(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe, a TOML file; or else --data.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="COCO, VOC or YOLO data, or scenes; folders of classes, or digits; pairs of sentences, or numbers."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="A model to fine-tune, by name or file, or an architecture; or it is chosen."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Start the architecture of --model from these weights.")] = None,
    scratch: Annotated[bool, typer.Option("--scratch", help="Of --model, take the architecture alone.")] = False,
    freeze: Annotated[
        str | None, typer.Option(help="Parts not to train, such as backbone,encoder; detector is all but masks.")
    ] = None,
    lora: Annotated[int | None, typer.Option(help="Train adapters of this rank beside frozen weights (LoRA).")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; by default a new one in runs/.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out where it was stopped.")] = False,
    epochs: Annotated[int | None, typer.Option(help="Passes over the pictures.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps, instead of epochs.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Minutes of training on this machine, instead of epochs.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures in a step, on each device.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    scale: Annotated[int | None, typer.Option(help="Shorter side of the pictures in pixels.")] = None,
    format: Annotated[str | None, typer.Option(help="coco, voc or yolo; found out if not named.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures, where it is elsewhere.")] = None,
    annotations: Annotated[
        str | None, typer.Option(help="What to learn of the data: boxes; instances or panoptic, with masks; semantic.")
    ] = None,
    tile: TileSize = None,
    tile_overlap: TileOverlap = None,
    languages: Annotated[
        str | None, typer.Option(help="Of text: from which to which, such as en-de; where there is more than one way.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    devices: Annotated[int | None, typer.Option(help="Processes that train together.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that prepare data.")] = None,
    skip_faulty: Annotated[
        bool, typer.Option("--skip-faulty", help="Leave out pictures that the checks find fault with.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write curves for TensorBoard too.")] = False,
    set: Annotated[list[str] | None, typer.Option("--set", help="Override a value: section.key=value.")] = None,
) -> None:
    """Train by a recipe, or on a folder of pictures or of text.

    What is said here goes before what the recipe says, and --set before all. With --data and no --model, one of
    sleuth-n, -s, -m and -l is taken that suits the pictures and the machine, with a size, a length and all other
    settings; it says which and why, and how long it will take.
    """
    from sleuth.cli.train import run_train
    from sleuth.cli.train_words import TrainWords

    words = TrainWords(
        data=data,
        model=model,
        weights=weights,
        scratch=scratch,
        freeze=freeze,
        lora=lora,
        epochs=epochs,
        steps=steps,
        minutes=minutes,
        batch_size=batch_size,
        rate=rate,
        scale=scale,
        format=format,
        images=images,
        annotations=annotations,
        tile=tile,
        tile_overlap=tile_overlap,
        seed=seed,
        device=device,
        devices=devices,
        workers=workers,
        skip_faulty=skip_faulty,
        tensorboard=tensorboard,
        languages=languages,
        overrides=tuple(set or ()),
    )
    raise typer.Exit(run_train(recipe, words, out, resume=resume))


def merge(
    adapter: Annotated[Path, typer.Argument(help="A folder of adapters, such as RUN/best-adapter.")],
    out: Annotated[Path, typer.Option(help="The model file to write, a .safetensors file.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model they belong to; by default the one that they name.")
    ] = None,
) -> None:
    """Add LoRA adapters into the model that they were trained beside.

    The result is an ordinary model file, as the best.safetensors of their run.
    """
    from sleuth.cli.merge import run_merge

    run_merge(adapter, model, out)


def average(
    models: Annotated[list[Path], typer.Argument(help="Model files, or run folders that kept checkpoints.")],
    out: Annotated[Path, typer.Option(help="The model file to write, a .safetensors file.")],
    last: Annotated[int, typer.Option(help="Only so many, the last ones; 0 takes all.")] = 0,
) -> None:
    """Average the weights of checkpoints of one training.

    `--set run.keep_checkpoints=5` lets a training keep those of its latest evaluations. The mean often answers better
    than each of them, above all in translation. A running average (run.ema_decay) does the same while training.
    """
    from sleuth.cli.merge import run_average

    run_average(models, out, last)
