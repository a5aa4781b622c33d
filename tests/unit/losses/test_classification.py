"""Weighted cross-entropy against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F

from sleuth.losses.classification import weighted_cross_entropy


def test_equal_to_pytorchs_weighted_mean() -> None:
    logits, labels = torch.randn(2, 7, 4), torch.randint(0, 4, (2, 7))
    class_weight = torch.tensor([1.0, 1.0, 1.0, 0.1])
    weights = class_weight[labels]
    theirs = F.cross_entropy(logits.transpose(1, 2), labels, weight=class_weight)
    torch.testing.assert_close(weighted_cross_entropy(logits, labels, weights, weights.sum()), theirs)


def test_weightless_predictions_cost_nothing() -> None:
    logits, labels = torch.randn(1, 4, 3), torch.tensor([[0, 1, 2, 2]])
    weights = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    torch.testing.assert_close(
        weighted_cross_entropy(logits, labels, weights, torch.tensor(2.0)),
        F.cross_entropy(logits[0, :2], labels[0, :2]),
    )


def test_half_precision_logits_are_summed_in_single() -> None:
    logits, labels = torch.randn(1, 4, 3), torch.tensor([[0, 1, 2, 2]])
    loss = weighted_cross_entropy(logits.bfloat16(), labels, torch.ones(1, 4), torch.tensor(4.0))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(F.cross_entropy(logits[0], labels[0]).item(), rel=0.02)
