"""How well the pixels of pictures are parted among classes: mean IoU, and what follows from the confusion of pixels."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from torch import nn

from sleuth.data.semantic.samples import SemanticSource
from sleuth.errors import UserError
from sleuth.evaluation.plain_tables import as_text, new_table, plain
from sleuth.tasks.preprocess import Preprocess
from sleuth.tasks.semantic import UNLABELLED, label_map
from sleuth.tasks.semantic_views import ONE_LOOK, Views, class_scores

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class ClassPixels:
    """What was measured of one class.

    Args:
        name: of the class.
        pixels: that show it.
        found: pixels that were taken for it.
        iou: pixels that show it and were taken for it, of all that do either; None where there are none.
        recall: share of its pixels that were taken for it (its accuracy); None without pixels.
        precision: share of those taken for it that show it; None where there are none.
    """

    name: str
    pixels: int
    found: int
    iou: float | None
    recall: float | None
    precision: float | None


@dataclass(frozen=True, eq=False)
class SemanticEvaluation:
    """Which class pixels were taken for, and everything that follows from it.

    Args:
        names: of the classes.
        confusion: pixels of each class (row) that were taken for which (column); those without a class do not count.
        pictures: name of each picture.
        picture_ious: mean IoU of each picture over the classes that are in it.
    """

    names: tuple[str, ...]
    confusion: Int64[np.ndarray, "truth found"]
    pictures: tuple[str, ...]
    picture_ious: Float64[np.ndarray, " pictures"]

    @property
    def per_class(self) -> tuple[ClassPixels, ...]:
        """What was measured of each class."""
        right: list[int] = self.confusion.diagonal().tolist()
        rows: list[int] = self.confusion.sum(axis=1).tolist()
        columns: list[int] = self.confusion.sum(axis=0).tolist()
        return tuple(
            ClassPixels(
                name=name,
                pixels=rows[label],
                found=columns[label],
                iou=_share(right[label], rows[label] + columns[label] - right[label]),
                recall=_share(right[label], rows[label]),
                precision=_share(right[label], columns[label]),
            )
            for label, name in enumerate(self.names)
        )

    @property
    def numbers(self) -> dict[str, float]:
        """All scores by name.

        ``mIoU`` is the mean over the classes that the truth or the answers have; ``mean class`` over those that the
        truth has. ``weighted IoU`` weighs each class by its pixels.
        """
        rows = self.confusion.sum(axis=1)
        total = max(1, int(rows.sum()))
        ious = [each.iou for each in self.per_class if each.iou is not None]
        recalls = [each.recall for each in self.per_class if each.recall is not None]
        weighted = sum(each.pixels * each.iou for each in self.per_class if each.iou is not None)
        return {
            "mIoU": float(np.mean(ious)) if ious else 0.0,
            "pixel accuracy": float(self.confusion.trace() / total),
            "mean class": float(np.mean(recalls)) if recalls else 0.0,
            "weighted IoU": float(weighted / total),
        }

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            **self.numbers,
            "pictures": len(self.pictures),
            "pixels": int(self.confusion.sum()),
            "names": list(self.names),
            "per_class": [asdict(each) for each in self.per_class],
            "confusion": self.confusion.tolist(),
            "per_picture": [
                {"picture": name, "mIoU": float(iou)}
                for name, iou in zip(self.pictures, self.picture_ious, strict=True)
            ],
        }


def confusion_of(
    truth: UInt8[np.ndarray, "height width"], found: UInt8[np.ndarray, "height width"], classes: int
) -> Int64[np.ndarray, "truth found"]:
    """Pixels of each class (row) that were taken for which (column); unlabelled ones do not count.

    Args:
        truth: class of each pixel; 255 where nobody has said.
        found: class of each pixel, below ``classes``.
        classes: how many there are.
    """
    known = truth != UNLABELLED
    places = truth[known].astype(np.int64) * classes + found[known]
    return np.bincount(places, minlength=classes**2).reshape(classes, classes)


def mean_iou(confusion: Int64[np.ndarray, "truth found"]) -> float:
    """The mean IoU over the classes that the truth or the answers have; 1 where there is nothing to find."""
    right = confusion.diagonal()
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - right
    there = union > 0
    return float((right[there] / union[there]).mean()) if there.any() else 1.0


def evaluate_segmenter(
    model: nn.Module,
    source: SemanticSource,
    preprocess: Preprocess,
    *,
    views: Views = ONE_LOOK,
    progress: Callable[[int], object] | None = None,
) -> SemanticEvaluation:
    """Ask a model for the class of every pixel of a source's pictures, at their own size.

    Args:
        model: in evaluation mode.
        source: pictures of the model's classes, in its order.
        preprocess: how pictures become the model's input.
        views: how each picture is looked at.
        progress: called with the number of pictures done.

    Raises:
        UserError: there are no pictures, or one cannot be read.
    """
    if not len(source):
        raise UserError("there are no pictures to measure on", where="data", mend="check the folder and the split")
    classes = len(source.names)
    total = np.zeros((classes, classes), dtype=np.int64)
    names, ious = [], []
    for index in range(len(source)):
        sample = source.load(index)
        height, width = sample.labels.shape
        scores = class_scores(model, sample.image, preprocess, views)
        own = confusion_of(sample.labels.numpy(), label_map(scores, (height, width)).cpu().numpy(), classes)
        total += own
        names.append(sample.name)
        ious.append(mean_iou(own))
        if progress is not None:
            progress(index + 1)
    return SemanticEvaluation(tuple(source.names), total, tuple(names), np.array(ious))


_MEANINGS = {
    "mIoU": "mean over the classes of pixels that are right, of all that are of the class or taken for it",
    "pixel accuracy": "share of pixels whose class is right",
    "mean class": "mean of the classes' own accuracies",
    "weighted IoU": "IoU of the classes, weighted by their pixels",
}


def semantic_tables(evaluation: SemanticEvaluation) -> "list[Table]":
    """The numbers, and the classes."""
    scores = new_table("Scores", ("number", "value", "meaning"), numbers={"value"})
    for name, value in evaluation.numbers.items():
        scores.add_row(name, f"{value:.4f}", _MEANINGS[name])
    columns = ("class", "share", "IoU", "recall", "precision")
    table = new_table("Classes", columns, numbers=set(columns[1:]))
    total = max(1, int(evaluation.confusion.sum()))
    for row in evaluation.per_class:
        values = (row.iou, row.recall, row.precision)
        shown = ("-" if value is None else f"{value:.3f}" for value in values)
        table.add_row(plain(row.name), f"{row.pixels / total:.2%}", *shown)
    return [scores, table]


def semantic_text(evaluation: SemanticEvaluation) -> str:
    """The tables as plain text."""
    return as_text(semantic_tables(evaluation))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
