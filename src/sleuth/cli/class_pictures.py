"""Pictures with the class that they were taken for."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from sleuth.render.sheet import Cell
from sleuth.tasks.classification import Guess

_LEAST_SIDE = 160


def guess_cell(image: UInt8[Tensor, "3 _ _"], guess: Guess, *, truth: str | None = None) -> Cell:
    """A cell of a page: the picture, what it was taken for with its score, and the truth where that is another."""
    wrong = truth is not None and truth != guess.name
    title = f"{guess.name} {guess.score:.2f}" + (f" (is {truth})" if wrong else "")
    none = np.zeros((0, 4), dtype=np.float32)
    return Cell(enlarged(image), title, none, np.zeros(0, dtype=np.int64))


def enlarged(image: UInt8[Tensor, "3 _ _"], least: int = _LEAST_SIDE) -> UInt8[np.ndarray, "height width 3"]:
    """A picture for people: a small one is shown with its pixels as squares."""
    times = max(1, least // max(image.shape[1:]))
    shown = F.interpolate(image[None].to(torch.uint8), scale_factor=times, mode="nearest")[0] if times > 1 else image
    return shown.permute(1, 2, 0).contiguous().numpy()
