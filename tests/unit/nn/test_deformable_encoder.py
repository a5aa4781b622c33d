"""Where the tokens of a padded pyramid stand, on every level."""

import torch

from sleuth.nn.deformable_encoder import cell_references, valid_ratios

GRIDS = ((4, 6), (2, 3))


def test_the_share_of_the_picture_is_counted_on_each_level() -> None:
    valid = torch.zeros(2, 30, dtype=torch.bool)
    valid[0] = True
    valid[1, :24].view(4, 6)[:3, :2] = True
    valid[1, 24:].view(2, 3)[:2, :1] = True
    ratios = valid_ratios(valid, GRIDS)
    torch.testing.assert_close(ratios[0], torch.ones(2, 2))
    torch.testing.assert_close(ratios[1], torch.tensor([[2 / 6, 3 / 4], [1 / 3, 2 / 2]]))


def test_a_cell_stands_at_its_centre_on_its_own_level_and_at_its_place_on_others() -> None:
    plain = cell_references(GRIDS)
    assert plain.shape == (1, 30, 1, 2)
    torch.testing.assert_close(plain[0, 7, 0], torch.tensor([1.5 / 6, 1.5 / 4]))
    ratios = torch.tensor([[[0.5, 1.0], [2 / 3, 1.0]]])
    placed = cell_references(GRIDS, ratios)
    assert placed.shape == (1, 30, 2, 2)
    torch.testing.assert_close(placed[0, 7, 0], torch.tensor([1.5 / 6, 1.5 / 4]))
    torch.testing.assert_close(placed[0, 7, 1], torch.tensor([1.5 / 3 * 2 / 3, 1.5 / 4]))
    torch.testing.assert_close(cell_references(GRIDS, torch.ones(1, 2, 2)), plain.expand(1, -1, 2, -1))
