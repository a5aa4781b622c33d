"""Boxes: conversions by hand, overlaps by hand, and what happens where a box has no area."""

import pytest
import torch

from sleuth.geometry.boxes import (
    box_area,
    clip_boxes,
    cxcywh_to_xyxy,
    paired_giou,
    paired_iou,
    pairwise_giou,
    pairwise_iou,
    scale_boxes,
    xywh_to_xyxy,
    xyxy_to_cxcywh,
    xyxy_to_xywh,
)

NAN, INF = float("nan"), float("inf")


def test_conversions_by_hand() -> None:
    corners = torch.tensor([[10.0, 20.0, 40.0, 60.0]])
    assert xyxy_to_cxcywh(corners).tolist() == [[25.0, 40.0, 30.0, 40.0]]
    assert xyxy_to_xywh(corners).tolist() == [[10.0, 20.0, 30.0, 40.0]]
    assert cxcywh_to_xyxy(torch.tensor([[25.0, 40.0, 30.0, 40.0]])).tolist() == corners.tolist()
    assert xywh_to_xyxy(torch.tensor([[10.0, 20.0, 30.0, 40.0]])).tolist() == corners.tolist()


def test_conversions_take_any_leading_shape() -> None:
    boxes = torch.rand(2, 3, 5, 4)
    for convert in (cxcywh_to_xyxy, xyxy_to_cxcywh, xyxy_to_xywh, xywh_to_xyxy):
        assert convert(boxes).shape == boxes.shape
        assert convert(boxes[:0]).shape == (0, 3, 5, 4)


def test_scaling_reads_height_before_width() -> None:
    assert scale_boxes(torch.tensor([[0.5, 0.5, 1.0, 1.0]]), (100, 400)).tolist() == [[200.0, 50.0, 400.0, 100.0]]


def test_clipping_keeps_corners_in_the_picture() -> None:
    boxes = torch.tensor([[-5.0, -1.0, 50.0, 8.0], [3.0, 4.0, 5.0, 6.0]])
    assert clip_boxes(boxes, (10, 20)).tolist() == [[0.0, 0.0, 20.0, 8.0], [3.0, 4.0, 5.0, 6.0]]


def test_area_of_inverted_boxes_is_zero() -> None:
    boxes = torch.tensor([[0.0, 0.0, 2.0, 3.0], [2.0, 0.0, 0.0, 3.0], [2.0, 3.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert box_area(boxes).tolist() == [6.0, 0.0, 0.0, 0.0]


def test_overlap_by_hand() -> None:
    square = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    others = torch.tensor([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 4.0, 2.0], [3.0, 3.0, 4.0, 4.0]])
    assert pairwise_iou(square, others)[0].tolist() == pytest.approx([1 / 7, 1.0, 0.0, 0.0])
    # The hulls are 9, 4, 8 and 16; their parts that neither box covers are 2, 0, 0 and 11.
    assert pairwise_giou(square, others)[0].tolist() == pytest.approx([1 / 7 - 2 / 9, 1.0, 0.0, -11 / 16])


def test_paired_is_the_diagonal_of_pairwise() -> None:
    generator = torch.Generator().manual_seed(0)
    a = cxcywh_to_xyxy(torch.rand(7, 4, generator=generator))
    b = cxcywh_to_xyxy(torch.rand(7, 4, generator=generator))
    assert torch.equal(paired_iou(a, b), pairwise_iou(a, b).diagonal())
    assert torch.equal(paired_giou(a, b), pairwise_giou(a, b).diagonal())


def test_no_boxes_have_no_overlaps() -> None:
    none, two = torch.zeros(0, 4), torch.rand(2, 4)
    assert pairwise_iou(none, two).shape == (0, 2)
    assert pairwise_giou(two, none).shape == (2, 0)
    assert paired_giou(none, none).shape == (0,)


def test_boxes_without_area_have_defined_overlap() -> None:
    point = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    elsewhere = torch.tensor([[3.0, 5.0, 3.0, 5.0]])
    around = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    assert pairwise_iou(point, point).item() == 0.0
    assert pairwise_giou(point, point).item() == 0.0  # the hull has no area either
    assert pairwise_giou(point, elsewhere).item() == -1.0  # a hull, and nothing in it
    assert pairwise_giou(point, around).item() == 0.0  # the hull is the other box


def test_non_finite_boxes_never_raise() -> None:
    boxes = torch.tensor([[NAN] * 4, [INF] * 4, [-INF, -INF, INF, INF], [0.0, NAN, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    for overlap in (pairwise_iou, pairwise_giou):
        assert overlap(boxes, boxes).shape == (5, 5)
        assert overlap(boxes, boxes)[4, 4].item() == 1.0


@pytest.mark.parametrize("overlap", [paired_iou, paired_giou])
def test_gradients_are_finite_where_areas_vanish(overlap) -> None:
    a = torch.tensor(
        [[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 1.0, 1.0], [0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0], [5.0, 5.0, 5.0, 9.0]],
        requires_grad=True,
    )
    b = torch.tensor(
        [[1.0, 1.0, 1.0, 1.0], [4.0, 4.0, 3.0, 3.0], [0.0, 0.0, 2.0, 2.0], [3.0, 3.0, 4.0, 4.0], [1.0, 1.0, 2.0, 2.0]],
        requires_grad=True,
    )
    overlap(a, b).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert bool(a.grad.isfinite().all())
    assert bool(b.grad.isfinite().all())


def test_gradients_of_tiny_areas_do_not_overflow() -> None:
    tiny = torch.tensor([[0.0, 0.0, 1e-20, 1e-19]])
    a = tiny.clone().requires_grad_()
    value = paired_giou(a, tiny)
    value.sum().backward()
    assert a.grad is not None
    assert bool(a.grad.isfinite().all())
    assert value.item() == 0.0


def test_giou_pulls_distant_boxes_together() -> None:
    a = torch.tensor([[0.0, 0.0, 1.0, 1.0]], requires_grad=True)
    paired_giou(a, torch.tensor([[3.0, 0.0, 4.0, 1.0]])).sum().backward()
    assert a.grad is not None
    assert a.grad[0, 2] > 0  # moving the right side to the right raises GIoU, where IoU has no gradient at all
