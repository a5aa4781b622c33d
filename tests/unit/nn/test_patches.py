"""Patches: the convolution and the product of unfolded patches are one map."""

import pytest
import torch

from sleuth.nn.patches import PatchEmbedding, grid_of, padded_to_patches, unfolded


@pytest.mark.parametrize("size_hw", [(16, 16), (8, 24), (32, 8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_two_forms_are_equal(size_hw: tuple[int, int], channels: int) -> None:
    embed = PatchEmbedding(dim=10, patch_size=8, channels=channels).double()
    torch.nn.init.normal_(embed.bias)
    pixels = torch.randn(2, channels, *size_hw, dtype=torch.float64)
    torch.testing.assert_close(embed(pixels), embed.by_convolution(pixels), rtol=0, atol=1e-12)


def test_their_gradients_are_equal() -> None:
    embed, pixels = PatchEmbedding(dim=5, patch_size=4).double(), torch.randn(2, 3, 8, 12, dtype=torch.float64)
    found = []
    for form in (embed, embed.by_convolution):
        embed.zero_grad()
        form(pixels).square().sum().backward()
        found.append([embed.weight.grad.clone(), embed.bias.grad.clone()])
    torch.testing.assert_close(found[0], found[1])


def test_a_patch_is_a_row() -> None:
    pixels = torch.arange(2 * 4 * 6.0).reshape(1, 2, 4, 6)
    rows = unfolded(pixels, 2)
    assert rows.shape == (1, 6, 8)
    # The second row of patches, its third patch.
    assert rows[0, 5].tolist() == pixels[0, :, 2:4, 4:6].flatten().tolist()


def test_sides_are_padded_to_whole_patches() -> None:
    pixels = torch.ones(1, 3, 9, 16)
    padded = padded_to_patches(pixels, 8)
    assert padded.shape == (1, 3, 16, 16)
    assert padded.sum() == pixels.sum()
    assert bool((padded[:, :, 9:] == 0).all())
    assert padded_to_patches(pixels[:, :, :8], 8).shape == (1, 3, 8, 16)
    assert grid_of((9, 16), 8) == (2, 2)
