"""The flow of a Segmenter: every shape, every parameter, every operation once."""

from dataclasses import replace

import pytest
import torch

from sleuth.errors import UserError
from sleuth.explain.segmenter_trace import trace_segmenter
from sleuth.models.segmenter import SegmenterConfig, build_segmenter
from sleuth.models.vit import VitConfig
from sleuth.nn.attention import Attention, fused_attention
from sleuth.types.batches import ImageBatch

VIT = VitConfig(image_hw=(8, 8), patch_size=4, num_classes=0, dim=16, depth=2, num_heads=2, feedforward_dim=24)
TINY = SegmenterConfig(VIT, num_classes=5, head_depth=1)


def images(height: int, width: int) -> ImageBatch:
    return ImageBatch(torch.zeros(1, 3, height, width), torch.ones(1, height, width, dtype=torch.bool))


def test_shapes_step_by_step() -> None:
    model = build_segmenter(TINY)
    trace = trace_segmenter(model, images(8, 10), name="tiny")
    block = ["norm 1", "q", "k", "v", "attention", "attended", "norm 2", "hidden", "feed-forward"]
    backbone = ["image", "patches", "tokens", "positions", "sequence", *block, "block 1", "block 2", "states"]
    asking = ["queries", "projected", "classes and patches", *block, "head block 1", "head states"]
    answer = ["class vectors", "patch vectors", "cosines", "logits"]
    assert [step.name for step in trace.steps] == [*backbone, "memory", *asking, *answer]
    shapes = {step.name: step.shape for step in trace.steps}  # of the blocks, those of the last that is told in full
    assert shapes["states"] == (1, 7, 16)  # with the class token
    assert shapes["memory"] == shapes["projected"] == shapes["patch vectors"] == (1, 6, 16)
    assert shapes["queries"] == shapes["class vectors"] == (1, 5, 16)
    assert shapes["classes and patches"] == shapes["head states"] == (1, 11, 16)
    assert shapes["attention"] == (1, 2, 11, 11)
    assert (shapes["cosines"], shapes["logits"]) == ((1, 6, 5), (1, 5, 2, 3))
    assert trace["cosines"].flops == 2 * (6 * 5 * 16)
    assert trace["queries"].parameters == 5 * 16
    in_full = [step for step in trace.steps if step.detail]
    assert trace["head block 1"].flops == sum(step.flops for step in in_full[len(block) :])
    assert all(module.core is fused_attention for module in model.modules() if isinstance(module, Attention))


@pytest.mark.parametrize(
    "changes",
    [
        {"head_depth": 2},
        {"head": "linear"},
        {"vit": replace(VIT, class_token=False, pool="mean", prefix_positions=0, positions="rotary")},
        {"vit": replace(VIT, stem="convolutions", stem_dim=4, stem_depth=2)},
        {"vit": replace(VIT, attention="reduced")},
    ],
    ids=["two blocks", "linear", "rotary", "stem", "reduced"],
)
def test_parts_add_up_to_the_whole(changes: dict) -> None:
    model = build_segmenter(replace(TINY, **changes))
    trace = trace_segmenter(model, images(16, 12), layers=True)
    whole = [step for step in trace.steps if not step.detail]
    assert sum(step.parameters for step in whole) == trace.parameters
    assert trace.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert sum(step.flops for step in whole) == trace.flops > 0
    assert trace["logits"].shape == (1, 5, 4, 3)


def test_the_convolutions_of_a_stem_are_told_one_by_one() -> None:
    model = build_segmenter(replace(TINY, vit=replace(VIT, stem="convolutions", stem_dim=4, stem_depth=2)))
    trace = trace_segmenter(model, images(16, 12))
    convolutions = [step for step in trace.steps if step.name.startswith("convolution")]
    assert [step.shape[2:] for step in convolutions] == [(8, 6), (8, 6), (4, 3), (4, 3), (4, 3)]
    assert sum(step.parameters for step in convolutions) == trace["tokens"].parameters
    assert sum(step.flops for step in convolutions) == trace["tokens"].flops


def test_a_picture_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(UserError, match="smaller than a patch of 4x4"):
        trace_segmenter(build_segmenter(TINY), images(3, 8))
