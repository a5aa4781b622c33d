"""Small ground truths and predictions, written as rows."""

import numpy as np
import pytest

from sleuth.evaluation.columns import GroundTruth, Predictions

SIDE = 100.0


def _boxes(rows) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


@pytest.fixture
def truth_of():
    """A function from rows (picture, label, x, y[, crowd]) to a ground truth of boxes 100 x 100."""

    def make(rows, pictures=1, names=("cat", "dog"), side=SIDE, image_ids=None):
        return GroundTruth(
            image_ids=tuple(image_ids or range(11, 11 + pictures)),
            category_ids=tuple(range(5, 5 + len(names))),
            names=tuple(names),
            pictures=np.array([row[0] for row in rows], dtype=np.int64),
            labels=np.array([row[1] for row in rows], dtype=np.int64),
            boxes_xywh_px=_boxes([[row[2], row[3], side, side] for row in rows]),
            areas=np.full(len(rows), side * side),
            crowd=np.array([len(row) > 4 and row[4] for row in rows], dtype=bool),
        )

    return make


@pytest.fixture
def found_of():
    """A function from rows (picture, label, x, y, score) to predictions of boxes 100 x 100."""

    def make(rows, side=SIDE):
        return Predictions(
            pictures=np.array([row[0] for row in rows], dtype=np.int64),
            labels=np.array([row[1] for row in rows], dtype=np.int64),
            boxes_xywh_px=_boxes([[row[2], row[3], side, side] for row in rows]),
            scores=np.array([row[4] for row in rows], dtype=np.float64),
        )

    return make
