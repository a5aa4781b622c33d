"""`sleuth demo`: the main job, offline, on the bundled weights."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from sleuth.cli.console import out, print_text, progress, tell, try_next
from sleuth.cli.drawing import found_cell, parted_cells, told_segments, write_picture
from sleuth.data.samples import Sample
from sleuth.data.scenes import SceneSource
from sleuth.errors import UserError
from sleuth.evaluation.detection import evaluate_model
from sleuth.explain.trace import trace_model
from sleuth.files import atomic_write, make_folder
from sleuth.nn.folding import FoldedConvolutions
from sleuth.runtime.detections import Detections
from sleuth.runtime.predictor import Predictor
from sleuth.runtime.sources import Frame
from sleuth.tasks.detection import preprocess_images
from sleuth.weights.catalog import CATALOG
from sleuth.weights.resolve import open_model

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = 6
"""Scenes that are listed one by one and drawn."""

THRESHOLD = 0.5
ENLARGE = 4

PANOPTIC_MODEL = "detr-scenes-panoptic"
PANOPTIC_ENLARGE = 3


def run_demo(folder: Path, model: str, scenes: int) -> None:
    """Find, trace, measure, draw, and say what to try next."""
    if scenes < 1:
        raise UserError(f"AP cannot be measured on {scenes} scenes", where="--scenes", mend="give at least 1")
    started = time.monotonic()
    loaded = open_model(model)
    source = SceneSource("test", max(scenes, SHOWN))
    if loaded.card.names != source.names:
        raise UserError("the model was not trained on scenes", where=model, mend="use the bundled sleuth-scenes")
    make_folder(folder)
    samples = [source.load(index) for index in range(SHOWN)]
    found = list(Predictor(loaded).stream((Frame(sample.image, sample.name) for sample in samples), THRESHOLD))

    console = out()
    print_text(f"{model}: what are these {SHOWN} scenes made of? It has never seen them.\n")
    console.print(_overview(samples, found, source.names))
    console.print(_boxes(found[0]))
    trace = trace_model(loaded.model, preprocess_images([samples[0].image], loaded.preprocess), name=model)
    print_text(f"How the tensors flowed, measured on the first scene\n\n{trace.render()}\n")

    with progress("measuring", scenes) as advance, FoldedConvolutions(loaded.model):
        measured = evaluate_model(
            loaded.model,
            SceneSource("test", scenes),
            loaded.preprocess,
            batch_size=20,
            progress=lambda done, _: advance(done),
        )
    numbers = measured.scores.numbers
    shown = "   ".join(f"{name} {numbers[name]:.3f}" for name in ("AP", "AP50", "AP75") if numbers[name] is not None)
    print_text(f"On {scenes} held-out scenes ({measured.truth.num_objects} objects): {shown}\n")

    _draw(folder, samples, found, source.names)
    print_text(f"Pictures: {folder}/found.png, and one by one {folder}/scene-1.png to scene-{SHOWN}.png\n")
    if (parts := _part(folder, samples)) is not None:
        console.print(parts)
        print_text(f"Picture: {folder}/panoptic.png\n")
    print_text(_next(folder, with_panoptic=parts is not None))
    tell(f"done in {time.monotonic() - started:.0f} s")


def _overview(samples: Sequence[Sample], found: Sequence[Detections], names: Sequence[str]) -> "Table":
    """What is in each scene beside what was found, both by name."""
    table = plain_table(f"What it found (score {THRESHOLD:g} and up)", ("scene", "there are", "found", "scores"))
    for sample, each in zip(samples, found, strict=True):
        scores = f"{float(each.scores.min()):.2f} to {float(each.scores.max()):.2f}" if len(each) else ""
        there = ", ".join(sorted(names[label] for label in sample.labels.tolist()))
        table.add_row(sample.name, there, ", ".join(sorted(each.names)) or "nothing", scores)
    return table


def _boxes(found: Detections) -> "Table":
    """The objects of one scene with their boxes."""
    table = plain_table(f"{found.source}, box by box (pixels)", ("object", "score", "left", "top", "width", "height"))
    for entry in found.to_json()["detections"]:
        table.add_row(entry["label"], f"{entry['score']:.2f}", *(f"{value:.1f}" for value in entry["bbox"]))
    return table


def plain_table(title: str, columns: Sequence[str]) -> "Table":
    """A table without frames, for a terminal."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in ("scene", "scores"))
    return table


def _draw(folder: Path, samples: Sequence[Sample], found: Sequence[Detections], names: tuple[str, ...]) -> None:
    """One page of all scenes, and each scene as it is and enlarged with what was found."""
    cells = [found_cell(sample, each, names) for sample, each in zip(samples, found, strict=True)]
    write_picture(folder / "found.png", cells, heading="Scenes that the model has never seen", side=320)
    for number, each in enumerate(found, start=1):
        plain, drawn = Image.fromarray(each.image), each.plot(enlarge=ENLARGE)
        for name, picture in ((f"plain-{number}.png", plain), (f"scene-{number}.png", drawn)):
            with atomic_write(folder / name) as temporary:
                picture.save(temporary)


def _part(folder: Path, samples: Sequence[Sample]) -> "Table | None":
    """Every pixel of the same scenes by the bundled panoptic model, drawn and in a table; None without that model."""
    known = CATALOG.get(PANOPTIC_MODEL)
    if known is None or known.weights is None or not known.weights.is_file():
        return None
    frames = (Frame(sample.image, sample.name) for sample in samples)
    found = list(Predictor(open_model(PANOPTIC_MODEL)).stream(frames, THRESHOLD, masks=False))
    cells, side = parted_cells(found, enlarge=PANOPTIC_ENLARGE)
    heading = f"{PANOPTIC_MODEL}: every pixel of the same scenes"
    write_picture(folder / "panoptic.png", cells, heading=heading, side=side)
    table = plain_table(f"{PANOPTIC_MODEL} parts the same scenes into things and stuff", ("scene", "things", "stuff"))
    for each in found:
        things, stuff = told_segments(each)
        table.add_row(each.source, things, stuff)
    return table


def _next(folder: Path, *, with_panoptic: bool) -> str:
    commands = {
        f"sleuth predict {folder}/plain-1.png --json -": "the same, as numbers",
    }
    if with_panoptic:
        line = f"sleuth predict {folder}/plain-1.png --model {PANOPTIC_MODEL} --panoptic {folder}/maps"
        commands[line] = "its segments, as COCO writes them"
    commands |= {
        "sleuth evaluate --model sleuth-scenes --data scenes --layers": "how each decoder layer improves",
        "sleuth trace --model detr-r50 --size 800x600": "the flow through the paper's model",
        "sleuth data check YOUR-FOLDER": "are my pictures and boxes sound?",
        "sleuth train --data YOUR-FOLDER --out runs/mine": "train on my own pictures",
    }
    return try_next(commands)
