"""The data flow of detectors that are no DETR, told by their parts."""

import pytest
import torch
from torch import nn

from sleuth.explain.trace import trace_model
from sleuth.models.detector import Detector
from sleuth.models.rtdetr import RtDetrConfig, build_rtdetr
from sleuth.types.batches import ImageBatch

CONFIG = RtDetrConfig(
    backbone="resnet10",
    backbone_width=8,
    num_classes=5,
    num_queries=7,
    dim=16,
    num_heads=2,
    feedforward_dim=32,
    decoder_layers=2,
    num_points=(2, 2, 2),
    encoder_dim=16,
    encoder_num_heads=2,
    encoder_feedforward_dim=32,
)


@pytest.fixture(scope="module")
def model() -> Detector:
    return build_rtdetr(CONFIG)


def images(height: int = 64, width: int = 96) -> ImageBatch:
    return ImageBatch(torch.zeros(1, 3, height, width), torch.ones(1, height, width, dtype=torch.bool))


def test_shapes_step_by_step(model: Detector) -> None:
    trace = trace_model(model, images(), name="small")
    assert {step.name: step.shape for step in trace.steps} == {
        "image": (1, 3, 64, 96),
        "feature map 1": (1, 16, 8, 12),
        "feature map 2": (1, 32, 4, 6),
        "feature map": (1, 64, 2, 3),
        "encoder": (1, 16, 2, 3),
        "input proj": (1, 16, 2, 3),
        "memory": (1, 126, 16),
        "queries": (1, 7, 16),
        "decoder states": (2, 1, 7, 16),
        "denoising": (),
        "class logits": (1, 7, 5),
        "boxes": (1, 7, 4),
    }
    assert trace["feature map"].about == "32 pixels to a cell"
    assert trace["memory"].about.startswith("3 levels, 8 x 12 and 4 x 6 and 2 x 3 cells")
    assert trace["denoising"].about == "at work while training only"
    assert "[]" not in trace.render()


def test_everything_is_counted_once(model: Detector) -> None:
    trace = trace_model(model, images(), layers=True)
    whole = [step for step in trace.steps if not step.detail]
    assert sum(step.parameters for step in whole) == sum(parameter.numel() for parameter in model.parameters())
    assert sum(step.flops for step in whole) == trace.flops > 0
    layers = [step for step in trace.steps if step.name.startswith("decoder layers")]
    assert [step.name for step in layers] == ["decoder layers 0", "decoder layers 1"]
    assert trace["class logits"].flops == 2 * 2 * 7 * 16 * 5
    assert trace["decoder states"].flops >= sum(step.flops for step in layers) > 0


def test_the_model_is_left_as_it_was(model: Detector) -> None:
    model.train()
    model.backbone.requires_grad_(False)
    trace_model(model, images())
    assert model.training
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())
    assert all(parameter.requires_grad for parameter in model.decoder.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_parameter_may_be_handed_to_a_part() -> None:
    """And what belongs to no part is told of as well."""
    model = build_rtdetr(CONFIG)
    model.scale = nn.Parameter(torch.ones(1, 16))
    model.extra = nn.Linear(16, 16)
    before = model.forward
    model.forward = lambda images, targets=None: (model.extra(model.scale), before(images, targets))[1]
    trace = trace_model(model, images())
    assert trace["extra"].shape == (1, 16)
    assert trace["elsewhere"].parameters == 16
    assert sum(step.parameters for step in trace.steps if not step.detail) == trace.parameters
