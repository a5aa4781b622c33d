"""Self-attention by one product is the attention of three, and rotations tell the distance alone."""

import pytest
import torch

from sleuth.nn.attention import MultiHeadAttention, SelfAttention, padding_mask
from sleuth.nn.rotary import Rotation, rotary_2d, rotated


@pytest.mark.parametrize("bias", [True, False])
def test_one_product_is_three(bias: bool) -> None:
    stacked, apart = SelfAttention(dim=24, num_heads=3, bias=bias), MultiHeadAttention(dim=24, num_heads=3)
    for number, projection in enumerate((apart.q_proj, apart.k_proj, apart.v_proj)):
        rows = slice(24 * number, 24 * (number + 1))
        projection.weight.data = stacked.qkv.weight.data[rows]
        projection.bias.data = stacked.qkv.bias.data[rows] if bias else torch.zeros(24)
    apart.out_proj.load_state_dict(stacked.out_proj.state_dict())
    tokens = torch.randn(2, 7, 24)
    attend = padding_mask(torch.tensor([[True] * 7, [True] * 5 + [False] * 2]))
    for mask in (None, attend):
        expected = apart(tokens, tokens, tokens, mask)
        torch.testing.assert_close(stacked(tokens, mask), expected, rtol=0, atol=1e-6)


def test_a_width_that_heads_do_not_part_is_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple"):
        SelfAttention(dim=10, num_heads=3)


def test_rotated_products_depend_on_the_distance_alone() -> None:
    angles = rotary_2d((6, 6), 8)
    rotation = Rotation(angles[0][None, None], angles[1][None, None])
    q, k = torch.randn(8), torch.randn(8)
    turned_q, turned_k = (rotated(x.expand(1, 1, 36, 8), rotation)[0, 0] for x in (q, k))
    scores = (turned_q @ turned_k.T).unflatten(0, (6, 6)).unflatten(2, (6, 6))
    for y, x in ((0, 0), (1, 2), (3, 1)):
        # From any place, the same step brings the same product.
        torch.testing.assert_close(scores[y, x, y + 2, x + 3], scores[0, 0, 2, 3], rtol=0, atol=1e-5)
    assert (scores[0, 0, 2, 3] - scores[0, 0, 3, 2]).abs() > 1e-3


def test_rotations_are_by_the_written_formula() -> None:
    cos, sin = rotary_2d((3, 4), 8, prefix=1, temperature=10.0)
    assert bool((cos[0] == 1).all())
    assert bool((sin[0] == 0).all())
    row, column = 2, 3
    token = 1 + row * 4 + column
    angles = torch.tensor([row, row, row / 10**0.5, row / 10**0.5, column, column, column / 10**0.5, column / 10**0.5])
    torch.testing.assert_close(cos[token], angles.cos())
    torch.testing.assert_close(sin[token], angles.sin())


def test_rotation_keeps_lengths_and_leaves_the_origin_alone() -> None:
    angles = rotary_2d((4, 5), 12)
    x = torch.randn(2, 3, 20, 12)
    turned = rotated(x, Rotation(angles[0][None, None], angles[1][None, None]))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])


def test_channels_that_make_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        rotary_2d((2, 2), 6)
