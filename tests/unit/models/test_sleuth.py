"""Sleuth's own detector: any picture shape, training-only parts that leave no trace, and losses that go down."""

from dataclasses import replace
from typing import Literal

import pytest
import torch

from sleuth.models.sleuth import Sleuth, build_sleuth
from sleuth.models.sleuth_config import SleuthConfig
from sleuth.nn.fdr_decoder import FdrDecoder
from sleuth.nn.refining import RefiningDecoder
from sleuth.tasks.detection import DetectionLossConfig, build_criterion
from sleuth.types.batches import ImageBatch, Target
from sleuth.types.predictions import SetPrediction

TINY = SleuthConfig(
    num_classes=3,
    num_queries=12,
    backbone="resnet10",
    backbone_width=8,
    dim=16,
    num_heads=2,
    feedforward_dim=32,
    decoder_layers=2,
    num_denoising=6,
    dense=True,
)
LOSS = DetectionLossConfig(classes="matchability", focal_gamma=1.5, match_class=2.0)


@pytest.fixture(params=["boxes", "edges"])
def model(request: pytest.FixtureRequest) -> Sleuth:
    model = build_sleuth(replace(TINY, refinement=request.param))
    # Give the zero-ended heads something to say.
    for parameter in model.parameters():
        if not bool(parameter.any()):
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def _images(*sizes_hw: tuple[int, int]) -> ImageBatch:
    height, width = max(h for h, _ in sizes_hw), max(w for _, w in sizes_hw)
    pixels = torch.zeros(len(sizes_hw), 3, height, width)
    valid = torch.zeros(len(sizes_hw), height, width, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    for row, (h, w) in enumerate(sizes_hw):
        pixels[row, :, :h, :w] = torch.randn(3, h, w, generator=generator)
        valid[row, :h, :w] = True
    return ImageBatch(pixels, valid)


def _targets(*counts: int) -> list[Target]:
    return [
        Target(labels=torch.arange(count) % 3, boxes_cxcywh=torch.rand(count, 4) * 0.3 + 0.3, name=str(count))
        for count in counts
    ]


@pytest.mark.parametrize("size_hw", [(64, 96), (50, 71), (33, 320), (1, 1)])
def test_any_picture_size_is_answered(model: Sleuth, size_hw: tuple[int, int]) -> None:
    with torch.no_grad():
        found = model.eval()(_images(size_hw))
    assert found.logits.shape[-1] == 3
    assert found.logits.shape[:2] == (2, 1)
    assert bool(found.boxes_cxcywh.isfinite().all())
    assert found.proposals is None
    assert found.denoising is None
    assert found.memory_logits is None


def test_boxes_are_relative_to_the_picture_without_its_padding(model: Sleuth) -> None:
    with torch.no_grad():
        square = model.eval()(_images((64, 64))).boxes_cxcywh
        padded = _images((64, 64))
        padded = ImageBatch(padded.pixels, padded.valid.clone())
        padded.valid[:, :, 32:] = False
        # The same input, of which the right half is said to be padding.
        half = model(padded).boxes_cxcywh
    expected = square * torch.tensor([2.0, 1.0, 2.0, 1.0])
    # Answers made of edges end at the border.
    torch.testing.assert_close(half, expected.clamp(0, 1) if isinstance(model.decoder, FdrDecoder) else expected)


def _trained(model: Sleuth, targets: list[Target]) -> SetPrediction:
    return model.train()(_images((64, 96), (64, 64)), targets)


def test_every_part_is_supervised(model: Sleuth) -> None:
    targets = _targets(3, 1)
    report = build_criterion(LOSS)(_trained(model, targets), targets)
    stages = {"", "_0", "_memory", "_proposals", "_denoising_0", "_denoising_1"}
    edges = isinstance(model.decoder, FdrDecoder)
    if edges:
        # Before the edges, a plain head moves the boxes once.
        stages |= {"_1", "_denoising_2"}
    terms = {f"{term}{stage}" for term in ("class", "l1", "giou") for stage in stages}
    learnt = {"fgl", "fgl_1", "ddf_1", "fgl_denoising_1", "ddf_denoising_1", "fgl_denoising_2"} if edges else set()
    assert set(report.parts) == terms | learnt
    report.total.backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


@pytest.mark.parametrize("counts", [(0, 0), (0, 2), (30, 1)])
def test_no_objects_and_more_objects_than_queries_are_no_fault(model: Sleuth, counts: tuple[int, int]) -> None:
    targets = _targets(*counts)
    report = build_criterion(LOSS)(_trained(model, targets), targets)
    report.total.backward()
    assert bool(report.total.isfinite())


def test_denoising_queries_leave_the_others_as_they_are(model: Sleuth) -> None:
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    images = _images((64, 96), (64, 96))
    with torch.no_grad():
        alone, beside = model(images), model(images, _targets(2, 1))
    assert beside.denoising is not None
    torch.testing.assert_close(alone.logits, beside.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(alone.boxes_cxcywh, beside.boxes_cxcywh, rtol=0, atol=1e-5)


@pytest.mark.parametrize("refinement", ["boxes", "edges"])
def test_a_picture_is_learnt_by_heart(refinement: Literal["boxes", "edges"]) -> None:
    torch.manual_seed(0)
    model = build_sleuth(replace(TINY, refinement=refinement)).train()
    images, targets = _images((64, 64)), _targets(2)
    criterion, optimizer = build_criterion(LOSS), torch.optim.AdamW(model.parameters(), 3e-3)
    errors = []
    for _ in range(60):
        report = criterion(model(images, targets), targets)
        optimizer.zero_grad()
        report.total.backward()
        optimizer.step()
        errors.append(report.parts["l1"].item() + report.parts["giou"].item())
    assert sum(errors[-5:]) < 0.5 * sum(errors[:5])


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_queries", 0), ("dim", 18), ("num_heads", 3), ("dropout", 1.0), ("backbone_width", 7)],
)
def test_numbers_that_make_no_model_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        SleuthConfig(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("twice", [True, False])
def test_boxes_teach_the_layer_before_only_where_they_look_forward_twice(twice: bool) -> None:
    model = build_sleuth(replace(TINY, look_forward_twice=twice)).train()
    found = model(_images((64, 64)))
    found.boxes_cxcywh[-1].sum().backward()
    assert isinstance(model.decoder, RefiningDecoder)
    first, last = (head.layers[-1].bias.grad for head in model.decoder.box_heads)
    assert bool(last.any())
    assert (first is not None and bool(first.any())) == twice
