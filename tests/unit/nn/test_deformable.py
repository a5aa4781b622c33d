"""Deformable attention: its cores agree with each other and with a sum over cells written out."""

import pytest
import torch

from sleuth.nn.deformable import (
    DeformableCore,
    MultiScaleDeformableAttention,
    discrete_attention,
    gathered_attention,
    sampled_attention,
)

GRIDS = ((5, 7), (3, 4), (2, 1))
POINTS = (3, 1, 2)
TOKENS = sum(height * width for height, width in GRIDS)


def _inputs(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    value = torch.randn(2, TOKENS, 4, 6, dtype=dtype)
    # Some points lie outside of the picture.
    locations = torch.rand(2, 9, 4, sum(POINTS), 2, dtype=dtype) * 1.6 - 0.3
    weights = torch.randn(2, 9, 4, sum(POINTS), dtype=dtype).softmax(-1)
    return value, locations, weights


def _tent_sum(value: torch.Tensor, locations: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Bilinear reading as its definition says: each cell counts by a tent over its centre."""
    batch, _, heads, head_dim = value.shape
    total = torch.zeros(batch, locations.shape[1], heads, head_dim, dtype=value.dtype)
    start = point = 0
    for (height, width), count in zip(GRIDS, POINTS, strict=True):
        level = value[:, start : start + height * width].view(batch, height, width, heads, head_dim)
        for index in range(point, point + count):
            x = locations[..., index, 0] * width - 0.5
            y = locations[..., index, 1] * height - 0.5
            share_x = (1 - (x[..., None] - torch.arange(width)).abs()).clamp(min=0)
            share_y = (1 - (y[..., None] - torch.arange(height)).abs()).clamp(min=0)
            read = torch.einsum("bqnh,bqnw,bhwnd->bqnd", share_y, share_x, level)
            total += weights[..., index, None] * read
        start, point = start + height * width, point + count
    return total.flatten(2)


@pytest.mark.parametrize("core", [sampled_attention, gathered_attention])
def test_cores_are_the_sum_that_the_definition_says(core: DeformableCore) -> None:
    value, locations, weights = _inputs()
    found = core(value, GRIDS, locations, weights, POINTS)
    torch.testing.assert_close(found, _tent_sum(value, locations, weights), rtol=0, atol=1e-12)


def test_gradients_of_both_cores_agree() -> None:
    gradients = []
    inputs = _inputs()
    for core in (sampled_attention, gathered_attention):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        core(leaves[0], GRIDS, leaves[1], leaves[2], POINTS).square().sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    for sampled, gathered in zip(*gradients, strict=True):
        torch.testing.assert_close(sampled, gathered, rtol=0, atol=1e-10)


def test_discrete_reads_the_cell_that_holds_the_point() -> None:
    value = torch.arange(12.0).view(1, 12, 1, 1)
    # Points near the middle of cells (column, row) = (0, 0), (3, 2), and one far outside at the right of row 1.
    locations = torch.tensor([[0.1, 0.1], [0.8, 0.7], [1.7, 0.4]]).view(1, 1, 1, 3, 2)
    weights = torch.tensor([1.0, 10.0, 100.0]).view(1, 1, 1, 3)
    found = discrete_attention(value, ((3, 4),), locations, weights, (3,))
    assert found.item() == 0 * 1 + 11 * 10 + 7 * 100


def test_a_head_starts_by_looking_its_own_way() -> None:
    attention = MultiScaleDeformableAttention(dim=16, num_heads=4, num_levels=2, num_points=(2, 1))
    offsets = attention.offsets.bias.view(4, 3, 2)
    right = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    torch.testing.assert_close(offsets[0], right, atol=1e-6, rtol=0)
    torch.testing.assert_close(offsets[2], -right, atol=1e-6, rtol=0)


def test_padding_is_read_as_zero() -> None:
    attention = MultiScaleDeformableAttention(dim=16, num_heads=4, num_levels=3)
    queries, references = torch.randn(2, 5, 16), torch.rand(2, 5, 1, 4)
    tokens, valid = torch.randn(2, TOKENS, 16), torch.rand(2, TOKENS) > 0.4
    other = torch.where(valid[..., None], tokens, torch.full_like(tokens, 50.0))
    found = [attention(queries, references, each, GRIDS, valid) for each in (tokens, other)]
    assert torch.equal(*found)


def test_points_per_level_must_fit_the_levels() -> None:
    with pytest.raises(ValueError, match="3 levels"):
        MultiScaleDeformableAttention(dim=16, num_heads=4, num_levels=3, num_points=(4, 4))
