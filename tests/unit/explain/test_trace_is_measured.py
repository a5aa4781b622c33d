"""The trace follows the model that runs, not a table: change the model, and it changes."""

import pytest
import torch
from torch import nn

from sleuth.explain.trace import trace_model
from sleuth.models.detr import Detr, DetrConfig, build_detr
from sleuth.types.batches import ImageBatch

SMALL = {
    "backbone": "resnet10",
    "backbone_width": 8,
    "backbone_stages": 3,
    "num_classes": 3,
    "num_queries": 5,
    "dim": 16,
    "num_heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "feedforward_dim": 32,
}
IMAGES = ImageBatch(torch.zeros(1, 3, 64, 96), torch.ones(1, 64, 96, dtype=torch.bool))


def small(**changes) -> Detr:
    return build_detr(DetrConfig(**{**SMALL, **changes}))


@pytest.mark.parametrize(
    ("changes", "step", "shape"),
    [
        ({"num_queries": 9}, "class logits", (1, 9, 4)),
        ({"num_classes": 7}, "class logits", (1, 5, 8)),
        ({"dim": 24}, "memory", (1, 24, 24)),
        ({"decoder_layers": 3}, "decoder states", (3, 1, 5, 16)),
        ({"backbone_stages": 2}, "feature map", (1, 16, 8, 12)),
        ({"backbone_stages": 4}, "feature map", (1, 64, 2, 3)),
        ({"backbone_stages": 4, "dilation": True}, "feature map", (1, 64, 4, 6)),
    ],
)
def test_another_model_gives_another_table(changes: dict, step: str, shape: tuple[int, ...]):
    usual, other = trace_model(small(), IMAGES), trace_model(small(**changes), IMAGES)
    assert other[step].shape == shape != usual[step].shape
    assert (other.parameters, other.flops) != (usual.parameters, usual.flops)


def test_a_part_replaced_after_building_shows():
    model = small()
    model.class_head = nn.Linear(16, 11)
    trace = trace_model(model, IMAGES)
    assert trace["class logits"].shape == (1, 5, 11)
    assert trace["class logits"].parameters == 16 * 11 + 11


def test_a_convolution_of_one_pixel_by_hand():
    """4 x 6 cells, 32 channels in and 16 out; a multiply-add is two operations."""
    projection = trace_model(small(), IMAGES)["projection"]
    assert projection.flops == 2 * 32 * 16 * 4 * 6
    assert projection.parameters == 32 * 16 + 16
