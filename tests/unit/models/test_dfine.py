"""D-FINE, tiny: sizes, padding, training outputs, and numbers that make no model."""

import pytest
import torch

from sleuth.models.dfine import Dfine, DfineConfig, build_dfine
from sleuth.tasks.detection import build_criterion
from sleuth.tasks.detection_loss import DetectionLossConfig
from sleuth.types.batches import ImageBatch, Target

TINY = DfineConfig(
    backbone="hgnetv2_b0",
    backbone_width=0.25,
    num_classes=3,
    num_queries=9,
    encoder_dim=16,
    encoder_num_heads=2,
    encoder_feedforward_dim=16,
    encoder_depth=0.34,
    dim=16,
    num_heads=2,
    decoder_layers=2,
    feedforward_dim=16,
    num_points=(2, 3, 1),
    bins=8,
    num_denoising=8,
)
LOSS = DetectionLossConfig(classes="varifocal", focal_alpha=0.75, match_class=2.0, match_union=True)


def tiny(**options: object) -> Dfine:
    return build_dfine(DfineConfig(**{**TINY.__dict__, **options}))


def batch(*sizes_hw: tuple[int, int]) -> ImageBatch:
    height, width = (max(size[side] for size in sizes_hw) for side in (0, 1))
    valid = torch.zeros(len(sizes_hw), height, width, dtype=torch.bool)
    for row, (h, w) in enumerate(sizes_hw):
        valid[row, :h, :w] = True
    return ImageBatch(pixels=torch.randn(len(sizes_hw), 3, height, width) * valid[:, None], valid=valid)


def targets() -> list[Target]:
    return [
        Target(labels=torch.tensor([0, 2]), boxes_cxcywh=torch.tensor([[0.5, 0.5, 0.4, 0.2], [0.2, 0.3, 0.1, 0.2]])),
        Target(labels=torch.tensor([], dtype=torch.int64), boxes_cxcywh=torch.zeros(0, 4)),
    ]


def test_every_layer_answers_and_while_training_a_plain_head_before_them() -> None:
    model, images = tiny(), batch((64, 96), (64, 96))
    predicted = model.eval()(images)
    assert predicted.logits.shape == (2, 2, 9, 3)
    assert predicted.boxes_cxcywh.shape == (2, 2, 9, 4)
    assert predicted.activation == "sigmoid"
    assert predicted.denoising is None
    trained = model.train()(images, targets())
    # The plain head, and two layers.
    assert trained.logits.shape == (3, 2, 9, 3)
    assert trained.corners is not None
    assert trained.corners.logits.shape == (2, 2, 9, 36)
    assert trained.proposals is not None
    assert trained.proposals.logits.shape == (2, 9, 3)
    assert trained.denoising is not None
    assert trained.denoising.logits.shape == (3, 2, 16, 3)


def test_boxes_are_relative_to_the_picture_and_not_to_its_padding() -> None:
    model = tiny().eval()
    small = batch((64, 64))
    padded = ImageBatch(
        pixels=torch.nn.functional.pad(small.pixels, (0, 64, 0, 0)),
        valid=torch.nn.functional.pad(small.valid, (0, 64, 0, 0)),
    )
    found = model(padded)
    # Anchors lie in the middles of cells: of the padded input's columns, half are picture.
    picked = model.queries(found.memory.tokens, found.memory.grids_hw).references.sigmoid()
    assert found.proposals is not None
    boxes = found.proposals.boxes_cxcywh
    torch.testing.assert_close(boxes[..., 0], (picked[..., 0] * 2).clamp(max=1))
    torch.testing.assert_close(boxes[..., 1], picked[..., 1])
    assert (boxes[..., 0] == 1).any()
    assert (boxes[..., 0] < 1).any()


def test_pictures_of_any_size_are_padded_to_whole_cells() -> None:
    found = tiny().eval()(batch((50, 70)))
    assert found.memory.grids_hw == ((8, 12), (4, 6), (2, 3))
    assert found.memory.input_hw == (64, 96)
    assert found.memory.valid is not None


def test_every_part_learns() -> None:
    model = tiny().train()
    for head in model.decoder.corner_heads:
        torch.nn.init.normal_(head.layers[-1].weight)
    for head in (model.decoder.plain_box_head, model.queries.box_head):
        torch.nn.init.normal_(head.layers[-1].weight)
    for quality in model.decoder.quality_heads:
        torch.nn.init.normal_(quality.mlp.layers[-1].weight)
    report = build_criterion(LOSS)(model(batch((64, 96), (64, 96)), targets()), targets())
    report.total.backward()
    still = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert not still
    assert {"class", "l1", "giou", "fgl", "fgl_1", "ddf_1", "class_0", "fgl_denoising_1"} <= report.parts.keys()
    assert not {"ddf", "fgl_0", "fgl_proposals", "ddf_denoising_2"} & report.parts.keys()


def test_a_batch_without_objects_reaches_every_parameter() -> None:
    model = tiny().train()
    nothing = targets()[1]
    report = build_criterion(LOSS)(model(batch((64, 64), (64, 64)), [nothing, nothing]), [nothing, nothing])
    report.total.backward()
    assert report.total.isfinite()
    assert not [key for key, value in model.named_parameters() if value.grad is None]


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_layers_after_the_answer_only_teach_and_may_be_wider(scale: float) -> None:
    model = tiny(decoder_layers=3, answer_layer=0, wide_scale=scale)
    images = batch((64, 64), (64, 64))
    wide = model.decoder.layers[1].feedforward.linear1
    assert wide.weight.shape == (16 * scale, 16 * scale)
    report = build_criterion(LOSS)(model.train()(images, targets()), targets())
    report.total.backward()
    assert model.eval()(images).logits.shape[0] == 1
    with torch.no_grad():
        before = model(images).logits
        torch.nn.init.zeros_(wide.weight)
        assert torch.equal(model(images).logits, before)


def test_two_levels_and_a_projection_of_the_memory() -> None:
    model = tiny(levels=2, num_points=(3, 3), encoder_dim=24, num_denoising=0).train()
    found = model(batch((64, 64)), targets()[:1])
    assert found.denoising is None
    assert found.memory.grids_hw == ((4, 4), (2, 2))
    assert found.memory.tokens.shape == (1, 20, 16)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_points": (4, 4)}, "num_points"),
        ({"dim": 18}, "multiple of 4"),
        ({"answer_layer": 2}, "answer_layer = 2"),
        ({"bins": 9}, "bins = 9"),
        ({"reg_scale": 0.0}, "reg_scale"),
        ({"dropout": 1.0}, "dropout"),
        ({"num_queries": 0}, "num_queries = 0"),
    ],
)
def test_numbers_that_make_no_model_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**wrong)
