"""The flow of a vision Transformer: every shape, every parameter, every operation once."""

from dataclasses import replace

import pytest
import torch

from sleuth.errors import UserError
from sleuth.explain.vit_trace import trace_vit
from sleuth.models.vit import VitConfig, build_vit
from sleuth.nn.attention import Attention, fused_attention
from sleuth.types.batches import ImageBatch

TINY = VitConfig(
    image_hw=(8, 8), patch_size=4, num_classes=5, dim=16, depth=2, num_heads=2, feedforward_dim=24, registers=1
)


def images(height: int, width: int) -> ImageBatch:
    return ImageBatch(torch.zeros(1, 3, height, width), torch.ones(1, height, width, dtype=torch.bool))


def test_shapes_step_by_step() -> None:
    model = build_vit(TINY)
    trace = trace_vit(model, images(8, 10), name="tiny")
    shapes = {step.name: step.shape for step in trace.steps}
    assert shapes == {
        "image": (1, 3, 8, 10),
        "patches": (1, 6, 48),
        "tokens": (1, 6, 16),
        "positions": (7, 16),
        "sequence": (1, 8, 16),
        "norm 1": (1, 8, 16),
        **dict.fromkeys("qkv", (1, 2, 8, 8)),
        "attention": (1, 2, 8, 8),
        "attended": (1, 8, 16),
        "norm 2": (1, 8, 16),
        "hidden": (1, 8, 24),
        "feed-forward": (1, 8, 16),
        "block 1": (1, 8, 16),
        "block 2": (1, 1, 16),
        "states": (1, 1, 16),
        "pooled": (1, 16),
        "logits": (1, 5),
    }
    assert "padded to 8 x 12" in trace["image"].about
    # A multiply-add is two: of two products of attention, and of the last block for the one token that is read.
    assert trace["attention"].flops == 2 * (2 * 8 * 8 * 16)
    assert trace["q"].flops == 2 * (8 * 16 * 48)
    assert trace["block 2"].flops < trace["block 1"].flops
    assert trace["block 1"].flops == sum(step.flops for step in trace.steps if step.detail)
    assert trace["block 1"].parameters == sum(step.parameters for step in trace.steps if step.detail)
    assert all(module.core is fused_attention for module in model.modules() if isinstance(module, Attention))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pool": "mean", "norm_after_pool": True, "class_token": False, "prefix_positions": 0},
        {"pool": "class+mean", "positions": "sine"},
        {"distillation": "head", "prefix_positions": 2},
        {"attention": "local", "radius": 1},
        {"attention": "reduced"},
        {"attention": "linear", "positions": "rotary"},
        {"feedforward": "swiglu", "layer_scale": 1e-5, "positions": "none", "pooler": True},
    ],
    ids=str,
)
def test_parts_add_up_to_the_whole(changes: dict) -> None:
    model = build_vit(replace(TINY, **changes))
    trace = trace_vit(model, images(16, 12), layers=True)
    whole = [step for step in trace.steps if not step.detail]
    assert sum(step.parameters for step in whole) == trace.parameters
    assert trace.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert sum(step.flops for step in whole) == trace.flops > 0
    assert len([step for step in trace.steps if step.name == "attention"]) == 2
    assert trace["logits"].shape == (1, 5)
    if changes.get("attention") == "reduced":
        assert trace["reduced"].shape == (1, 2 + 2 * 2, 16)
        assert trace["attention"].shape == (1, 2, 14, 6)


def test_a_picture_smaller_than_a_patch_is_refused_and_nothing_stays_behind() -> None:
    model = build_vit(TINY)
    with pytest.raises(UserError, match="smaller than a patch of 4x4"):
        trace_vit(model, images(3, 8))
    assert all(module.core is fused_attention for module in model.modules() if isinstance(module, Attention))
