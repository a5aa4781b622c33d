"""Deformable DETR and DINO as a whole, small: any sizes, every option, training with and without objects."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor

from sleuth.models.deformable_detr import DeformableDetr, DeformableDetrConfig, build_deformable_detr
from sleuth.models.dino import DinoConfig, build_dino
from sleuth.tasks.detection_loss import DetectionLoss, DetectionLossConfig
from sleuth.types.batches import ImageBatch, Target

TINY = DeformableDetrConfig(
    backbone="resnet10",
    backbone_width=4,
    num_classes=3,
    num_queries=5,
    dim=32,
    num_heads=2,
    encoder_layers=2,
    decoder_layers=3,
    feedforward_dim=32,
    dropout=0.0,
    encoder_points=2,
    decoder_points=3,
)
SHARED = {name: value for name, value in asdict(TINY).items() if name in asdict(DinoConfig())}
TINY_DINO = DinoConfig(**SHARED, denoising_queries=6)  # type: ignore[arg-type]
KINDS = {
    "plain": TINY,
    "refined": replace(TINY, refine=True),
    "two-stage": replace(TINY, refine=True, two_stage=True),
    "dino": TINY_DINO,
    "dino, own heads": replace(TINY_DINO, shared_box_head=False, shared_class_head=False),
}
LOSS = DetectionLoss(DetectionLossConfig(classes="focal", class_weight=2.0, match_class=2.0))


def build(config: DeformableDetrConfig | DinoConfig) -> DeformableDetr:
    torch.manual_seed(0)
    model = build_dino(config) if isinstance(config, DinoConfig) else build_deformable_detr(config)
    with torch.no_grad():
        for parameter in model.parameters():  # heads that start at zero would hide what they read
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def batch(*sizes: tuple[int, int], canvas: tuple[int, int] | None = None) -> ImageBatch:
    """Random pictures of these sizes, padded to the largest or to ``canvas``."""
    height, width = canvas or (max(h for h, _ in sizes), max(w for _, w in sizes))
    pixels = torch.zeros(len(sizes), 3, height, width)
    valid = torch.zeros(len(sizes), height, width, dtype=torch.bool)
    for row, (h, w) in enumerate(sizes):
        pixels[row, :, :h, :w] = torch.randn(3, h, w, generator=torch.Generator().manual_seed(h * w))
        valid[row, :h, :w] = True
    return ImageBatch(pixels=pixels, valid=valid)


def objects(*counts: int) -> list[Target]:
    generator = torch.Generator().manual_seed(1)
    return [
        Target(
            labels=torch.randint(0, 3, (count,), generator=generator),
            boxes_cxcywh=torch.rand(count, 4, generator=generator) * 0.3 + 0.2,
        )
        for count in counts
    ]


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_of_everything(kind: str) -> None:
    run = build(KINDS[kind])(batch((64, 96), (32, 64)))
    assert run.activation == "sigmoid"
    assert run.logits.shape == (3, 2, 5, 3)
    assert run.boxes_cxcywh.shape == (3, 2, 5, 4)
    assert bool(((run.boxes_cxcywh >= 0) & (run.boxes_cxcywh <= 1)).all())
    assert run.memory.grids_hw == ((8, 12), (4, 6), (2, 3), (1, 2))
    assert run.memory.tokens.shape == run.memory.pos.shape == (2, 128, 32)
    assert run.memory.valid is not None
    assert run.memory.valid.sum(1).tolist() == [128, 4 * 8 + 2 * 4 + 1 * 2 + 1 * 2]
    assert run.denoising is None
    assert (run.proposals is None) == (kind in ("plain", "refined"))
    if run.proposals is not None:
        assert run.proposals.logits.shape == (2, 5, 3)
        assert run.proposals.class_agnostic == (kind == "two-stage")


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [
        {"dilation": True},
        {"backbone_levels": 1, "num_levels": 1},
        {"backbone_levels": 1, "num_levels": 1, "dilation": True},
        {"backbone_levels": 4, "num_levels": 6},
        {"num_levels": 3},
        {"backbone_stages": 3, "backbone_levels": 2},
        {"positions": "learned"},
        {"activation": "gelu"},
        {"frozen_norm": False},
        {"encoder_layers": 0},
        {"decoder_layers": 1},
        {"decoder_num_heads": 4, "decoder_feedforward_dim": 16},
        {"backbone": "resnet50"},
        {"num_queries": 400, "refine": True, "two_stage": True},
    ],
    ids=lambda options: ", ".join(f"{key}={value}" for key, value in options.items()),
)
def test_every_option_builds_and_runs(options: dict[str, object]) -> None:
    run = build(replace(TINY, **options))(batch((64, 64), (40, 64)))  # type: ignore[arg-type]
    assert run.logits.shape[1] == 2
    assert bool(run.logits.isfinite().all())
    assert bool(((run.boxes_cxcywh >= 0) & (run.boxes_cxcywh <= 1)).all())


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"dim": 48}, "dim = 48 is not a multiple of 32"),
        ({"num_heads": 3}, "num_heads = 3"),
        ({"two_stage": True}, "two_stage wants refine"),
        ({"num_levels": 2}, "num_levels = 2 is less than backbone_levels = 3"),
        ({"backbone_levels": 5, "num_levels": 5}, "backbone_levels = 5 is more than"),
        ({"backbone_stages": 5}, "more than the 4"),
        ({"dropout": 1.0}, "dropout = 1.0"),
        ({"encoder_points": 0}, "encoder_points = 0 is less than 1"),
    ],
)
def test_numbers_that_make_no_model(options: dict[str, object], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        replace(TINY, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"dim": 48}, "dim = 48"),
        ({"temperature": 0.0}, "temperature"),
        ({"denoising_queries": -1}, "denoising_queries"),
        ({"denoising_labels": 2}, "denoising_labels = 2 is less than num_classes = 3"),
        ({"box_noise": 1.5}, "box_noise"),
    ],
)
def test_numbers_that_make_no_dino(options: dict[str, object], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        replace(TINY_DINO, **options)  # type: ignore[arg-type]


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing_beyond_the_projection(kind: str) -> None:
    # Before it, convolutions and group norms see the padding, as in the original.
    model = build(KINDS[kind])
    alone, padded = batch((64, 128)), batch((64, 128), canvas=(128, 192))
    levels = model.input_proj(model.backbone.pyramid(alone.pixels, 3))
    wider = [torch.randn(1, 32, *(2 * level.shape[2], 3 * level.shape[3] // 2)) for level in levels]
    for small, large in zip(levels, wider, strict=True):
        large[:, :, : small.shape[2], : small.shape[3]] = small

    def answer(images: ImageBatch, given: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        model.input_proj.forward = lambda _: given  # type: ignore[method-assign,assignment,return-value]
        run = model(images)
        if kind.startswith("dino"):
            # Its original makes positions of queries from boxes relative to the padded level: what it proposes is the
            # same, but what it answers depends on the padding.
            assert run.proposals is not None
            return run.proposals.logits, run.proposals.boxes_cxcywh
        return run.logits, run.boxes_cxcywh

    for ours, theirs in zip(answer(padded, wider), answer(alone, levels), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("counts", [(0, 0), (2, 0), (7, 3)])
def test_every_parameter_learns_whatever_there_is_to_find(kind: str, counts: tuple[int, ...]) -> None:
    model = build(KINDS[kind]).train()
    targets = objects(*counts)
    run = model(batch((64, 96), (64, 64)), targets)
    report = LOSS(run, targets)
    report.total.backward()
    assert bool(report.total.isfinite())
    assert (run.denoising is not None) == kind.startswith("dino")
    if run.proposals is not None:
        assert run.proposals.logits.shape[1] == (128 if kind == "two-stage" else 5)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_the_order_of_objects_changes_no_loss() -> None:
    model = build(KINDS["two-stage"]).train()
    (target,) = objects(4)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = Target(labels=target.labels[order], boxes_cxcywh=target.boxes_cxcywh[order])
    run = model(batch((64, 96)), [target])
    torch.testing.assert_close(LOSS(run, [target]).total, LOSS(run, [shuffled]).total)


@torch.no_grad()
def test_denoising_changes_no_other_answer() -> None:
    model = build(TINY_DINO).train()
    images = batch((64, 96), (32, 64))
    without, joined = model(images), model(images, objects(2, 1))
    assert joined.denoising is not None
    assert joined.denoising.logits.shape == (3, 2, 12, 3)
    torch.testing.assert_close(joined.logits, without.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(joined.boxes_cxcywh, without.boxes_cxcywh, atol=1e-5, rtol=0)
    assert build(TINY_DINO)(images, objects(2, 1)).denoising is None
    assert build(replace(TINY_DINO, denoising_queries=0)).denoising is None
