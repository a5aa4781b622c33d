"""Boxes: what must hold for any boxes, proper ones and others."""

import hypothesis.strategies as st
import pytest
import torch
import torchvision.ops
from hypothesis import given

from sleuth.geometry.boxes import (
    box_area,
    clip_boxes,
    cxcywh_to_xyxy,
    paired_giou,
    pairwise_giou,
    pairwise_iou,
    scale_boxes,
    xywh_to_xyxy,
    xyxy_to_cxcywh,
    xyxy_to_xywh,
)

EXACT = st.integers(-(2**12), 2**12).map(lambda n: n / 2**6)  # halves and sums of these are exact in float32
FINITE = st.floats(-1e6, 1e6, width=32)
ANY = st.floats(width=32)


def rows(number: st.SearchStrategy[float]) -> st.SearchStrategy[torch.Tensor]:
    """One to five rows of four numbers."""
    return st.lists(st.lists(number, min_size=4, max_size=4), min_size=1, max_size=5).map(torch.tensor)


def proper(boxes: torch.Tensor) -> torch.Tensor:
    """Corners in their order."""
    low = torch.minimum(boxes[:, :2], boxes[:, 2:])
    return torch.cat((low, torch.maximum(boxes[:, :2], boxes[:, 2:])), dim=1)


@given(rows(EXACT))
def test_round_trips_are_exact(boxes: torch.Tensor) -> None:
    assert torch.equal(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes)
    assert torch.equal(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)
    assert torch.equal(xyxy_to_xywh(xywh_to_xyxy(boxes)), boxes)
    assert torch.equal(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes)


@given(rows(st.floats(0, 1, width=32)))
def test_round_trip_of_relative_boxes(boxes: torch.Tensor) -> None:
    torch.testing.assert_close(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes, atol=1e-6, rtol=0)


@given(rows(FINITE), rows(FINITE))
def test_overlaps_of_any_finite_boxes_stay_in_range(a: torch.Tensor, b: torch.Tensor) -> None:
    iou, giou = pairwise_iou(a, b), pairwise_giou(a, b)
    assert bool(((iou >= 0) & (iou <= 1 + 1e-6)).all())
    assert bool(((giou >= -1 - 1e-6) & (giou <= iou + 1e-6)).all())


@given(rows(FINITE), rows(FINITE))
def test_overlaps_are_symmetric(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(pairwise_iou(a, b), pairwise_iou(b, a).T, atol=1e-6, rtol=0)
    torch.testing.assert_close(pairwise_giou(a, b), pairwise_giou(b, a).T, atol=1e-6, rtol=0)


@given(rows(FINITE))
def test_a_box_with_area_overlaps_itself_fully(boxes: torch.Tensor) -> None:
    full = box_area(boxes) > 1e-30
    assert torch.equal(pairwise_iou(boxes, boxes).diagonal(), full.float())
    assert torch.equal(pairwise_giou(boxes, boxes).diagonal(), full.float())


@given(rows(EXACT).map(proper), rows(EXACT).map(proper))
def test_equal_to_torchvision_on_proper_boxes(a: torch.Tensor, b: torch.Tensor) -> None:
    a, b = a[box_area(a) > 0], b[box_area(b) > 0]
    torch.testing.assert_close(pairwise_iou(a, b), torchvision.ops.box_iou(a, b))
    torch.testing.assert_close(pairwise_giou(a, b), torchvision.ops.generalized_box_iou(a, b))
    torch.testing.assert_close(box_area(a), torchvision.ops.box_area(a))
    torch.testing.assert_close(cxcywh_to_xyxy(a), torchvision.ops.box_convert(a, "cxcywh", "xyxy"))


@given(rows(FINITE), st.data())
def test_gradients_of_finite_boxes_are_finite(boxes: torch.Tensor, data: st.DataObject) -> None:
    row = st.lists(FINITE, min_size=4, max_size=4)
    others = torch.tensor(data.draw(st.lists(row, min_size=len(boxes), max_size=len(boxes))))
    leaf = boxes.clone().requires_grad_()
    paired_giou(leaf, others).sum().backward()
    assert leaf.grad is not None
    assert bool(leaf.grad.isfinite().all())


@given(rows(ANY), rows(ANY))
def test_non_finite_boxes_never_raise(a: torch.Tensor, b: torch.Tensor) -> None:
    assert pairwise_iou(a, b).shape == pairwise_giou(a, b).shape == (len(a), len(b))


@given(rows(FINITE), st.integers(1, 2000), st.integers(1, 2000))
def test_clipped_boxes_lie_in_the_picture(boxes: torch.Tensor, height: int, width: int) -> None:
    clipped = clip_boxes(boxes, (height, width))
    assert bool((clipped >= 0).all())
    assert bool((clipped[:, 0::2] <= width).all())
    assert bool((clipped[:, 1::2] <= height).all())
    assert torch.equal(clip_boxes(clipped, (height, width)), clipped)


@given(rows(st.floats(0, 1, width=32)), st.sampled_from([(1, 1), (480, 640), (640, 480)]))
def test_scaling_leaves_overlap_as_it_was(boxes: torch.Tensor, size_hw: tuple[int, int]) -> None:
    corners = proper(boxes)
    scaled = scale_boxes(corners, size_hw)
    solid = box_area(corners) > 1e-6
    before = pairwise_iou(corners[solid], corners[solid])
    after = pairwise_iou(scaled[solid], scaled[solid])
    assert after.tolist() == [pytest.approx(row, abs=1e-4) for row in before.tolist()]
