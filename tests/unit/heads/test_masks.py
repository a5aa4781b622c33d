"""The mask head: what it computes, for whom, and that padding takes no attention."""

import pytest
import torch
import torch.nn.functional as F

from sleuth.heads.masks import MaskAttention, MaskHead
from sleuth.types.memory import Memory

DIM, HEADS = 32, 4


def _memory(valid: torch.Tensor | None = None) -> Memory:
    tokens = torch.randn(2, 12, DIM)
    pyramid = tuple(
        torch.randn(2, channels, height, width)
        for channels, height, width in ((8, 12, 16), (16, 6, 8), (24, 3, 4), (DIM, 3, 4))
    )
    return Memory(tokens=tokens, pos=tokens, valid=valid, grids_hw=((3, 4),), input_hw=(48, 64), pyramid=pyramid)


def _head() -> MaskHead:
    return MaskHead(dim=DIM, num_heads=HEADS, pyramid_channels=(24, 16, 8)).eval()


def test_masks_have_the_size_of_the_finest_stage() -> None:
    reader = _head()(torch.randn(2, 5, DIM), _memory())
    assert reader(torch.tensor([0, 1, 1]), torch.tensor([4, 0, 2])).shape == (3, 12, 16)


def test_no_mask_is_asked_for() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert _head()(torch.randn(2, 5, DIM), _memory())(none, none).shape == (0, 12, 16)


def test_sharing_the_first_convolution_changes_nothing() -> None:
    head, memory = _head(), _memory()
    states = torch.randn(2, 5, DIM)
    picture, query = torch.tensor([1, 0, 1]), torch.tensor([3, 3, 0])
    x = torch.cat(
        [
            memory.pyramid[-1][picture],
            head.attention(states, memory.tokens, None)[picture, query].unflatten(-1, (3, 4)),
        ],
        dim=1,
    )
    for step, (conv, norm) in enumerate(zip(head.convs, head.norms, strict=True)):
        x = norm(conv(x)).relu()
        if 1 <= step <= 3:
            detail = head.laterals[step - 1](memory.pyramid[3 - step])[picture]
            x = F.interpolate(x, size=detail.shape[-2:], mode="nearest") + detail
    plain = head.out(x)[:, 0]
    torch.testing.assert_close(head(states, memory)(picture, query), plain, rtol=1e-4, atol=1e-5)


def test_every_parameter_learns_from_one_mask() -> None:
    head = _head()
    head(torch.randn(2, 5, DIM), _memory())(torch.tensor([1]), torch.tensor([2])).square().sum().backward()
    without = [name for name, parameter in head.named_parameters() if parameter.grad is None]
    assert not without


def test_attention_is_shared_by_heads_and_pixels_and_none_falls_on_padding() -> None:
    valid = torch.ones(2, 12, dtype=torch.bool)
    valid[1, 8:] = False
    maps = MaskAttention(dim=DIM, num_heads=HEADS)(torch.randn(2, 5, DIM), torch.randn(2, 12, DIM), valid)
    assert maps.shape == (2, 5, HEADS, 12)
    torch.testing.assert_close(maps.sum((-1, -2)), torch.ones(2, 5))
    assert maps[1, :, :, 8:].abs().max() == 0


def test_a_dim_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="dim = 8 is too small"):
        MaskHead(dim=8, num_heads=2, pyramid_channels=(3, 3, 3))
