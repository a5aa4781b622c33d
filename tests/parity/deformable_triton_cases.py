"""The kernels of `triton_attention` against grid_sample in float64: on a GPU, or under Triton's interpreter.

Run by test_deformable_triton.py, in a process of its own since the interpreter is chosen before Triton is imported.
"""

import sys

import pytest
import torch
from torch import Tensor

from sleuth.nn.deformable import sampled_attention
from sleuth.nn.deformable_triton import triton_attention

assert "sleuth.nn.deformable_kernels" not in sys.modules, "Triton is imported when it is needed"

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
GRIDS = [
    pytest.param(((5, 7), (3, 4)), (2, 1), id="two levels"),
    pytest.param(((6, 5),), (3,), id="one level"),
    pytest.param(((1, 6), (5, 1), (1, 1)), (1, 1, 2), id="levels of one row, column and token"),
]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def draw(grids_hw, num_points, head_dim=8, dtype=torch.float32, batch=2, queries=5, heads=3) -> tuple[Tensor, ...]:
    """Values, locations (a third of them outside the picture) and weights; the same numbers on every device."""
    tokens, points = sum(height * width for height, width in grids_hw), sum(num_points)
    value = torch.randn(batch, tokens, heads, head_dim)
    locations = torch.rand(batch, queries, heads, points, 2) * 1.6 - 0.3
    weights = torch.randn(batch, queries, heads, points).softmax(-1)
    return tuple(x.to(DEVICE, dtype).requires_grad_() for x in (value, locations, weights))


def assert_alike(grids_hw, num_points, leaves, tolerance: float, attend=triton_attention) -> None:
    """The answers and gradients of these inputs, computed in float64 by PyTorch."""
    doubles = tuple(x.detach().double().requires_grad_() for x in leaves)
    expected = sampled_attention(doubles[0], grids_hw, *doubles[1:], num_points)
    actual = attend(leaves[0], grids_hw, *leaves[1:], num_points)
    assert actual.dtype == leaves[0].dtype
    weigh = torch.randn(expected.shape).to(actual)
    ours = torch.autograd.grad(actual, leaves, weigh)
    theirs = torch.autograd.grad(expected, doubles, weigh.double())
    for got, wanted, leaf in zip((actual, *ours), (expected, *theirs), (actual, *leaves), strict=True):
        assert got.dtype == leaf.dtype
        largest = max(1.0, float(wanted.detach().abs().max()))
        torch.testing.assert_close(got.double(), wanted, atol=tolerance * largest, rtol=tolerance)


@pytest.mark.parametrize(("grids_hw", "num_points"), GRIDS)
@pytest.mark.parametrize(("head_dim", "batch"), [(8, 2), (24, 1), (32, 2)])
def test_single_precision(grids_hw, num_points, head_dim: int, batch: int) -> None:
    assert_alike(grids_hw, num_points, draw(grids_hw, num_points, head_dim, batch=batch), 1e-5)


@pytest.mark.parametrize(("grids_hw", "num_points"), GRIDS)
def test_double_precision(grids_hw, num_points) -> None:
    assert_alike(grids_hw, num_points, draw(grids_hw, num_points, dtype=torch.float64), 1e-12)


@pytest.mark.parametrize("head_dim", [1, 256])
def test_smallest_and_largest_heads(head_dim: int) -> None:
    assert_alike(((2, 3),), (2,), draw(((2, 3),), (2,), head_dim, queries=2, heads=1), 1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-3), (torch.bfloat16, 8e-3)])
@pytest.mark.parametrize("mixed", [True, False])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype, tolerance: float, mixed: bool) -> None:
    """Only what goes in and comes out is rounded; autocast hands over values in half precision alone."""
    grids_hw, num_points = ((5, 7), (3, 4)), (2, 1)
    leaves = draw(grids_hw, num_points, 16)
    leaves = tuple(
        x.detach().to(torch.float32 if mixed and place else dtype).requires_grad_() for place, x in enumerate(leaves)
    )
    assert_alike(grids_hw, num_points, leaves, tolerance)


def test_gradcheck() -> None:
    grids_hw, num_points = ((3, 4), (2, 2)), (1, 1)
    leaves = draw(grids_hw, num_points, 3, torch.float64, batch=1, queries=2, heads=2)
    attend = lambda value, *rest: triton_attention(value, grids_hw, *rest, num_points)  # noqa: E731
    assert torch.autograd.gradcheck(attend, leaves, fast_mode=True, nondet_tol=1e-12)


def test_points_on_pixels_have_the_slope_behind_them() -> None:
    """Where the answer has a kink the gradient is a convention; fresh models sample there."""
    grids_hw, num_points = ((8, 4), (4, 4)), (2, 2)  # sizes whose positions are exact in floating point
    value, locations, weights = draw(grids_hw, num_points)
    pixels = torch.randint(-2, 7, locations.shape)
    size = torch.tensor([[4, 8], [4, 8], [4, 4], [4, 4]])
    on_pixels = ((pixels + 0.5) / size).to(value).requires_grad_()
    assert_alike(grids_hw, num_points, (value, on_pixels, weights), 1e-5)


def test_far_outside_there_is_nothing() -> None:
    value, locations, weights = draw(((3, 4),), (2,))
    for place in (-50.0, 1e12, float("inf")):
        away = torch.full_like(locations, place, requires_grad=True)
        answer = triton_attention(value, ((3, 4),), away, weights, (2,))
        assert not answer.any()
        assert not any(grad.any() for grad in torch.autograd.grad(answer.sum(), (value, away, weights)))


def test_inputs_that_do_not_lie_side_by_side_in_memory() -> None:
    value, locations, weights = draw(((3, 4),), (2,))
    expected = triton_attention(value, ((3, 4),), locations, weights, (2,))
    scattered = (x.detach().transpose(1, 2).contiguous().transpose(1, 2) for x in (value, locations, weights))
    value, locations, weights = (x.requires_grad_() for x in scattered)
    torch.testing.assert_close(triton_attention(value, ((3, 4),), locations, weights, (2,)), expected)
    assert_alike(((3, 4),), (2,), (value, locations, weights), 1e-5)


def test_no_queries() -> None:
    value, locations, weights = draw(((3, 4),), (2,), queries=0)
    answer = triton_attention(value, ((3, 4),), locations, weights, (2,))
    assert answer.shape == (2, 0, 24)
    answer.sum().backward()
    assert value.grad is not None
    assert not value.grad.any()


def test_as_operators(monkeypatch) -> None:
    """What torch.compile sees: two operators that it does not look into, of known shapes."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    leaves = draw(((3, 4), (2, 2)), (1, 2))
    assert_alike(((3, 4), (2, 2)), (1, 2), leaves, 1e-5)
    shapes = [leaf.to("meta") for leaf in leaves]
    layout = ([3, 4, 2, 2], [1, 2])
    answer = torch.ops.sleuth.deformable_forward(*shapes, *layout)
    assert answer.shape == (2, 5, 24)
    grads = torch.ops.sleuth.deformable_backward(answer, *shapes, *layout)
    assert [grad.shape for grad in grads] == [leaf.shape for leaf in leaves]


@pytest.mark.skipif(not ON_GPU, reason="slow: test_as_operators covers it")
def test_compiled() -> None:
    """Forwards and backwards, in one graph."""
    attend = torch.compile(triton_attention, fullgraph=True)
    assert_alike(((3, 4), (2, 2)), (1, 2), draw(((3, 4), (2, 2)), (1, 2)), 1e-5, attend)


@pytest.mark.skipif(not ON_GPU, reason="hours under the interpreter")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 8e-3)])
@pytest.mark.parametrize("queries", [300, 9000])
def test_sizes_of_real_models(dtype: torch.dtype, tolerance: float, queries: int) -> None:
    grids_hw, num_points = ((80, 80), (40, 40), (20, 20)), (4, 4, 4)
    value, locations, weights = draw(grids_hw, num_points, 32, queries=queries, heads=8)
    value = value.detach().to(dtype).requires_grad_()
    # Not on a pixel, where rounding decides which slope it is.
    width = torch.tensor([80, 40, 20], device=DEVICE).repeat_interleave(4)[:, None]
    position = locations.detach().double() * width - 0.5
    clear = position.floor() + (position - position.floor()).clamp(1e-3, 1 - 1e-3)
    locations = ((clear + 0.5) / width).float().requires_grad_()
    assert_alike(grids_hw, num_points, (value, locations, weights), tolerance)


def test_sizes_that_disagree() -> None:
    value, locations, weights = draw(((3, 4),), (2,))
    with pytest.raises(ValueError, match="12 tokens do not fill"):
        triton_attention(value, ((3, 5),), locations, weights, (2,))
    with pytest.raises(ValueError, match="2 points are not"):
        triton_attention(value, ((3, 4),), locations, weights, (3,))
    with pytest.raises(ValueError, match="up to 256 numbers"):
        triton_attention(*draw(((3, 4),), (2,), 257)[:1], ((3, 4),), locations, weights, (2,))
