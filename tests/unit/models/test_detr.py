"""DETR as a whole, small: any sizes, any batch, every option."""

from dataclasses import asdict, replace

import pytest
import torch

from sleuth.models.detr import Detr, DetrConfig, build_detr
from sleuth.nn.positions import LearnedPositions2d, sine_positions_2d
from sleuth.types.batches import ImageBatch

TINY = DetrConfig(
    backbone="resnet10",
    backbone_width=4,
    num_classes=3,
    num_queries=5,
    dim=16,
    num_heads=2,
    encoder_layers=2,
    decoder_layers=3,
    feedforward_dim=32,
    dropout=0.0,
)


def tiny(**options: object) -> Detr:
    torch.manual_seed(0)
    return build_detr(replace(TINY, **options)).eval()


def batch(*sizes: tuple[int, int], canvas: tuple[int, int] | None = None) -> ImageBatch:
    """Random pictures of these sizes, padded to the largest or to ``canvas``."""
    height, width = canvas or (max(h for h, _ in sizes), max(w for _, w in sizes))
    pixels = torch.zeros(len(sizes), 3, height, width)
    valid = torch.zeros(len(sizes), height, width, dtype=torch.bool)
    for row, (h, w) in enumerate(sizes):
        pixels[row, :, :h, :w] = torch.randn(3, h, w, generator=torch.Generator().manual_seed(h * w))
        valid[row, :h, :w] = True
    return ImageBatch(pixels=pixels, valid=valid)


@torch.no_grad()
def test_shapes_of_everything() -> None:
    run = tiny()(batch((64, 96), (32, 64)))
    assert run.logits.shape == (3, 2, 5, 4)
    assert run.boxes_cxcywh.shape == (3, 2, 5, 4)
    assert run.memory.tokens.shape == run.memory.pos.shape == (2, 6, 16)
    assert run.memory.grids_hw == ((2, 3),)
    assert run.memory.valid is not None
    assert run.memory.valid.tolist() == [[True] * 6, [True, True, False, False, False, False]]
    assert run.memory_logits is None
    assert run.memory_boxes_cxcywh is None


@torch.no_grad()
@pytest.mark.parametrize("num_classes", [1, 2, 91])
@pytest.mark.parametrize("num_queries", [1, 7])
def test_any_number_of_classes_and_queries(num_classes: int, num_queries: int) -> None:
    run = tiny(num_classes=num_classes, num_queries=num_queries)(batch((32, 32)))
    assert run.logits.shape == (3, 1, num_queries, num_classes + 1)
    assert run.boxes_cxcywh.shape == (3, 1, num_queries, 4)


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [
        {"dilation": True},
        {"backbone_stages": 3},
        {"backbone_stages": 2, "backbone_width": 8},
        {"pre_norm": True},
        {"positions": "learned"},
        {"activation": "gelu"},
        {"activation": "silu"},
        {"frozen_norm": False},
        {"supervise_encoder": True},
        {"encoder_layers": 0},
        {"decoder_layers": 1},
        {"num_heads": 1},
        {"backbone": "resnet18"},
        {"backbone": "resnet50"},
        {"backbone": "vit-digits"},
    ],
    ids=lambda options: ", ".join(f"{key}={value}" for key, value in options.items()),
)
def test_every_option_builds_and_runs(options: dict[str, object]) -> None:
    run = tiny(**options)(batch((64, 64), (40, 64)))
    assert run.logits.shape[1:] == (2, 5, 4)
    assert bool(run.logits.isfinite().all())
    assert bool(((run.boxes_cxcywh >= 0) & (run.boxes_cxcywh <= 1)).all())


@torch.no_grad()
def test_dc5_doubles_the_grid() -> None:
    assert tiny(dilation=True)(batch((64, 96))).memory.grids_hw == ((4, 6),)
    assert tiny(backbone_stages=3)(batch((64, 96))).memory.grids_hw == ((4, 6),)


@torch.no_grad()
def test_positions_of_a_picture_do_not_depend_on_its_padding() -> None:
    model = tiny()
    alone = model.encode(batch((64, 96)))
    padded = model.encode(batch((64, 96), canvas=(160, 128)))
    inside = padded.pos.unflatten(1, (5, 4))[:, :2, :3].flatten(1, 2)
    torch.testing.assert_close(inside, alone.pos, atol=1e-6, rtol=0)
    assert torch.equal(alone.pos[0], sine_positions_2d(torch.ones(1, 2, 3, dtype=torch.bool), 16)[0].flatten(0, 1))


@torch.no_grad()
def test_what_stands_in_padding_has_no_effect_beyond_the_backbone() -> None:
    model = tiny()
    images = batch((64, 96), canvas=(64, 192))
    clean = model(images)
    features = model.backbone(images.pixels)
    spoilt = features.clone()
    spoilt[..., 3:] = 7.0
    model.backbone.forward = lambda pixels, finer: spoilt  # type: ignore[method-assign]
    run = model(images)
    assert torch.equal(run.logits, clean.logits)
    assert torch.equal(run.boxes_cxcywh, clean.boxes_cxcywh)


@torch.no_grad()
def test_a_full_mask_is_no_mask() -> None:
    """Without padding attention runs unmasked; a mask that hides nothing says the same."""
    model = tiny()
    images = batch((64, 64), (64, 64))
    run = model(images)
    assert run.memory.valid is None
    encoded = model.encoder(
        model.input_proj(model.backbone(images.pixels)).flatten(2).transpose(1, 2),
        run.memory.pos,
        torch.ones(2, 1, 1, 4, dtype=torch.bool),
    )
    torch.testing.assert_close(run.memory.tokens, encoded, atol=1e-6, rtol=0)


@torch.no_grad()
def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    model = tiny()
    both = model(batch((64, 96), (32, 64)))
    small_alone = model(batch((32, 64), canvas=(64, 96)))
    torch.testing.assert_close(both.logits[:, 1], small_alone.logits[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both.boxes_cxcywh[:, 1], small_alone.boxes_cxcywh[:, 0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("pre_norm", [False, True])
def test_queries_are_equivariant(pre_norm: bool) -> None:
    """Queries in another order give the same answers in that order: it is a set."""
    model, images = tiny(pre_norm=pre_norm), batch((64, 96), (32, 64))
    before = model(images)
    order = torch.randperm(5)
    model.queries.weight.copy_(model.queries.weight[order].clone())
    after = model(images)
    torch.testing.assert_close(after.logits, before.logits[:, :, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(after.boxes_cxcywh, before.boxes_cxcywh[:, :, order], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_queries_that_are_alike_answer_alike() -> None:
    """Nothing but its position tells one query from another."""
    model = tiny()
    model.queries.weight.copy_(model.queries.weight[:1].expand(5, -1).clone())
    run = model(batch((64, 96)))
    torch.testing.assert_close(run.logits, run.logits[:, :, :1].expand_as(run.logits), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_heads_are_shared_by_all_layers() -> None:
    model = tiny()
    assert sum(key.startswith("class_head") for key in model.state_dict()) == 2
    assert sum(key.startswith("box_head") for key in model.state_dict()) == 6
    run = model(batch((64, 64)))
    assert not torch.equal(run.logits[0], run.logits[1])


def test_post_norm_encoder_has_no_final_norm_and_pre_norm_has() -> None:
    assert not [key for key in tiny().state_dict() if key.startswith("encoder.norm")]
    assert [key for key in tiny(pre_norm=True).state_dict() if key.startswith("encoder.norm")]
    assert [key for key in tiny().state_dict() if key.startswith("decoder.norm")]


def test_encoder_supervision_reads_the_heads_on_memory_while_training_only() -> None:
    model = tiny(supervise_encoder=True)
    assert model(batch((64, 64))).memory_logits is None
    run = model.train()(batch((64, 64)))
    assert run.memory_logits is not None
    assert run.memory_boxes_cxcywh is not None
    assert run.memory_logits.shape == (1, 4, 4)
    assert torch.equal(run.memory_logits, model.class_head(run.memory.tokens))
    assert torch.equal(run.memory_boxes_cxcywh, model.box_head(run.memory.tokens))


@pytest.mark.parametrize("options", [{"supervise_encoder": True}, {"dilation": True}])
def test_options_that_leave_the_weights_the_same(options: dict[str, object]) -> None:
    plain, other = tiny(), tiny(**options)
    assert {k: v.shape for k, v in plain.state_dict().items()} == {k: v.shape for k, v in other.state_dict().items()}


def test_every_parameter_is_trained() -> None:
    model = tiny().train()
    run = model(batch((64, 96), (32, 64)))
    (run.logits.square().sum() + run.boxes_cxcywh.square().sum()).backward()
    # The first decoder layer confers about states that are still zero: these weights have nothing to work on.
    idle = ("decoder.layers.0.self_attention", "decoder.layers.0.norm1.weight")
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        if not name.startswith(idle) and not name.endswith("k_proj.bias"):
            assert parameter.grad.abs().max() > 0, name


def test_learned_positions_are_parameters() -> None:
    model = tiny(positions="learned")
    assert isinstance(model.positions, LearnedPositions2d)
    assert {"positions.row", "positions.column"} <= {name for name, _ in model.named_parameters()}


@torch.no_grad()
def test_one_seed_one_model() -> None:
    assert all(torch.equal(a, b) for a, b in zip(tiny().parameters(), tiny().parameters(), strict=True))


@torch.no_grad()
def test_double_precision_agrees() -> None:
    model, images = tiny(), batch((64, 96), (32, 64))
    single = model(images)
    double = model.double()(replace(images, pixels=images.pixels.double()))
    assert double.logits.dtype == torch.float64
    torch.testing.assert_close(single.logits.double(), double.logits, atol=1e-4, rtol=1e-4)


def test_half_precision_runs() -> None:
    model, images = tiny().bfloat16(), batch((64, 96), (32, 64))
    run = model(replace(images, pixels=images.pixels.bfloat16()))
    assert run.logits.dtype == torch.bfloat16
    assert bool(run.logits.isfinite().all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 18, "num_heads": 2}, "multiple of 4"),
        ({"dim": 0}, "dim"),
        ({"dim": 16, "num_heads": 3}, "num_heads"),
        ({"num_heads": 0}, "num_heads"),
        ({"num_classes": 0}, "num_classes"),
        ({"num_queries": 0}, "num_queries"),
        ({"decoder_layers": 0}, "decoder_layers"),
        ({"encoder_layers": -1}, "encoder_layers"),
        ({"feedforward_dim": 0}, "feedforward_dim"),
        ({"backbone_stages": 0}, "backbone_stages"),
        ({"backbone_stages": 5}, "backbone_stages"),
        ({"backbone_width": 0}, "backbone_width"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"attention_dropout": 1.0}, "attention_dropout"),
        ({"decoder_num_heads": 3}, "decoder_num_heads"),
        ({"decoder_feedforward_dim": 0}, "decoder_feedforward_dim"),
    ],
)
def test_numbers_that_make_no_model_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **options)


@pytest.mark.parametrize("name", ["backbone", "activation", "positions"])
def test_names_that_are_none_of_ours_are_refused(name: str) -> None:
    config = replace(TINY)
    object.__setattr__(config, name, "nonesuch")  # the type check of the tests would refuse it sooner
    with pytest.raises(ValueError, match=f"{name} = 'nonesuch' is none of"):
        config.__post_init__()


def test_a_config_is_plain_values() -> None:
    assert DetrConfig(**asdict(TINY)) == TINY
    assert all(value is None or isinstance(value, (str, int, float, bool)) for value in asdict(TINY).values())
