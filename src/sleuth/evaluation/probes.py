"""What frozen features are worth: classes told apart by the nearest pictures, or by one linear layer."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import nn

from sleuth.data.classes.samples import ClassSource
from sleuth.evaluation.classification import ClassEvaluation
from sleuth.tasks.preprocess import Preprocess, preprocess_images

Probe = Literal["knn", "linear"]
PROBES: tuple[Probe, ...] = ("knn", "linear")

NEIGHBOURS, TEMPERATURE = 20, 0.07
_ROUNDS = 1000


@dataclass(frozen=True, eq=False)
class Features:
    """What a model's head would read of pictures, and what they show.

    Args:
        values: of each picture.
        labels: its class.
        pictures: its name.
        names: of the classes.
    """

    values: Float32[np.ndarray, "pictures features"]
    labels: Int64[np.ndarray, " pictures"]
    pictures: tuple[str, ...]
    names: tuple[str, ...]


def read_features(
    model: nn.Module,
    source: ClassSource,
    preprocess: Preprocess,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    progress: Callable[[int], object] | None = None,
) -> Features:
    """The features of every picture of a source.

    Args:
        model: in evaluation mode, on the device; its head is not asked.
        source: the pictures.
        preprocess: how pictures become the model's input.
        device: where the model is.
        batch_size: pictures at a time.
        progress: called with the number of pictures done.

    Raises:
        UserError: a picture cannot be read.
    """
    values, labels, pictures = [], [], []
    for first in range(0, len(source), batch_size):
        samples = [source.load(index) for index in range(first, min(first + batch_size, len(source)))]
        with torch.inference_mode():
            images = preprocess_images([sample.image for sample in samples], preprocess).to(device)
            values.append(model(images).features.float().cpu())
        labels += [sample.label for sample in samples]
        pictures += [sample.name for sample in samples]
        if progress is not None:
            progress(len(labels))
    return Features(torch.cat(values).numpy(), np.asarray(labels, dtype=np.int64), tuple(pictures), tuple(source.names))


def probe(kind: Probe, known: Features, asked: Features) -> ClassEvaluation:
    """Tell classes of some pictures apart by the features of others.

    ``knn`` lets the twenty nearest by cosine vote, each with weight exp(similarity / 0.07); ``linear`` fits a
    multinomial logistic regression on features of mean 0 and variance 1.

    Args:
        kind: which of them.
        known: pictures to learn from.
        asked: pictures to measure on, of the same classes.

    Source of knn: Wu et al. 2018, section 3.4; Caron et al. 2021, section 3.
    """
    scores = _by_neighbours(known, asked) if kind == "knn" else _by_regression(known, asked)
    return ClassEvaluation(known.names, asked.pictures, asked.labels, scores)


def _by_neighbours(known: Features, asked: Features) -> Float32[np.ndarray, "pictures classes"]:
    ours, theirs = (torch.nn.functional.normalize(torch.from_numpy(each.values)) for each in (asked, known))
    labels = torch.from_numpy(known.labels)
    found = []
    for rows in ours.split(1024):
        nearest = (rows @ theirs.T).topk(min(NEIGHBOURS, len(theirs)), dim=1)
        votes = torch.zeros(len(rows), len(known.names))
        votes.scatter_add_(1, labels[nearest.indices], (nearest.values / TEMPERATURE).softmax(dim=1))
        found.append(votes)
    return torch.cat(found).numpy()


def _by_regression(known: Features, asked: Features) -> Float32[np.ndarray, "pictures classes"]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_ROUNDS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(known.values, known.labels)
    scores = np.zeros((len(asked.labels), len(known.names)), dtype=np.float32)
    scores[:, fitted.classes_] = fitted.predict_proba(asked.values)
    return scores
