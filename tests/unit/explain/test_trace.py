import json
from dataclasses import replace

import pytest
import torch

from sleuth.explain.trace import Trace, shape_text, trace_model
from sleuth.models.detr import Detr, DetrConfig, build_detr
from sleuth.types.batches import ImageBatch

CONFIG = DetrConfig(
    backbone="resnet10",
    backbone_width=8,
    num_classes=5,
    num_queries=7,
    dim=16,
    num_heads=2,
    encoder_layers=2,
    decoder_layers=3,
    feedforward_dim=32,
)


@pytest.fixture(scope="module")
def model() -> Detr:
    return build_detr(CONFIG)


def images(height: int = 64, width: int = 96) -> ImageBatch:
    return ImageBatch(torch.zeros(1, 3, height, width), torch.ones(1, height, width, dtype=torch.bool))


@pytest.fixture(scope="module")
def trace(model: Detr) -> Trace:
    return trace_model(model, images(), name="small")


def test_shapes_step_by_step(trace: Trace):
    assert {step.name: step.shape for step in trace.steps} == {
        "image": (1, 3, 64, 96),
        "feature map": (1, 64, 2, 3),
        "projection": (1, 16, 2, 3),
        "sequence": (1, 6, 16),
        "positions": (1, 6, 16),
        "memory": (1, 6, 16),
        "queries": (1, 7, 16),
        "decoder states": (3, 1, 7, 16),
        "class logits": (1, 7, 6),
        "boxes": (1, 7, 4),
    }


def test_parts_add_up_to_the_whole(trace: Trace, model: Detr):
    assert sum(step.parameters for step in trace.steps) == trace.parameters
    assert trace.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert sum(step.flops for step in trace.steps) == trace.flops > 0


def test_flops_are_those_of_the_formula(trace: Trace):
    tokens, dim, hidden = 6, 16, 32
    assert trace["projection"].flops == 2 * 64 * dim * tokens
    # Four projections, two products of attention, two linear layers; a multiply-add is two.
    attention = 2 * (4 * tokens * dim * dim + 2 * tokens * tokens * dim)
    layer = attention + 2 * (2 * tokens * dim * hidden)
    assert trace["memory"].flops == 2 * layer
    assert trace["class logits"].flops == 2 * 3 * 7 * dim * 6


def test_layers_are_told_apart_and_add_up(model: Detr):
    trace = trace_model(model, images(), layers=True)
    names = [step.name for step in trace.steps]
    assert names.index("stage 4") == names.index("feature map") - 1
    for part, count, whole in (("encoder", 2, "memory"), ("decoder", 3, "decoder states")):
        layers = [trace[f"{part} layer {number}"] for number in range(1, count + 1)]
        assert all(layer.detail for layer in layers)
        assert sum(layer.flops for layer in layers) == trace[whole].flops
    assert sum(step.flops for step in trace.steps if not step.detail) == trace.flops


def test_model_is_left_as_it_was(model: Detr):
    cores = [module.core for module in model.modules() if hasattr(module, "core")]
    model.train()
    model.backbone.eval()
    trace_model(model, images())
    assert model.training
    assert not model.backbone.training
    assert [module.core for module in model.modules() if hasattr(module, "core")] == cores
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    model.eval()


def test_hooks_are_removed_when_the_run_fails(model: Detr):
    def fail(*_: object) -> None:
        raise RuntimeError("on the way")

    hook = model.decoder.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="on the way"):
        trace_model(model, images())
    hook.remove()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_was_seen_is_what_ran(model: Detr):
    """Nothing is written down: another picture gives other numbers."""
    trace = trace_model(model, images(33, 65))
    assert trace["feature map"].shape == (1, 64, 2, 3)
    assert trace["image"].shape == (1, 3, 33, 65)
    assert trace_model(model, images(128, 128)).flops > trace.flops


def test_padded_batches_can_be_traced(model: Detr):
    valid = torch.ones(2, 64, 96, dtype=torch.bool)
    valid[1, :, 40:] = False
    trace = trace_model(model, ImageBatch(torch.zeros(2, 3, 64, 96), valid))
    assert trace["boxes"].shape == (2, 7, 4)


def test_table_and_json(trace: Trace):
    lines = str(trace).splitlines()
    assert lines[0].split() == ["step", "shape", "parameters", "GFLOPs", "what", "happens"]
    assert "[1,64,2,3]" in lines[3]
    assert lines[-2].split()[0] == "total"
    assert "multiply-add is two" in lines[-1]
    assert max(map(len, lines)) <= 120
    page = json.loads(json.dumps(trace.to_json()))
    assert page["steps"][1]["shape"] == [1, 64, 2, 3]
    assert page["flops"] == trace.flops


def test_a_step_that_is_not_there_is_named(trace: Trace):
    with pytest.raises(KeyError, match="no step 'masks'"):
        trace["masks"]


def test_shape_text():
    assert shape_text((1, 475, 256)) == "[1,475,256]"


def test_masks_are_traced_where_there_is_a_mask_head():
    config = replace(CONFIG, masks=True)
    plain, masked = (trace_model(build_detr(each), images()) for each in (replace(config, masks=False), config))
    queries = config.num_queries
    height, width = images().pixels.shape[-2:]
    assert masked["masks"].shape == (1, queries, height // 4, width // 4)
    grid = masked["feature map"].shape[-2:]
    assert masked["mask attention"].shape == (1, queries, config.num_heads, *grid)
    assert masked["masks"].flops > 0
    assert masked.flops == plain.flops + masked["masks"].flops
    with pytest.raises(KeyError, match="no step 'masks'"):
        plain["masks"]
