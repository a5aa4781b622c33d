"""The loss of a classifier, its answers, and how it sees pictures."""

import pytest
import torch
import torch.nn.functional as F

from sleuth.tasks.classification import (
    ClassificationLoss,
    ClassificationLossConfig,
    classifier_preprocess,
    decode_classes,
    input_size,
)
from sleuth.types.batches import ClassBatch, ImageBatch
from sleuth.types.predictions import ClassPrediction


def batch(labels, wanted=None) -> ClassBatch:
    count = len(labels)
    images = ImageBatch(torch.zeros(count, 3, 2, 2), torch.ones(count, 2, 2, dtype=torch.bool))
    return ClassBatch(images, torch.tensor(labels), wanted, tuple(map(str, range(count))))


def prediction(logits, by_head=()) -> ClassPrediction:
    return ClassPrediction(logits=logits, features=torch.zeros(len(logits), 1), by_head=by_head)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_smoothed_cross_entropy(smoothing):
    logits, made = torch.randn(4, 3), batch([0, 2, 1, 2])
    report = ClassificationLoss(ClassificationLossConfig(smoothing))(prediction(logits), made)
    assert torch.allclose(report.total, F.cross_entropy(logits, made.labels, label_smoothing=smoothing))
    assert torch.allclose(report.parts["class"], F.cross_entropy(logits, made.labels))
    assert float(report.parts["accuracy"]) == float((logits.argmax(1) == made.labels).float().mean())


def test_mixed_labels_pay_by_their_shares():
    logits, share = torch.randn(2, 3), 0.7
    wanted = share * F.one_hot(torch.tensor([0, 1]), 3) + (1 - share) * F.one_hot(torch.tensor([2, 0]), 3)
    made = batch([0, 1], wanted)
    report = ClassificationLoss(ClassificationLossConfig(0.0))(prediction(logits), made)
    expected = share * F.cross_entropy(logits, torch.tensor([0, 1])) + (1 - share) * F.cross_entropy(
        logits, torch.tensor([2, 0])
    )
    assert torch.allclose(report.total, expected)


def test_two_heads_pay_the_mean_of_their_losses():
    heads, made = (torch.randn(3, 4), torch.randn(3, 4)), batch([1, 0, 3])
    report = ClassificationLoss(ClassificationLossConfig())(prediction(sum(heads) / 2, heads), made)
    each = [F.cross_entropy(logits, made.labels, label_smoothing=0.1) for logits in heads]
    assert torch.allclose(report.total, sum(each) / 2)


def test_parts_of_a_batch_add_up_to_the_whole():
    criterion, logits = ClassificationLoss(ClassificationLossConfig()), torch.randn(6, 3)
    whole = criterion(prediction(logits), batch([0, 1, 2, 0, 1, 2])).total
    mean = torch.tensor([3.0])
    parts = [
        criterion(prediction(logits[rows]), batch(labels), mean).total
        for rows, labels in ((slice(0, 2), [0, 1]), (slice(2, 6), [2, 0, 1, 2]))
    ]
    assert torch.allclose(sum(parts) / 2, whole)


def test_the_best_come_first():
    found = decode_classes(prediction(torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 0.0]])), ("a", "b", "c"), top=2)
    assert [guess.name for guess in found[0]] == ["b", "c"]
    assert found[1][0].label == 0
    assert 0.7 < found[1][0].score < 0.8
    assert len(decode_classes(prediction(torch.zeros(1, 3)), ("a", "b", "c"))[0]) == 3


def test_pictures_are_seen_at_the_trained_size():
    square, oblong = classifier_preprocess((32, 32)), classifier_preprocess((32, 48))
    assert (square.size_for((64, 100)), square.crop_hw, input_size(square)) == ((32, 50), (32, 32), (32, 32))
    assert (oblong.size_for((64, 100)), input_size(oblong)) == ((32, 48), (32, 48))
