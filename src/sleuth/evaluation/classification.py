"""How well a classifier tells classes apart, and whether its scores mean what they say."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import nn

from sleuth.data.classes.samples import ClassSource
from sleuth.errors import UserError
from sleuth.evaluation.plain_tables import as_text, new_table, plain
from sleuth.tasks.preprocess import Preprocess, preprocess_images

if TYPE_CHECKING:
    from rich.table import Table

BINS = 15
"""Intervals of scores in which calibration is measured, as in Guo et al. 2017."""


@dataclass(frozen=True)
class ClassQuality:
    """What was measured of one class.

    Args:
        name: of the class.
        pictures: how many show it.
        guessed: how many were taken for it.
        recall: share of its pictures that were taken for it (its accuracy); None without pictures.
        precision: share of those taken for it that show it; None where there are none.
        top5: share of its pictures with it among the five likeliest; None without pictures.
    """

    name: str
    pictures: int
    guessed: int
    recall: float | None
    precision: float | None
    top5: float | None


@dataclass(frozen=True, eq=False)
class ClassEvaluation:
    """The answers of a classifier beside the truth, and everything that follows from them.

    Args:
        names: of the classes.
        pictures: name of each picture.
        labels: what each shows.
        scores: probability of each class for each picture.
    """

    names: tuple[str, ...]
    pictures: tuple[str, ...]
    labels: Int64[np.ndarray, " pictures"]
    scores: Float32[np.ndarray, "pictures classes"]

    @property
    def guesses(self) -> Int64[np.ndarray, " pictures"]:
        """The likeliest class of each picture."""
        return self.scores.argmax(axis=1)

    def top(self, count: int) -> np.ndarray:
        """Whether the right class is among so many likeliest; of equal scores the earlier class comes first."""
        own = np.take_along_axis(self.scores, self.labels[:, None], axis=1)
        before = np.arange(len(self.names)) < self.labels[:, None]
        above = (self.scores > own) | ((self.scores == own) & before)
        return above.sum(axis=1) < count

    @property
    def confusion(self) -> Int64[np.ndarray, "truth guess"]:
        """How many pictures of each class (row) were taken for which (column)."""
        counts = np.zeros((len(self.names), len(self.names)), dtype=np.int64)
        np.add.at(counts, (self.labels, self.guesses), 1)
        return counts

    @property
    def per_class(self) -> tuple[ClassQuality, ...]:
        """What was measured of each class."""
        counts, top5 = self.confusion, self.top(5)
        rows, columns = counts.sum(axis=1), counts.sum(axis=0)
        return tuple(
            ClassQuality(
                name=name,
                pictures=int(rows[label]),
                guessed=int(columns[label]),
                recall=float(counts[label, label] / rows[label]) if rows[label] else None,
                precision=float(counts[label, label] / columns[label]) if columns[label] else None,
                top5=float(top5[self.labels == label].mean()) if rows[label] else None,
            )
            for label, name in enumerate(self.names)
        )

    @property
    def reliability(self) -> list[tuple[int, float, float]]:
        """Of each interval of scores: how many best guesses lie in it, their mean score, the share of right ones."""
        best = self.scores.max(axis=1)
        # An interval holds its upper end.
        places = np.clip(np.ceil(best * BINS).astype(int) - 1, 0, BINS - 1)
        right = self.guesses == self.labels
        found = []
        for place in range(BINS):
            here = places == place
            count = int(here.sum())
            found.append((count, float(best[here].mean()), float(right[here].mean())) if count else (0, 0.0, 0.0))
        return found

    @property
    def numbers(self) -> dict[str, float]:
        """All scores by name.

        ``ECE`` is the expected calibration error: how far, on average, the score of the best guess lies from the share
        of such guesses that is right (Guo et al. 2017, equation 3). ``mean class`` is the mean of each class's own
        accuracy.
        """
        own = np.take_along_axis(self.scores, self.labels[:, None], axis=1)[:, 0].astype(np.float64)
        recalls = [each.recall for each in self.per_class if each.recall is not None]
        error = sum(count * abs(score - share) for count, score, share in self.reliability) / len(self.labels)
        return {
            "top-1": float(self.top(1).mean()),
            "top-5": float(self.top(5).mean()),
            "mean class": float(np.mean(recalls)),
            "NLL": float(-np.log(np.maximum(own, 1e-12)).mean()),
            "ECE": float(error),
        }

    def to_json(self) -> dict[str, Any]:
        """Everything but the single answers, as plain values."""
        return {
            **self.numbers,
            "pictures": len(self.labels),
            "names": list(self.names),
            "per_class": [asdict(each) for each in self.per_class],
            "confusion": self.confusion.tolist(),
            "reliability": [
                {"from": place / BINS, "to": (place + 1) / BINS, "pictures": count, "score": score, "right": share}
                for place, (count, score, share) in enumerate(self.reliability)
            ],
        }


def evaluate_classifier(
    model: nn.Module,
    source: ClassSource,
    preprocess: Preprocess,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    progress: Callable[[int], object] | None = None,
) -> ClassEvaluation:
    """Ask a classifier what every picture of a source shows.

    Args:
        model: in evaluation mode, on the device.
        source: pictures of the model's classes, in its order.
        preprocess: how pictures become the model's input.
        device: where the model is.
        batch_size: pictures at a time.
        progress: called with the number of pictures done.

    Raises:
        UserError: there are no pictures, or one cannot be read.
    """
    if not len(source):
        raise UserError("there are no pictures to measure on", where="data", mend="check the folder and the split")
    names, labels, scores = [], [], []
    for first in range(0, len(source), batch_size):
        samples = [source.load(index) for index in range(first, min(first + batch_size, len(source)))]
        with torch.inference_mode():
            images = preprocess_images([sample.image for sample in samples], preprocess).to(device)
            scores.append(model(images).logits.float().softmax(dim=1).cpu())
        names += [sample.name for sample in samples]
        labels += [sample.label for sample in samples]
        if progress is not None:
            progress(len(names))
    return ClassEvaluation(
        names=tuple(source.names),
        pictures=tuple(names),
        labels=np.asarray(labels, dtype=np.int64),
        scores=torch.cat(scores).numpy(),
    )


_MEANINGS = {
    "top-1": "the likeliest class is right",
    "top-5": "the right class is among the five likeliest",
    "mean class": "mean of the classes' own accuracies",
    "NLL": "mean negative log-probability of the right class",
    "ECE": f"how far scores are from the share that is right, in {BINS} intervals",
}


def class_tables(evaluation: ClassEvaluation, most_classes: int | None = None) -> "list[Table]":
    """The numbers, and the classes, those with the most mistakes first if there are too many to show."""
    scores = new_table("Scores", ("number", "value", "meaning"), numbers={"value"})
    for name, value in evaluation.numbers.items():
        scores.add_row(name, f"{value:.4f}", _MEANINGS[name])
    rows: Sequence[ClassQuality] = evaluation.per_class
    title = "Classes"
    if most_classes is not None and len(rows) > most_classes:
        worst = sorted(rows, key=lambda row: -row.pictures * (1 - (row.recall or 0.0)))
        title, rows = f"Classes: the {most_classes} with the most mistakes of {len(rows)}", worst[:most_classes]
    columns = ("class", "pictures", "guessed", "recall", "precision", "top-5")
    table = new_table(title, columns, numbers=set(columns[1:]))
    for row in rows:
        values = (row.recall, row.precision, row.top5)
        shown = ("-" if value is None else f"{value:.3f}" for value in values)
        table.add_row(plain(row.name), f"{row.pictures:,}", f"{row.guessed:,}", *shown)
    return [scores, table]


def class_text(evaluation: ClassEvaluation) -> str:
    """The tables as plain text."""
    return as_text(class_tables(evaluation))


def answers_text(evaluation: ClassEvaluation) -> str:
    """A JSON object a line for each picture, the surest mistakes first: truth, guess and its score."""
    best, guesses = evaluation.scores.max(axis=1), evaluation.guesses
    order = np.lexsort((-best, guesses == evaluation.labels))
    return "".join(
        json.dumps(
            {
                "picture": evaluation.pictures[row],
                "truth": evaluation.names[evaluation.labels[row]],
                "guess": evaluation.names[guesses[row]],
                "score": round(float(best[row]), 6),
            },
            ensure_ascii=False,
        )
        + "\n"
        for row in order
    )
