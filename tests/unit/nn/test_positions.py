"""Positions: sine ones in closed form, learned ones, and learned ones on another grid."""

import math

import pytest
import timm.layers
import torch
from torch import Tensor

from sleuth.nn.positions import (
    LearnedPositions1d,
    LearnedPositions2d,
    SinePositions2d,
    resize_positions_1d,
    resize_positions_2d,
    sine_positions_1d,
    sine_positions_2d,
    sine_positions_grid,
    sine_positions_of,
)


def grid(height: int, width: int) -> Tensor:
    return torch.ones(1, height, width, dtype=torch.bool)


def closed_form(steps: float, dim: int, temperature: float = 10_000.0) -> list[float]:
    """sin and cos by turns, one wavelength for each pair."""
    pairs = [
        (math.sin(angle), math.cos(angle)) for i in range(0, dim, 2) for angle in [steps / temperature ** (i / dim)]
    ]
    return [value for pair in pairs for value in pair]


@pytest.mark.parametrize("temperature", [10_000.0, 20.0])
def test_sine_1d_is_the_formula(temperature: float) -> None:
    table = sine_positions_1d(9, 6, temperature=temperature)
    assert table.shape == (9, 6)
    for place in range(9):
        assert table[place].tolist() == pytest.approx(closed_form(place, 6, temperature), abs=1e-6)


def test_sine_1d_shifts_by_a_rotation() -> None:
    """A fixed offset is one linear map of the table, whatever the place: what makes sine positions useful."""
    table = sine_positions_1d(20, 8).double()
    shift = torch.linalg.lstsq(table[:-3], table[3:]).solution
    torch.testing.assert_close(table[:-3] @ shift, table[3:], atol=1e-5, rtol=0)


def test_sine_2d_is_the_formula_y_before_x() -> None:
    height, width, dim = 3, 5, 8
    table = sine_positions_2d(grid(height, width), dim)[0]
    for y in range(height):
        for x in range(width):
            down = (y + 1) / (height + 1e-6) * 2 * math.pi
            right = (x + 1) / (width + 1e-6) * 2 * math.pi
            expected = closed_form(down, dim // 2) + closed_form(right, dim // 2)
            assert table[y, x].tolist() == pytest.approx(expected, abs=1e-5)


def test_sine_2d_halves_tell_rows_and_columns() -> None:
    table = sine_positions_2d(grid(4, 6), 8)[0]
    y, x = table[..., :4], table[..., 4:]
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert torch.equal(x, x[:1].expand_as(x))


def test_sine_2d_options() -> None:
    table = sine_positions_2d(grid(2, 2), 4, temperature=20.0, scale=1.0, offset=-0.5)[0]
    assert table[0, 1].tolist() == pytest.approx(
        [math.sin(0.25), math.cos(0.25), math.sin(0.75), math.cos(0.75)], abs=1e-5
    )


def test_sine_2d_does_not_see_padding() -> None:
    """A picture keeps its positions however much padding the batch adds below and to the right."""
    valid = torch.zeros(3, 9, 12, dtype=torch.bool)
    sizes = [(4, 6), (9, 12), (1, 12)]
    for row, (h, w) in enumerate(sizes):
        valid[row, :h, :w] = True
    padded = sine_positions_2d(valid, 16)
    assert bool(padded.isfinite().all())
    for row, (h, w) in enumerate(sizes):
        torch.testing.assert_close(padded[row, :h, :w], sine_positions_2d(grid(h, w), 16)[0], atol=1e-6, rtol=0)


def test_sine_module_is_the_function_without_parameters() -> None:
    module = SinePositions2d(dim=8, temperature=20.0, offset=-0.5)
    assert not module.state_dict()
    assert torch.equal(module(grid(3, 4)), sine_positions_2d(grid(3, 4), 8, temperature=20.0, offset=-0.5))


def test_sine_dims_that_cannot_be_split_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        sine_positions_1d(4, 5)
    with pytest.raises(ValueError, match="multiple of 4"):
        sine_positions_2d(grid(2, 2), 6)


def test_learned_1d_gives_the_first_places() -> None:
    module = LearnedPositions1d(length=6, dim=4)
    assert torch.equal(module(4), module.weight[:4])
    with pytest.raises(ValueError, match="7 places, but positions were learned for 6"):
        module(7)


def test_learned_2d_is_column_beside_row() -> None:
    """The learned form of the original tells x first, unlike its sine form."""
    module = LearnedPositions2d(dim=6, rows=5, columns=7)
    table = module(torch.ones(2, 3, 4, dtype=torch.bool))
    assert table.shape == (2, 3, 4, 6)
    for y in range(3):
        for x in range(4):
            assert torch.equal(table[1, y, x], torch.cat((module.column[x], module.row[y])))


def test_learned_2d_reaches_every_weight_it_uses() -> None:
    module = LearnedPositions2d(dim=4, rows=5, columns=5)
    module(grid(2, 3)).sum().backward()
    assert module.row.grad is not None
    assert module.column.grad is not None
    assert module.row.grad[:, 0].tolist() == [3.0, 3.0, 0.0, 0.0, 0.0]
    assert module.column.grad[:, 0].tolist() == [2.0, 2.0, 2.0, 0.0, 0.0]


def test_learned_2d_stretches_over_a_larger_grid() -> None:
    module = LearnedPositions2d(dim=4, rows=3, columns=3)
    table = module(grid(8, 2))[0]
    assert table.shape == (8, 2, 4)
    torch.testing.assert_close(table[:, 0, 2:], resize_positions_1d(module.row, 8))
    assert torch.equal(table[0, :, :2], module.column[:2])


def test_resize_1d() -> None:
    table = torch.tensor([[0.0, 4.0], [1.0, 3.0], [2.0, 2.0]])
    assert torch.equal(resize_positions_1d(table, 3), table)
    assert resize_positions_1d(table, 6)[:, 0].tolist() == pytest.approx([0.0, 0.25, 0.75, 1.25, 1.75, 2.0])


def test_resize_2d_to_the_same_grid_changes_nothing() -> None:
    table = torch.randn(1 + 12, 5)
    assert torch.equal(resize_positions_2d(table, (3, 4), (3, 4), prefix=1), table)


@pytest.mark.parametrize("new_hw", [(7, 9), (2, 3), (4, 3), (1, 1)])
@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("antialias", [True, False])
def test_resize_2d_equals_timm(new_hw: tuple[int, int], prefix: int, antialias: bool) -> None:
    table = torch.randn(prefix + 12, 6, generator=torch.Generator().manual_seed(0))
    ours = resize_positions_2d(table, (3, 4), new_hw, prefix=prefix, antialias=antialias)
    theirs = timm.layers.resample_abs_pos_embed(
        table[None], list(new_hw), old_size=[3, 4], num_prefix_tokens=prefix, antialias=antialias
    )
    torch.testing.assert_close(ours, theirs[0], atol=1e-6, rtol=1e-6)
    assert torch.equal(ours[:prefix], table[:prefix])


def test_resize_2d_transposes_with_the_grid() -> None:
    """Height and width are not mixed up: the transposed table resized is the resized table transposed."""
    table = torch.randn(3, 4, 2)
    ours = resize_positions_2d(table.flatten(0, 1), (3, 4), (6, 5)).unflatten(0, (6, 5))
    turned = resize_positions_2d(table.transpose(0, 1).flatten(0, 1), (4, 3), (5, 6)).unflatten(0, (5, 6))
    torch.testing.assert_close(ours, turned.transpose(0, 1), atol=1e-5, rtol=1e-5)


def test_resize_2d_counts_the_positions() -> None:
    with pytest.raises(ValueError, match="13 positions do not make 2 extra tokens and a grid of"):
        resize_positions_2d(torch.zeros(13, 4), (3, 4), (6, 8), prefix=2)


def test_positions_of_a_grid_tell_row_and_column() -> None:
    pos = sine_positions_grid((3, 5), 16).view(3, 5, 16)
    assert torch.equal(pos[1, 0, :8], pos[1, 4, :8])
    assert torch.equal(pos[0, 2, 8:], pos[2, 2, 8:])
    assert len(pos.flatten(0, 1).unique(dim=0)) == 15
    torch.testing.assert_close(pos[2, 3, 0], torch.tensor(2.0).sin())
    torch.testing.assert_close(pos[2, 3, 12], torch.tensor(3.0).cos())


def test_the_original_order_of_a_grid_is_the_same_on_squares_alone() -> None:
    assert torch.equal(sine_positions_grid((4, 4), 8), sine_positions_grid((4, 4), 8, order="original"))
    assert not torch.equal(sine_positions_grid((3, 4), 8), sine_positions_grid((3, 4), 8, order="original"))
    with pytest.raises(ValueError, match="multiple of 4"):
        sine_positions_grid((2, 2), 6)


def test_positions_of_numbers_stand_one_after_another() -> None:
    made = sine_positions_of(torch.tensor([[0.25, 1.0]]), 8)
    expected = closed_form(0.25 * 2 * math.pi, 8) + closed_form(2 * math.pi, 8)
    torch.testing.assert_close(made[0], torch.tensor(expected), atol=1e-5, rtol=0)
