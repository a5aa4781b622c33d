import pytest
import torch
from torch import nn

from sleuth.explain.record import SampledAttention, record_attention
from sleuth.models.dino import DinoConfig, build_dino
from sleuth.nn.attention import fused_attention
from sleuth.nn.deformable import MultiScaleDeformableAttention, sampled_attention
from sleuth.nn.deformable_layers import DeformableDecoderLayer
from sleuth.nn.layers import DecoderLayer
from sleuth.types.batches import ImageBatch


def layer(dropout: float = 0.0) -> DecoderLayer:
    return DecoderLayer(dim=8, num_heads=2, feedforward_dim=16, dropout=dropout).eval()


def test_weights_are_recorded_by_module_and_the_answer_stays_the_same():
    module, states, memory = layer(), torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    expected = module(states, memory)
    with record_attention(module) as maps:
        found = module(states, memory)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert list(maps) == ["self_attention", "cross_attention"]
    assert len(maps) == 2
    assert maps["cross_attention"].shape == (1, 2, 3, 5)
    torch.testing.assert_close(maps["cross_attention"].sum(-1), torch.ones(1, 2, 3))
    assert module.self_attention.core is fused_attention


def test_every_run_is_kept_and_the_last_is_given():
    module, memory = layer(), torch.randn(1, 5, 8)
    with record_attention(module, only="cross") as maps:
        for _ in range(2):
            module(torch.randn(1, 3, 8), memory)
    assert list(maps) == ["cross_attention"]
    assert len(maps.entries["cross_attention"]) == 2
    assert maps["cross_attention"] is maps.entries["cross_attention"][-1]


def test_cores_come_back_after_a_failure():
    module = layer()

    def fail() -> None:
        with record_attention(module):
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail()
    assert module.cross_attention.core is fused_attention


def test_an_empty_record_is_an_error():
    with pytest.raises(ValueError, match="no attention was recorded"), record_attention(layer()):
        pass
    with pytest.raises(ValueError, match="no attention whose name holds"), record_attention(nn.Linear(2, 2)):
        pass
    with pytest.raises(ValueError, match="holds 'mask'"), record_attention(layer(), only="mask"):
        pass


def test_dropout_cannot_be_recorded():
    module = layer(dropout=0.5).train()
    with pytest.raises(RuntimeError, match=r"call model\.eval"), record_attention(module):
        module(torch.randn(1, 3, 8), torch.randn(1, 5, 8))
    assert module.self_attention.core is fused_attention


def test_an_unknown_name_lists_the_known_ones():
    module = layer()
    with record_attention(module) as maps:
        module(torch.randn(1, 3, 8), torch.randn(1, 5, 8))
    with pytest.raises(KeyError, match="cross_attention"):
        maps["encoder"]


def pyramid_layer() -> DeformableDecoderLayer:
    attention = MultiScaleDeformableAttention(dim=8, num_heads=2, num_levels=2, num_points=(3, 2))
    return DeformableDecoderLayer(dim=8, num_heads=2, cross_attention=attention, feedforward_dim=16).eval()


def test_points_of_deformable_attention_are_recorded_beside_maps():
    module, grids = pyramid_layer(), ((4, 5), (2, 3))
    given = (torch.randn(2, 3, 8), torch.zeros(2, 3, 8), torch.rand(2, 3, 1, 4), torch.randn(2, 26, 8), grids)
    core, expected = module.cross_attention.core, module(*given)
    with record_attention(module) as maps:
        found = module(*given)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert list(maps) == ["self_attention", "cross_attention"]
    assert list(maps.dense) == ["self_attention"]
    points = maps.sampled["cross_attention"]
    assert points is maps["cross_attention"]
    assert isinstance(points, SampledAttention)
    assert points.locations.shape == (2, 3, 2, 5, 2)
    assert (points.grids_hw, points.num_points) == (grids, (3, 2))
    torch.testing.assert_close(points.weights.sum(-1), torch.ones(2, 3, 2))
    value = module.cross_attention.values(given[3])
    read = sampled_attention(value, grids, points.locations, points.weights, points.num_points)
    torch.testing.assert_close(read, core(value, grids, points.locations, points.weights, points.num_points))
    assert module.cross_attention.core is core


def test_an_empty_record_of_points_is_an_error_and_cores_come_back():
    module = pyramid_layer()
    core = module.cross_attention.core
    with pytest.raises(ValueError, match="no attention was recorded"), record_attention(module, only="cross"):
        pass
    assert module.cross_attention.core is core


def test_a_whole_detector_is_recorded():
    config = DinoConfig(backbone="resnet10", backbone_width=4, num_queries=5, dim=32, num_heads=2, encoder_layers=1,
                        decoder_layers=2, feedforward_dim=16)  # fmt: skip
    images = ImageBatch(torch.randn(1, 3, 64, 96), torch.ones(1, 64, 96, dtype=torch.bool))
    model = build_dino(config).eval()
    with torch.no_grad(), record_attention(model) as maps:
        model(images)
    assert set(maps.sampled) == {
        "encoder.layers.0.self_attention",
        "decoder.layers.0.cross_attention",
        "decoder.layers.1.cross_attention",
    }
    assert set(maps.dense) == {"decoder.layers.0.self_attention", "decoder.layers.1.self_attention"}
    assert maps.dense["decoder.layers.1.self_attention"].shape == (1, 2, 5, 5)
    assert maps.sampled["encoder.layers.0.self_attention"].locations.shape == (1, 128, 2, 16, 2)
