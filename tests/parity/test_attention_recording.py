"""Recording attention changes nothing but what is kept."""

import pytest
import torch

from sleuth.explain.record import record_attention
from sleuth.models.detr import Detr, DetrConfig, build_detr
from sleuth.nn.attention import MultiHeadAttention, fused_attention
from sleuth.types.batches import ImageBatch

TINY = DetrConfig(
    backbone="resnet10",
    backbone_width=4,
    num_classes=3,
    num_queries=5,
    dim=16,
    num_heads=2,
    encoder_layers=2,
    decoder_layers=3,
    feedforward_dim=32,
    dropout=0.0,
)


@pytest.fixture
def model() -> Detr:
    return build_detr(TINY).eval()


def images() -> ImageBatch:
    valid = torch.ones(2, 64, 96, dtype=torch.bool)
    valid[1, :, 64:] = False
    return ImageBatch(pixels=torch.randn(2, 3, 64, 96), valid=valid)


@torch.no_grad()
def test_the_answers_are_those_of_the_fused_kernel(model: Detr) -> None:
    batch = images()
    plain = model(batch)
    with record_attention(model) as maps:
        recorded = model(batch)
    torch.testing.assert_close(recorded.logits, plain.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(recorded.boxes_cxcywh, plain.boxes_cxcywh, atol=1e-5, rtol=1e-5)
    assert len(maps) == 2 + 2 * 3
    for name, weights in maps.items():
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), msg=name)
    assert maps["encoder.layers.1.self_attention"].shape == (2, 2, 6, 6)
    cross = maps["decoder.layers.2.cross_attention"]
    assert cross.shape == (2, 2, 5, 6)
    assert bool((cross[1, :, :, [2, 5]] == 0).all()), "padding is looked at"


@torch.no_grad()
def test_the_fused_kernel_is_put_back_whatever_happens(model: Detr) -> None:
    with pytest.raises(RuntimeError, match="stop"), record_attention(model):
        raise RuntimeError("stop")
    assert all(m.core is fused_attention for m in model.modules() if isinstance(m, MultiHeadAttention))


def test_an_empty_record_is_an_error(model: Detr) -> None:
    with pytest.raises(ValueError, match="no attention was recorded"), record_attention(model):
        pass
    with (
        pytest.raises(ValueError, match="no attention whose name holds 'nonesuch'"),
        record_attention(model, only="nonesuch"),
    ):
        pass


@torch.no_grad()
def test_runs_are_kept_in_turn(model: Detr) -> None:
    with record_attention(model, only="encoder.layers.0") as maps:
        model(images())
        model(images())
    assert list(maps) == ["encoder.layers.0.self_attention"]
    assert len(maps.entries["encoder.layers.0.self_attention"]) == 2
    with pytest.raises(KeyError, match="no attention recorded"):
        maps["decoder"]
