"""Mean IoU and its company, by hand and against scikit-learn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score

from sleuth.data.semantic.samples import SemanticSample
from sleuth.errors import UserError
from sleuth.evaluation.semantic import (
    SemanticEvaluation,
    confusion_of,
    evaluate_segmenter,
    mean_iou,
    semantic_tables,
    semantic_text,
)
from sleuth.evaluation.semantic_report import draw_pixel_confusion, write_semantic_report
from sleuth.models.segmenter import SegmenterConfig, build_segmenter
from sleuth.models.vit import VitConfig
from sleuth.tasks.preprocess import Preprocess


def evaluation() -> SemanticEvaluation:
    """By hand: of 10 pixels of sky 8 are right and 2 taken for road; of 5 of road 4 are right; nobody shows a car."""
    confusion = np.array([[8, 2, 0], [1, 4, 0], [0, 0, 0]])
    return SemanticEvaluation(("sky", "road", "car"), confusion, ("a",), np.array([0.5]))


def test_numbers_by_hand():
    numbers = evaluation().numbers
    assert numbers["mIoU"] == pytest.approx((8 / 11 + 4 / 7) / 2)
    assert numbers["pixel accuracy"] == pytest.approx(12 / 15)
    assert numbers["mean class"] == pytest.approx((8 / 10 + 4 / 5) / 2)
    assert numbers["weighted IoU"] == pytest.approx((10 * 8 / 11 + 5 * 4 / 7) / 15)
    sky, road, car = evaluation().per_class
    assert (sky.pixels, sky.found, road.found) == (10, 9, 6)
    assert (road.recall, road.precision) == (pytest.approx(0.8), pytest.approx(4 / 6))
    assert (car.iou, car.recall, car.precision) == (None, None, None)


def test_a_class_that_is_found_where_there_is_none_counts_against_the_mean():
    confusion = np.array([[9, 1], [0, 0]])
    assert mean_iou(confusion) == pytest.approx(0.45)
    assert SemanticEvaluation(("a", "b"), confusion, (), np.zeros(0)).numbers["mIoU"] == pytest.approx(0.45)


def test_confusion_and_iou_are_scikit_learns():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 5, (30, 40)).astype(np.uint8)
    found = np.where(generator.random(truth.shape) < 0.6, truth, generator.integers(0, 5, truth.shape)).astype(np.uint8)
    truth[:4] = 255
    known = truth != 255
    ours = confusion_of(truth, found, 5)
    assert np.array_equal(ours, confusion_matrix(truth[known], found[known], labels=range(5)))
    assert mean_iou(ours) == pytest.approx(jaccard_score(truth[known], found[known], average="macro"))


class Halves:
    """Two pictures whose left half is of one class; the second is without classes in its upper half."""

    names = ("left", "right")

    def __len__(self) -> int:
        return 2

    def load(self, index: int) -> SemanticSample:
        labels = torch.zeros(10, 20, dtype=torch.uint8)
        labels[:, 10:] = 1
        labels[: 5 * index] = 255
        image = torch.full((3, 10, 20), 100, dtype=torch.uint8)
        return SemanticSample(image, labels, f"picture {index}")


def test_a_model_is_measured_at_the_pictures_own_size():
    vit = VitConfig(image_hw=(8, 8), patch_size=4, num_classes=0, dim=8, depth=1, num_heads=1, feedforward_dim=8)
    model = build_segmenter(SegmenterConfig(vit, num_classes=2, head="linear")).eval()
    with torch.no_grad():
        model.head.classes.weight.zero_()
        model.head.classes.bias.copy_(torch.tensor([1.0, 0.0]))
    done: list[int] = []
    found = evaluate_segmenter(model, Halves(), Preprocess(shortest=16, longest=99), progress=done.append)
    assert found.confusion.tolist() == [[150, 0], [150, 0]]
    assert found.picture_ious.tolist() == [0.25, 0.25]
    assert done == [1, 2]
    assert found.pictures == ("picture 0", "picture 1")

    class Nothing(Halves):
        def __len__(self) -> int:
            return 0

    with pytest.raises(UserError, match="no pictures to measure on"):
        evaluate_segmenter(model, Nothing(), Preprocess())


def test_tables_and_report(tmp_path: Path):
    assert [table.row_count for table in semantic_tables(evaluation())] == [4, 3]
    assert "road" in semantic_text(evaluation())
    written = write_semantic_report(evaluation(), tmp_path / "report")
    assert {path.name for path in written} == {
        "scores.json",
        "per_class.csv",
        "confusion.png",
        "iou.png",
        "report.html",
    }
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert scores["confusion"][0] == [8, 2, 0]
    assert scores["per_picture"] == [{"picture": "a", "mIoU": 0.5}]


def test_many_classes_are_drawn_by_their_mistakes():
    confusion = np.eye(80, dtype=np.int64) * 10
    confusion[3, 4] = 5
    many = SemanticEvaluation(tuple(f"class {label}" for label in range(80)), confusion, (), np.zeros(0))
    axes = draw_pixel_confusion(many).axes[0]
    assert len(axes.get_xticklabels()) == 60
    assert "class 3" in [label.get_text() for label in axes.get_yticklabels()]
