"""`sleuth demo classify`: a picture as words, on the bundled weights."""

import time
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from sleuth.cli.class_pictures import enlarged, guess_cell
from sleuth.cli.console import out, print_text, tell, try_next
from sleuth.cli.drawing import write_picture
from sleuth.data.classes.digits import DigitPictures
from sleuth.data.classes.samples import ClassSample, FirstPictures
from sleuth.errors import UserError
from sleuth.evaluation.classification import class_tables, evaluate_classifier
from sleuth.explain.class_attention import ClassAttention, look_at_patches
from sleuth.files import make_folder
from sleuth.render.sheet import Cell
from sleuth.tasks.classification import Guess, decode_classes
from sleuth.tasks.preprocess import preprocess_images
from sleuth.weights.classifiers import open_classifier

MODEL = "vit-digits"
SHOWN = 6
PATCHES = 4
SIDE = 240

_HEAT = np.array([209, 73, 91], dtype=np.float32)


def run_demo_classify(folder: Path, model: str, count: int | None = None) -> None:
    """Name digits that the model has never seen, show what it looked at, and measure how often it is right."""
    started = time.monotonic()
    if count is not None and count < 1:
        raise UserError(f"nothing can be measured on {count} pictures", where="--scenes", mend="give at least 1")
    loaded = open_classifier(model)
    source = DigitPictures("val")
    if loaded.names != source.names:
        raise UserError("the model was not trained on digits", where=model, mend=f"use the bundled {MODEL}")
    make_folder(folder)
    samples = [source.load(place * len(source) // SHOWN) for place in range(SHOWN)]
    images = preprocess_images([sample.image for sample in samples], loaded.preprocess)
    prediction, looks = look_at_patches(loaded.model, images)
    found = decode_classes(prediction, loaded.names)
    rows, columns = looks[0].rollout.shape
    config = loaded.config
    print_text(
        f"{model}: a picture of {config.image_hw[0]}x{config.image_hw[1]} pixels is a sentence of {rows} x {columns} = "
        f"{rows * columns} words, patches of {config.patch_size}x{config.patch_size},\nand a class token "
        f"that asks them, {config.depth} blocks long, what they show. It has never seen these {SHOWN}.\n"
    )
    for sample, guesses, look in zip(samples, found, looks, strict=True):
        named = ", ".join(f"{guess.name} {guess.score:.3f}" for guess in guesses)
        patches = ", ".join(f"{row + 1}/{column + 1}" for row, column in look.best_patches(PATCHES))
        print_text(f"{sample.name} is a {source.names[sample.label]}: {named}\n  looked most at (row/column) {patches}")
    held_out = source if count is None else FirstPictures(source, count)
    evaluation = evaluate_classifier(loaded.model, held_out, loaded.preprocess)
    print_text(f"\nOn {len(held_out)} held-out digits")
    console = out()
    for table in class_tables(evaluation):
        console.print(table)
    cells = [cell for trio in zip(samples, found, looks, strict=True) for cell in _cells(*trio, source.names)]
    heading = "Guess; attention of the class token in the last block; the patches that contributed most"
    write_picture(folder / "classify.png", cells, heading=heading, side=SIDE, columns=3)
    print_text(f"Picture: {folder}/classify.png\n")
    print_text(
        try_next(
            {
                f"sleuth evaluate --model {model} --out {folder}/report": "confusion and calibration as pictures",
                "sleuth trace --model vit-s16": "the shape of every tensor on its way through ViT",
                "sleuth train --data digits --out runs/digits": "the same, trained anew",
                "sleuth train --data YOUR-FOLDER --out runs/mine": "on folders of your own classes",
            }
        )
    )
    tell(f"done in {time.monotonic() - started:.0f} s")


def _cells(sample: ClassSample, guesses: list[Guess], look: ClassAttention, names: tuple[str, ...]) -> list[Cell]:
    """The picture with its guess, with attention as heat, and with all but the best patches faded."""
    plain = guess_cell(sample.image, guesses[0], truth=names[sample.label])
    shown = enlarged(sample.image, SIDE)
    best = np.zeros(tuple(look.rollout.shape), dtype=np.float32)
    for row, column in look.best_patches(PATCHES):
        best[row, column] = 1.0
    none, labels = np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64)
    return [
        plain,
        Cell(heated(shown, look.last), "attention", none, labels),
        Cell(_faded(shown, best), f"its {PATCHES} patches", none, labels),
    ]


def heated(
    picture: UInt8[np.ndarray, "height width 3"], weights: Float[Tensor, "rows columns"]
) -> UInt8[np.ndarray, "height width 3"]:
    """A picture with red where attention is, the most where it is most."""
    heat = _spread(weights.cpu().numpy() / max(float(weights.max()), 1e-12), picture.shape[:2])
    return (picture * (1 - 0.7 * heat) + _HEAT * (0.7 * heat)).round().astype(np.uint8)


def _faded(picture: np.ndarray, keep: np.ndarray) -> np.ndarray:
    shown = _spread(keep, picture.shape[:2])
    return (picture * (0.25 + 0.75 * shown) + 48 * (1 - shown)).clip(0, 255).round().astype(np.uint8)


def _spread(values: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """Each value over the pixels of its patch, for all three colours."""
    rows = np.arange(size_hw[0]) * values.shape[0] // size_hw[0]
    columns = np.arange(size_hw[1]) * values.shape[1] // size_hw[1]
    return values[rows][:, columns][..., None].astype(np.float32)
