"""Bags of tokens against PyTorch's grid_sample on each level, in float64."""

import pytest
import torch

from sleuth.nn.deformable import sampled_attention
from sleuth.nn.deformable_bag import bagged_attention

GRIDS = [
    pytest.param(((5, 7), (3, 4), (2, 2)), (4, 4, 4), id="three levels"),
    pytest.param(((6, 5),), (3,), id="one level"),
    pytest.param(((4, 6), (2, 3)), (1, 5), id="unequal points"),
    pytest.param(((1, 6), (5, 1), (1, 1)), (2, 2, 2), id="levels of one row, column and token"),
]


def draw(grids_hw, num_points, head_dim: int = 8, dtype: torch.dtype = torch.float64):
    """Values, locations (a third of them outside the picture) and weights."""
    tokens, points = sum(height * width for height, width in grids_hw), sum(num_points)
    value = torch.randn(2, tokens, 3, head_dim, dtype=dtype)
    locations = torch.rand(2, 10, 3, points, 2, dtype=dtype) * 1.6 - 0.3
    weights = torch.randn(2, 10, 3, points, dtype=dtype).softmax(-1)
    return tuple(x.requires_grad_() for x in (value, locations, weights))


def assert_alike(grids_hw, num_points, value, locations, weights, tolerance: float = 1e-12) -> None:
    """The same answers and gradients."""
    leaves = (value, locations, weights)
    expected = sampled_attention(value, grids_hw, locations, weights, num_points)
    actual = bagged_attention(value, grids_hw, locations, weights, num_points)
    weigh = torch.randn_like(expected)
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)
    for ours, theirs in zip(
        torch.autograd.grad(actual, leaves, weigh), torch.autograd.grad(expected, leaves, weigh), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=10 * tolerance, rtol=10 * tolerance)


@pytest.mark.parametrize(("grids_hw", "num_points"), GRIDS)
@pytest.mark.parametrize("head_dim", [1, 16, 24])
def test_answers_and_gradients(grids_hw, num_points, head_dim: int) -> None:
    assert_alike(grids_hw, num_points, *draw(grids_hw, num_points, head_dim))


def test_points_on_pixels_have_the_slope_behind_them() -> None:
    """Where the answer has a kink the gradient is a convention; fresh models sample there."""
    grids_hw, num_points = ((8, 4), (4, 4)), (2, 2)  # sizes whose positions are exact in floating point
    value, locations, weights = draw(grids_hw, num_points)
    pixels = torch.randint(-2, 7, locations.shape)
    size = torch.tensor([[4, 8], [4, 8], [4, 4], [4, 4]])
    on_pixels = ((pixels + 0.5) / size).double().requires_grad_()
    assert_alike(grids_hw, num_points, value, on_pixels, weights)


def test_far_outside_there_is_nothing() -> None:
    value, locations, weights = draw(((3, 4),), (2,))
    for place in (-50.0, 1e12, float("inf")):
        away = torch.full_like(locations, place, requires_grad=True)
        answer = bagged_attention(value, ((3, 4),), away, weights, (2,))
        assert not answer.any()
        assert not any(grad.any() for grad in torch.autograd.grad(answer.sum(), (value, away, weights)))


def test_what_is_not_a_number_stays_so_and_breaks_nothing() -> None:
    value, locations, weights = draw(((3, 4),), (2,))
    broken = locations.detach().clone()
    broken[1, 3, 0, 0, 0] = float("nan")
    answer = bagged_attention(value, ((3, 4),), broken.requires_grad_(), weights, (2,))
    assert bool(answer[1, 3, :8].isnan().all())
    assert int(answer.isnan().sum()) == 8
    answer.sum().backward()


def test_single_precision() -> None:
    grids_hw, num_points = ((5, 7), (3, 4)), (2, 2)
    leaves = tuple(x.detach().float().requires_grad_() for x in draw(grids_hw, num_points))
    assert_alike(grids_hw, num_points, *leaves, tolerance=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    """As autocast hands it over: values in half precision, locations and weights in float32."""
    grids_hw, num_points = ((5, 7), (3, 4)), (2, 2)
    value, locations, weights = (x.detach().float() for x in draw(grids_hw, num_points))
    value = value.to(dtype).requires_grad_()
    answer = bagged_attention(value, grids_hw, locations, weights, num_points)
    expected = sampled_attention(value.detach().float(), grids_hw, locations, weights, num_points)
    torch.testing.assert_close(answer, expected.to(dtype))
    answer.sum().backward()
    assert value.grad is not None
    assert value.grad.dtype == dtype


@pytest.mark.parametrize("needed", [0, 1, 2])
def test_one_gradient_alone(needed: int) -> None:
    grids_hw, num_points = ((4, 3),), (3,)
    leaves = [x.detach() for x in draw(grids_hw, num_points)]
    leaves[needed].requires_grad_()
    value, locations, weights = leaves
    (ours,) = torch.autograd.grad(
        bagged_attention(value, grids_hw, locations, weights, num_points).square().sum(), leaves[needed]
    )
    (theirs,) = torch.autograd.grad(
        sampled_attention(value, grids_hw, locations, weights, num_points).square().sum(), leaves[needed]
    )
    torch.testing.assert_close(ours, theirs)


def test_no_queries() -> None:
    value, locations, weights = draw(((3, 4),), (2,))
    answer = bagged_attention(value, ((3, 4),), locations[:, :0], weights[:, :0], (2,))
    assert answer.shape == (2, 0, 24)
    answer.sum().backward()
    assert value.grad is not None
    assert not value.grad.any()


def test_sizes_that_disagree() -> None:
    value, locations, weights = draw(((3, 4),), (2,))
    with pytest.raises(ValueError, match="12 tokens do not fill"):
        bagged_attention(value, ((3, 5),), locations, weights, (2,))
    with pytest.raises(ValueError, match="2 points are not"):
        bagged_attention(value, ((3, 4),), locations, weights, (3,))
    with pytest.raises(ValueError, match="on the processor"):
        bagged_attention(value.to("meta"), ((3, 4),), locations, weights, (2,))
