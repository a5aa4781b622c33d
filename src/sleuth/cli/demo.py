"""`sleuth demo`: the main job, offline, on the bundled weights."""

import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.table import Table

from sleuth.cli.console import err, out, progress
from sleuth.cli.drawing import find, found_cell, write_picture
from sleuth.data.samples import Sample
from sleuth.data.scenes import SceneSource
from sleuth.errors import UserError
from sleuth.evaluation.detection import evaluate_model
from sleuth.explain.trace import trace_model
from sleuth.files import atomic_write, make_folder
from sleuth.render.boxes import draw_boxes
from sleuth.runtime.models import open_model
from sleuth.tasks.detection import preprocess_images

SHOWN = 6
"""Scenes that are listed one by one and drawn."""


def run_demo(folder: Path, model: str, scenes: int) -> None:
    """Find, measure, draw, and say what to try next."""
    if scenes < 1:
        raise UserError(f"AP cannot be measured on {scenes} scenes", where="--scenes", mend="give at least 1")
    started = time.monotonic()
    make_folder(folder)
    loaded = open_model(model)
    source = SceneSource("test", max(scenes, SHOWN))
    if loaded.card.names != source.names:
        raise UserError("the model was not trained on scenes", where=model, mend="use the bundled detr-scenes")
    samples = [source.load(index) for index in range(SHOWN)]
    console = out()
    console.print(f"[bold]Sleuth[/bold] {model}: objects in scenes that it has never seen\n")

    found = find(loaded.model, samples, loaded.preprocess, threshold=0.5)
    table = Table("scene", "there are", "found", title="What it found (score 0.5 and up)", title_justify="left")
    for sample, each in zip(samples, found, strict=True):
        told = [f"{source.names[i]} {s:.2f}" for i, s in zip(each.labels.tolist(), each.scores.tolist(), strict=True)]
        table.add_row(sample.name, ", ".join(sorted(source.names[i] for i in sample.labels.tolist())), ", ".join(told))
    console.print(table)

    trace = trace_model(loaded.model, preprocess_images([samples[0].image], loaded.preprocess), name=model)
    console.print(f"\nHow the tensors flowed, for one scene\n{trace.render()}", markup=False)

    with progress("measuring", scenes) as advance:
        measured = evaluate_model(
            loaded.model,
            SceneSource("test", scenes),
            loaded.preprocess,
            batch_size=20,
            progress=lambda n, _: advance(n),
        )
    numbers = measured.scores.numbers
    shown = "   ".join(f"{name} {numbers[name]:.3f}" for name in ("AP", "AP50", "AP75") if numbers[name] is not None)
    console.print(f"\nOn {scenes} held-out scenes: [bold]{shown}[/bold]")

    cells = [found_cell(sample, each, source.names) for sample, each in zip(samples, found, strict=True)]
    write_picture(folder / "found.png", cells, heading="found, of how many", side=320)
    for number, (sample, each) in enumerate(zip(samples, found, strict=True), start=1):
        _write_pair(folder, number, sample, each.boxes_xyxy_px, each.labels)
    console.print(f"Pictures: {folder / 'found.png'} and {folder}/scene-1.png to scene-{SHOWN}.png\n", markup=False)
    console.print(
        "Try next:\n"
        f"  sleuth predict {folder}/plain-1.png --json -            the same, as numbers\n"
        "  sleuth evaluate --model detr-scenes --data scenes --layers   how each decoder layer improves\n"
        "  sleuth trace --model detr-r50 --size 800x600            the flow through the paper's model\n"
        "  sleuth data check YOUR-FOLDER                           is my data sound?\n"
        "  sleuth train --data YOUR-FOLDER                         train on my own pictures",
        markup=False,
    )
    err().print(f"done in {time.monotonic() - started:.0f} s")


def _write_pair(
    folder: Path, number: int, sample: Sample, boxes: torch.Tensor, labels: torch.Tensor, enlarge: int = 3
) -> None:
    """The scene as it is, and enlarged with what was found."""
    plain = Image.fromarray(sample.image.movedim(0, -1).numpy())
    large = plain.resize((plain.width * enlarge, plain.height * enlarge), Image.Resampling.LANCZOS)
    drawn = draw_boxes(np.asarray(large), boxes.double().numpy() * enlarge, labels.numpy(), ())
    for name, picture in ((f"plain-{number}.png", plain), (f"scene-{number}.png", Image.fromarray(drawn))):
        with atomic_write(folder / name) as temporary:
            picture.save(temporary)
