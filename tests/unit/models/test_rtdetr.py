"""RT-DETR's assembly: any picture size, training and evaluation, denoising that leaves no trace."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from sleuth.models.rtdetr import RtDetr, RtDetrConfig, build_rtdetr
from sleuth.tasks.detection import DetectionLossConfig, build_criterion
from sleuth.types.batches import ImageBatch, Target

TINY = RtDetrConfig(
    backbone="resnet10",
    backbone_width=8,
    frozen_norm=False,
    num_classes=3,
    num_queries=12,
    dim=16,
    num_heads=2,
    feedforward_dim=24,
    decoder_layers=2,
    num_points=(2, 1, 3),
    encoder_dim=20,
    encoder_num_heads=5,
    encoder_feedforward_dim=24,
    encoder_depth=0.34,
    num_denoising=6,
)
LOSS = DetectionLossConfig(classes="varifocal", focal_alpha=0.75, match_class=2.0)


def build(**changes: Any) -> RtDetr:
    """A model whose boxes move and whose norms do something."""
    model = build_rtdetr(replace(TINY, **changes))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if ("box_head" in name and "layers.2" in name) or "offsets.weight" in name:
                tensor.normal_(std=0.3)
            if "backbone" in name and ".bn" in name and name.endswith("weight"):
                tensor.fill_(0.7)
    return model


def whole(*shape: int) -> ImageBatch:
    pixels = torch.rand(*shape)
    return ImageBatch(pixels=pixels, valid=torch.ones(shape[0], *shape[2:], dtype=torch.bool))


def unequal() -> ImageBatch:
    """Pictures of 50 x 90 and 64 x 70 pixels."""
    valid = torch.zeros(2, 64, 90, dtype=torch.bool)
    valid[0, :50], valid[1, :, :70] = True, True
    return ImageBatch(pixels=torch.rand(2, 3, 64, 90) * valid[:, None], valid=valid)


def targets(*counts: int) -> list[Target]:
    return [
        Target(
            labels=torch.arange(count) % 3,
            boxes_cxcywh=torch.rand(count, 4) * 0.2 + torch.tensor([0.4, 0.4, 0.1, 0.1]),
        )
        for count in counts
    ]


def test_answers_have_one_row_a_query_and_layer() -> None:
    run = build().eval()(whole(2, 3, 64, 96))
    assert run.logits.shape == (2, 2, 12, 3)
    assert run.boxes_cxcywh.shape == (2, 2, 12, 4)
    assert run.activation == "sigmoid"
    assert run.denoising is None
    assert run.memory.grids_hw == ((8, 12), (4, 6), (2, 3))
    assert run.memory.tokens.shape == run.memory.pos.shape == (2, 96 + 24 + 6, 16)
    assert run.proposals is not None
    assert run.proposals.logits.shape == (2, 12, 3)


def test_sides_are_padded_to_multiples_of_32_and_boxes_are_of_the_picture() -> None:
    model = build().eval()
    images = whole(1, 3, 50, 70)
    pixels = torch.zeros(1, 3, 64, 96)
    pixels[:, :, :50, :70] = images.pixels
    run = model(images)
    padded = model(ImageBatch(pixels=pixels, valid=torch.ones(1, 64, 96, dtype=torch.bool)))
    assert run.memory.input_hw == (64, 96)
    assert torch.equal(run.logits, padded.logits)
    scale = torch.tensor([96 / 70, 64 / 50, 96 / 70, 64 / 50])
    assert (padded.boxes_cxcywh * scale > 1).any(), "no answer lies in padding, so moving it shows nothing"
    torch.testing.assert_close(run.boxes_cxcywh, (padded.boxes_cxcywh * scale).clamp(max=1))
    assert run.proposals is not None
    assert padded.proposals is not None
    torch.testing.assert_close(run.proposals.boxes_cxcywh, (padded.proposals.boxes_cxcywh * scale).clamp(max=1))


def test_each_picture_of_a_batch_has_its_own_frame() -> None:
    model = build().eval()
    images = unequal()
    together = model(images)
    alone = model(ImageBatch(pixels=images.pixels[1:], valid=images.valid[1:]))
    torch.testing.assert_close(together.boxes_cxcywh[:, 1:], alone.boxes_cxcywh, rtol=1e-4, atol=1e-5)
    whole_frame = model(ImageBatch(pixels=images.pixels, valid=torch.ones_like(images.valid)))
    share = torch.tensor([70 / 90, 1, 70 / 90, 1])
    torch.testing.assert_close(together.boxes_cxcywh[:, 1], (whole_frame.boxes_cxcywh[:, 1] / share).clamp(max=1))


def test_denoising_sees_objects_in_the_frame_of_the_input() -> None:
    model = build(label_noise=0.0, box_noise=0.0).train()
    seen = []
    assert model.denoising is not None
    model.denoising.register_forward_hook(lambda module, args, made: seen.append(made))
    objects = targets(2, 1)
    model(unequal(), objects)
    boxes = seen[0].references.sigmoid()
    expected = objects[0].boxes_cxcywh * torch.tensor([90 / 96, 50 / 64, 90 / 96, 50 / 64])
    torch.testing.assert_close(boxes[0, :2], expected)
    expected = objects[1].boxes_cxcywh * torch.tensor([70 / 96, 1, 70 / 96, 1])
    torch.testing.assert_close(boxes[1, :1], expected)


def test_denoising_changes_no_other_answer() -> None:
    model = build().train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    images = unequal()
    with_noise, without = model(images, targets(3, 1)), model(images)
    assert with_noise.denoising is not None
    assert with_noise.denoising.logits.shape == (2, 2, 2 * 2 * 3, 3)
    assert without.denoising is None
    torch.testing.assert_close(with_noise.logits, without.logits)
    torch.testing.assert_close(with_noise.boxes_cxcywh, without.boxes_cxcywh)
    # While training an answer may lie outside of the picture, so that it learns to come back.
    evaluated = model.eval()(images, targets(3, 1))
    assert evaluated.denoising is None
    torch.testing.assert_close(evaluated.logits, without.logits)


@pytest.mark.parametrize("counts", [(2, 1), (0, 2), (0, 0)])
def test_a_training_step_reaches_every_parameter(counts: tuple[int, int]) -> None:
    model = build(learned_queries=True, dropout=0.1).train()
    objects = targets(*counts)
    report = build_criterion(LOSS)(model(unequal(), objects), objects)
    report.total.backward()
    assert report.total.isfinite()
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    # A bias of all keys changes no softmax. Without objects nothing tells where boxes belong.
    reachable = {name for name in idle if not name.endswith("k_proj.bias")}
    if not any(counts):
        reachable = {name for name in reachable if "box_head" not in name and "denoising" not in name}
    assert not reachable


def test_fewer_layers_may_run_in_evaluation() -> None:
    model = build(eval_layers=1)
    images = whole(1, 3, 64, 64)
    assert model.train()(whole(2, 3, 64, 64)).logits.shape[0] == 2
    first = model.eval()(images)
    assert first.logits.shape[0] == 1
    model.eval_layers = None
    assert torch.equal(model(images).logits[:1], first.logits)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1, "num_points": (2, 2, 2)},
        {"cross_attention": "discrete"},
        {"query_select": "one2many"},
        {"query_select": "agnostic"},
        {"levels": 2, "num_points": (2, 1)},
        {"num_points": (2, 2, 2, 1)},
        {"num_denoising": 0, "encoder_layers": 0},
        {"backbone": "resnet50", "frozen_norm": True},
    ],
    ids=str,
)
def test_every_kind_learns(changes: dict[str, Any]) -> None:
    model = build(**changes).train()
    objects = targets(2, 1)
    run = model(whole(2, 3, 64, 64), objects)
    assert (run.denoising is None) == (changes.get("num_denoising") == 0)
    report = build_criterion(LOSS)(run, objects)
    report.total.backward()
    assert report.total.isfinite()
    assert len(run.memory.grids_hw) == len(changes.get("num_points", (2, 1, 3)))
    assert run.proposals is not None
    assert run.proposals.class_agnostic == (changes.get("query_select") == "agnostic")


def test_a_small_picture_has_fewer_queries() -> None:
    run = build().eval()(whole(1, 3, 32, 30))
    assert run.logits.shape[2] == 12
    run = build(num_queries=300).eval()(whole(1, 3, 32, 30))
    assert run.logits.shape[2] == 16 + 4 + 1


def test_scores_start_small_and_boxes_at_their_anchors() -> None:
    run = build_rtdetr(TINY).eval()(whole(1, 3, 64, 64))
    assert run.logits.sigmoid().mean() < 0.03
    assert run.proposals is not None
    torch.testing.assert_close(run.boxes_cxcywh[-1], run.proposals.boxes_cxcywh)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"num_queries": 0}, "num_queries = 0"),
        ({"dim": 15}, "dim = 15"),
        ({"encoder_dim": 22}, "encoder_dim = 22"),
        ({"levels": 5}, "levels = 5"),
        ({"num_points": (2, 1)}, "num_points"),
        ({"num_points": (2, 0, 1)}, "num_points"),
        ({"eval_layers": 3}, "eval_layers = 3"),
        ({"dropout": 1.0}, "dropout"),
        ({"backbone_width": 9}, "backbone_width"),
        ({"encoder_expansion": 0.01}, "encoder_expansion"),
        ({"version": 1}, "num_points"),
        ({"version": 1, "num_points": (2, 2, 2), "cross_attention": "discrete"}, "cross_attention"),
    ],
)
def test_numbers_that_make_no_model_are_named(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        replace(TINY, **changes)


@pytest.mark.parametrize(
    "name", ["version", "backbone", "cross_attention", "query_select", "activation", "encoder_activation", "positions"]
)
def test_names_that_are_none_of_ours_are_refused(name: str) -> None:
    config = replace(TINY)
    object.__setattr__(config, name, "nonesuch")  # the type check of the tests would refuse it sooner
    with pytest.raises(ValueError, match=f"{name} = 'nonesuch' is none of"):
        config.__post_init__()
