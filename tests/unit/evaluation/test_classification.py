"""What is measured of a classifier: shares of right answers, confusion, calibration, and the folder that is left."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support, top_k_accuracy_score

from sleuth.data.classes.digits import DigitPictures
from sleuth.data.classes.samples import FirstPictures
from sleuth.errors import UserError
from sleuth.evaluation.classification import ClassEvaluation, class_tables, class_text, evaluate_classifier
from sleuth.evaluation.classification_report import draw_class_confusion, write_class_report
from sleuth.models.vit import VitConfig, build_vit
from sleuth.tasks.classification import classifier_preprocess


@pytest.fixture
def measured() -> ClassEvaluation:
    generator = np.random.default_rng(0)
    scores = generator.dirichlet(np.ones(7), size=90).astype(np.float32)
    labels = generator.integers(0, 6, size=90)  # nothing shows the last class
    pictures = tuple(f"picture {row}" for row in range(90))
    return ClassEvaluation(tuple("abcdefg"), pictures, labels, scores)


def test_numbers_are_those_of_scikit_learn(measured):
    numbers, labels = measured.numbers, range(7)
    for count in (1, 5):
        theirs = top_k_accuracy_score(measured.labels, measured.scores, k=count, labels=labels)
        assert numbers[f"top-{count}"] == pytest.approx(theirs)
    normalised = measured.scores / measured.scores.sum(1, keepdims=True)
    assert numbers["NLL"] == pytest.approx(log_loss(measured.labels, normalised, labels=labels), rel=1e-5)
    assert np.array_equal(measured.confusion, confusion_matrix(measured.labels, measured.guesses, labels=labels))
    precision, recall, _, _ = precision_recall_fscore_support(
        measured.labels, measured.guesses, labels=range(6), zero_division=0
    )
    for row, each in enumerate(measured.per_class[:6]):
        assert (each.precision or 0.0) == pytest.approx(precision[row])
        assert each.recall == pytest.approx(recall[row])
    assert measured.per_class[6].recall is None
    assert numbers["mean class"] == pytest.approx(recall.mean())


def test_calibration_is_the_gap_between_scores_and_truth():
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], dtype=np.float32)
    made = ClassEvaluation(("a", "b"), tuple("1234"), np.array([0, 1, 1, 1]), scores)
    # 0.9: half are right; 0.8 and 0.6: all are.
    assert made.numbers["ECE"] == pytest.approx((2 * 0.4 + 0.2 + 0.4) / 4, abs=1e-6)
    assert sum(count for count, _, _ in made.reliability) == 4


def test_equal_scores_are_no_free_answers():
    made = ClassEvaluation(("a", "b", "c"), ("1", "2"), np.array([0, 2]), np.full((2, 3), 1 / 3, dtype=np.float32))
    assert made.numbers["top-1"] == 0.5


def test_a_model_is_asked_whatever_the_batch():
    torch.manual_seed(1)
    config = VitConfig(image_hw=(8, 8), patch_size=4, num_classes=10, dim=16, depth=1, num_heads=2, feedforward_dim=16)
    model, source = build_vit(config).eval(), FirstPictures(DigitPictures("val"), 10)
    done: list[int] = []
    one = evaluate_classifier(model, source, classifier_preprocess((8, 8)), batch_size=4, progress=done.append)
    other = evaluate_classifier(model, source, classifier_preprocess((8, 8)), batch_size=10)
    assert np.allclose(one.scores, other.scores, atol=1e-5)
    assert done == [4, 8, 10]
    with pytest.raises(UserError, match="no pictures"):
        evaluate_classifier(model, FirstPictures(source, 0), classifier_preprocess((8, 8)))


def test_the_report_holds_everything(measured, tmp_path):
    written = {path.name for path in write_class_report(measured, tmp_path / "report")}
    assert written == {
        *("scores.json", "per_class.csv", "answers.jsonl", "confusion.png", "reliability.png", "report.html")
    }
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert scores["top-1"] == measured.numbers["top-1"]
    answers = [json.loads(line) for line in (tmp_path / "report" / "answers.jsonl").read_text().splitlines()]
    assert len(answers) == 90
    assert answers[0]["truth"] != answers[0]["guess"]
    assert answers[0]["score"] >= answers[1]["score"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "confusion.png" in page
    assert "Calibration" in page


def test_many_classes_are_shown_by_their_mistakes():
    names = tuple(f"class {number}" for number in range(80))
    labels = np.arange(80)
    scores = np.eye(80, dtype=np.float32)
    scores[70] = scores[3]
    made = ClassEvaluation(names, tuple(map(str, labels)), labels, scores)
    assert "class 70" in [label.get_text() for label in draw_class_confusion(made).axes[0].get_yticklabels()]
    tables = class_tables(made, 5)
    assert tables[1].row_count == 5
    assert "class 70" in class_text(made)
