"""Heads: one more logit than classes, boxes between 0 and 1."""

import torch

from sleuth.heads.detection import BoxHead, ClassHead


def test_class_head_has_no_object_last() -> None:
    head = ClassHead(dim=8, num_classes=3)
    assert head(torch.randn(2, 5, 8)).shape == (2, 5, 4)
    assert list(head.state_dict()) == ["weight", "bias"]


def test_boxes_are_relative_and_finite_for_extreme_states() -> None:
    head = BoxHead(dim=8)
    for scale in (1.0, 1e4):
        boxes = head(scale * torch.randn(6, 2, 5, 8))
        assert boxes.shape == (6, 2, 5, 4)
        assert bool(((boxes >= 0) & (boxes <= 1)).all())


def test_heads_read_each_state_alone_whatever_the_leading_shape() -> None:
    states = torch.randn(6, 2, 5, 8)
    for head in (ClassHead(dim=8, num_classes=3), BoxHead(dim=8)):
        torch.testing.assert_close(head(states)[3, 1, 2], head(states[3, 1, 2][None])[0])
