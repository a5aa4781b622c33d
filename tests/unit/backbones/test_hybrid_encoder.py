"""RT-DETR's and D-FINE's hybrid encoders: sizes, fusing, and what reaches what."""

import pytest
import torch
from torch import Tensor

from sleuth.backbones.hybrid_encoder import HybridEncoder
from sleuth.nn.folding import FoldedConvolutions

CHANNELS = (8, 12, 16)


def small(**options: object) -> HybridEncoder:
    defaults = {"in_channels": CHANNELS, "dim": 16, "num_heads": 2, "feedforward_dim": 32, "depth": 0.34}
    return HybridEncoder(**{**defaults, **options}).eval()


def pictures(height: int, width: int, channels: tuple[int, ...] = CHANNELS) -> list[Tensor]:
    """Maps as a backbone leaves them: each half the size of the one before, rounded up."""
    return [torch.randn(2, count, -(-height >> level), -(-width >> level)) for level, count in enumerate(channels)]


@pytest.mark.parametrize("fusion", ["csp", "elan"])
@pytest.mark.parametrize("size_hw", [(8, 12), (7, 9), (5, 5), (4, 4)])
def test_every_level_keeps_its_size_whether_or_not_it_halves_evenly(fusion: str, size_hw: tuple[int, int]) -> None:
    maps = [
        torch.randn(1, count, -(-size_hw[0] // 2**level), -(-size_hw[1] // 2**level))
        for level, count in enumerate(CHANNELS)
    ]
    out = small(fusion=fusion)(maps)
    assert [level.shape for level in out] == [(1, 16, *level.shape[-2:]) for level in maps]


@pytest.mark.parametrize("options", [{"fusion": "csp", "expansion": 0.5}, {"fusion": "elan", "depth": 1.0}])
def test_a_fused_encoder_answers_the_same(options: dict) -> None:
    encoder = small(**options).train()
    maps = pictures(8, 12)
    with torch.no_grad():
        for _ in range(3):
            encoder(maps)  # statistics that are none of 0 and 1
        before = encoder.eval()(maps)
        with FoldedConvolutions(encoder):
            after = encoder(maps)
    for a, b in zip(after, before, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
        assert not torch.equal(a, b)


@pytest.mark.parametrize("fusion", ["csp", "elan"])
def test_the_coarsest_level_reaches_every_level_and_so_does_the_finest(fusion: str) -> None:
    encoder = small(fusion=fusion)
    for source in (0, 2):
        maps = [level.requires_grad_() for level in pictures(8, 8)]
        for level in encoder(maps):
            (reach,) = torch.autograd.grad(level.square().sum(), maps[source], retain_graph=True)
            assert reach.abs().sum() > 0


def test_two_levels_and_no_attention() -> None:
    encoder = small(in_channels=(8, 12), num_layers=0)
    out = encoder(pictures(6, 4, (8, 12)))
    assert [level.shape[-2:] for level in out] == [(6, 4), (3, 2)]
    assert encoder.channels == (16, 16)
    assert not [key for key in encoder.state_dict() if "intra_scale" in key]


def test_channels_stay_innermost() -> None:
    maps = [level.contiguous(memory_format=torch.channels_last) for level in pictures(8, 12)]
    for level in small()(maps):
        assert level.is_contiguous(memory_format=torch.channels_last)
