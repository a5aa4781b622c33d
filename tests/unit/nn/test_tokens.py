"""Words as vectors: each published layout of sine positions, and learned tables."""

import math

import pytest
import torch

from sleuth.nn.positions import sine_positions_1d
from sleuth.nn.tokens import LearnedTokenPositions, SinePositions1d, sine_table


def test_the_papers_formula() -> None:
    table = sine_table(40, 8)
    for pos, i in ((0, 0), (7, 1), (39, 3)):
        angle = pos / 10_000 ** (2 * i / 8)
        assert table[pos, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert table[pos, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    torch.testing.assert_close(table, sine_positions_1d(40, 8), atol=1e-5, rtol=0)


def test_halves_hold_the_same_numbers_in_another_order() -> None:
    interleaved, halves = sine_table(5, 8), sine_table(5, 8, layout="halves")
    assert torch.equal(halves, torch.cat((interleaved[:, 0::2], interleaved[:, 1::2]), dim=1))


def test_the_endpoint_is_the_longest_wavelength() -> None:
    table = sine_table(3, 8, layout="halves", endpoint=True)
    assert table[2, 3].item() == pytest.approx(math.sin(2 / 10_000), abs=1e-8)
    assert torch.isfinite(sine_table(3, 2, endpoint=True)).all()


def test_positions_may_start_elsewhere() -> None:
    assert torch.equal(sine_table(3, 8, start=2), sine_table(5, 8)[2:])


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="even dim, not 7"):
        sine_table(3, 7)


@pytest.mark.parametrize("positions", [SinePositions1d(length=6, dim=4), LearnedTokenPositions(length=6, dim=4)])
def test_positions_are_read_from_any_word_on_but_not_beyond_the_table(positions: torch.nn.Module) -> None:
    assert torch.equal(positions(2, 3), positions(6)[3:5])
    with pytest.raises(ValueError, match="7 tokens, but the model has 6"):
        positions(3, 4)


def test_sine_positions_have_no_weights() -> None:
    assert not SinePositions1d(length=6, dim=4).state_dict()
    assert set(LearnedTokenPositions(length=6, dim=4).state_dict()) == {"table"}
