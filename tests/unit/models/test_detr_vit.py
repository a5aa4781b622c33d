"""DETR on a vision Transformer's patches: any sizes, padding hidden, weights of classifiers, the flow of tensors."""

from pathlib import Path

import pytest
import torch

from sleuth.errors import UserError
from sleuth.explain.trace import trace_model
from sleuth.models.detr import Detr, DetrConfig, build_detr
from sleuth.models.vit import build_vit
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.types.batches import ImageBatch
from sleuth.weights.origins.detr_original import write_detr

SMALL = {"num_classes": 3, "num_queries": 5, "dim": 16, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 2}
CONFIG = DetrConfig(backbone="vit-digits", feedforward_dim=32, dropout=0.0, **SMALL)


@pytest.fixture
def model() -> Detr:
    return build_detr(CONFIG).eval()


def batch(*sizes: tuple[int, int]) -> ImageBatch:
    height, width = max(h for h, _ in sizes), max(w for _, w in sizes)
    pixels, valid = torch.zeros(len(sizes), 3, height, width), torch.zeros(len(sizes), height, width, dtype=torch.bool)
    for row, (h, w) in enumerate(sizes):
        pixels[row, :, :h, :w] = torch.randn(3, h, w, generator=torch.Generator().manual_seed(h * w))
        valid[row, :h, :w] = True
    return ImageBatch(pixels, valid)


@torch.no_grad()
def test_the_map_holds_the_classifiers_patches_where_they_lie(model: Detr) -> None:
    classifier = build_vit(VIT_VARIANTS["vit-digits"]).eval()
    classifier.backbone.load_state_dict(model.backbone.body.state_dict())
    images = batch((9, 12))
    memory = classifier.backbone(images)
    maps = model.backbone(images)
    assert maps.shape == (1, 64, 5, 6)
    for row, column in ((0, 0), (4, 5), (2, 3)):
        torch.testing.assert_close(maps[0, :, row, column], memory.patches[0, row * 6 + column])


@torch.no_grad()
def test_a_picture_is_answered_alike_alone_and_padded(model: Detr) -> None:
    alone, both = model(batch((9, 12))), model(batch((9, 12), (16, 15)))
    torch.testing.assert_close(alone.logits[:, 0], both.logits[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alone.boxes_cxcywh[:, 0], both.boxes_cxcywh[:, 0], atol=1e-5, rtol=1e-4)
    # A cell that holds any of the picture takes part: 9 x 12 pixels are 5 x 6 patches of 2.
    assert both.memory.grids_hw == ((8, 8),)
    assert both.memory.valid is not None
    assert both.memory.valid.sum(1).tolist() == [30, 64]
    assert torch.equal(both.memory.valid[0].view(8, 8).nonzero().amax(0), torch.tensor([4, 5]))


def test_every_weight_of_the_backbone_learns(model: Detr) -> None:
    model.train()
    found = model(batch((8, 8), (10, 8)))
    (found.logits.sum() + found.boxes_cxcywh.sum()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_picture_smaller_than_a_patch_is_refused(model: Detr) -> None:
    with pytest.raises(UserError, match="a picture of 1x40 pixels is smaller than a patch of 2x2"):
        model(batch((1, 40)))


@pytest.mark.parametrize("name", ["dilation", "masks"])
def test_what_wants_the_stages_of_a_resnet_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} = true wants the stages of a ResNet"):
        DetrConfig(backbone="vit-s16", **{name: True})


def test_the_flow_is_told_block_by_block(model: Detr) -> None:
    trace = trace_model(model, batch((8, 12)), layers=True)
    assert trace["feature map"].shape == (1, 64, 4, 6)
    assert trace["patches"].shape == (1, 24, 64)
    blocks = [trace[f"block {number}"] for number in range(1, 5)]
    assert {block.shape for block in blocks} == {(1, 25, 64)}
    tokens, dim, hidden = 25, 64, 128
    # Four projections, two products of attention, two linear layers; a multiply-add is two.
    expected = 2 * (4 * tokens * dim**2 + 2 * tokens**2 * dim + 2 * tokens * dim * hidden)
    assert {block.flops for block in blocks} == {expected}
    assert trace["feature map"].flops == trace["patches"].flops + 4 * expected
    assert sum(step.flops for step in trace.steps if not step.detail) == trace.flops
    assert sum(step.parameters for step in trace.steps if not step.detail) == trace.parameters


def test_other_libraries_cannot_express_it(model: Detr, tmp_path: Path) -> None:
    from sleuth.tasks.preprocess import Preprocess
    from sleuth.weights.checkpoint import LoadedModel, detector_card
    from sleuth.weights.origins.detr_huggingface_export import express_detr

    card = detector_card(CONFIG, names=("a", "b", "c"), category_ids=(1, 2, 3), preprocess=Preprocess())
    for write in (express_detr, lambda loaded: write_detr(tmp_path / "m.pth", loaded)):
        with pytest.raises(UserError, match="its backbone is vit-digits; there, it is a ResNet"):
            write(LoadedModel(model, card))
