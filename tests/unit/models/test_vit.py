"""The vision Transformer: any size of picture, padded or packed, with any attention, gives one answer."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.explain.record import record_attention
from sleuth.models.vit import VisionTransformer, VitConfig, build_vit
from sleuth.types.batches import ImageBatch

SMALL = VitConfig(
    image_hw=(40, 48),
    patch_size=8,
    num_classes=5,
    dim=32,
    depth=2,
    num_heads=2,
    feedforward_dim=48,
    registers=2,
    layer_scale=0.5,
    radius=1,
)
ATTENTIONS = ("softmax", "sigmoid", "linear", "local", "reduced")
POSITIONS = ("learned", "sine", "rotary", "none")
SIZES = ((40, 56), (16, 16), (33, 21), (64, 48), (8, 9))


def build(**changes: object) -> VisionTransformer:
    """A model with weights that tell pictures apart."""
    torch.manual_seed(0)
    model = build_vit(replace(SMALL, **changes))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.dim() == 2:
                tensor.normal_(std=1.5 / tensor.shape[1] ** 0.5)
            elif "positions" in name or "token" in name or "registers" in name:
                tensor.normal_()
    return model.eval()


def pictures(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(3, *size, generator=draw) for size in sizes]


def padded(images: Sequence[Tensor], more: int = 0) -> ImageBatch:
    height, width = (max(image.shape[axis] for image in images) + more for axis in (1, 2))
    pixels, valid = torch.zeros(len(images), 3, height, width), torch.zeros(len(images), height, width).bool()
    for row, image in enumerate(images):
        pixels[row, :, : image.shape[1], : image.shape[2]] = image
        valid[row, : image.shape[1], : image.shape[2]] = True
    return ImageBatch(pixels=pixels, valid=valid)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("attention", ATTENTIONS)
@torch.no_grad()
def test_alone_padded_or_packed_a_picture_gets_one_answer(attention: str, positions: str) -> None:
    if (attention, positions) == ("reduced", "rotary"):
        return
    model, images = build(attention=attention, positions=positions, pool="class+mean"), pictures()
    alone = torch.cat([model(padded([image])).logits for image in images])
    assert alone.std(dim=0).mean() > 0.1
    for more in (0, 13):
        torch.testing.assert_close(model(padded(images, more)).logits, alone, rtol=0, atol=1e-4)
    packed = torch.cat([answer.logits for answer in model.answer_packed(images)])
    torch.testing.assert_close(packed, alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("attention", ["softmax", "local", "reduced"])
@torch.no_grad()
def test_packed_pictures_that_fill_a_row_each_get_one_answer_too(attention: str) -> None:
    model, images = build(attention=attention), pictures([(40, 48)] * 3)
    packed = torch.cat([answer.logits for answer in model.answer_packed(images)])
    torch.testing.assert_close(packed, model(padded(images)).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("attention", ATTENTIONS)
@torch.no_grad()
def test_recorded_attention_answers_alike(attention: str) -> None:
    model, batch = build(attention=attention), padded(pictures())
    expected = model(batch).logits
    with record_attention(model) as maps:
        torch.testing.assert_close(model(batch).logits, expected, rtol=0, atol=1e-5)
    assert len(maps) == 2
    weights = next(iter(maps.dense.values()))
    assert weights.shape[:2] == (5, 2)
    if attention == "local":
        # Corners of the grid of 8 x 7 do not see each other; the class token sees both.
        assert weights[3, :, 3, 3 + 7 * 5].max() == 0
        assert weights[3, :, 0, 3].min() > 0
    torch.testing.assert_close(model(batch).logits, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_sides_that_are_no_multiple_of_the_patch_are_padded() -> None:
    model, image = build(), pictures([(33, 21)])[0]
    whole = torch.nn.functional.pad(image, (0, 3, 0, 7))
    found = model.answer(model.backbone(padded([image])))
    assert found.memory.grid_hw == (5, 3)
    torch.testing.assert_close(found.logits, model(padded([whole])).logits)


@pytest.mark.parametrize("sizes", [[(7, 30)], [(30, 7)], [(24, 24), (30, 5)]])
def test_a_picture_smaller_than_a_patch_is_named(sizes: list[tuple[int, int]]) -> None:
    model = build()
    with pytest.raises(UserError, match="smaller than a patch of 8x8") as caught:
        model(padded(pictures(sizes)))
    assert ("picture 2 of 2" in caught.value.line()) == (len(sizes) == 2)
    with pytest.raises(UserError, match="smaller than a patch"):
        model.answer_packed(pictures(sizes))


@torch.no_grad()
def test_features_after_each_block() -> None:
    model, batch = build(), padded(pictures([(40, 48)]))
    first, last = model.backbone.layers(batch, (0, 1))
    assert first.patches.shape == last.patches.shape == (1, 30, 32)
    torch.testing.assert_close(last.patches, model.backbone(batch).patches)
    assert not torch.allclose(first.patches, last.patches)
    only = model.backbone.layers(batch, (0,))
    assert len(only) == 1
    assert torch.equal(only[0].prefix, first.prefix)
    assert only[0].prefix.shape == (1, 3, 32)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("attention", ["softmax", "sigmoid", "linear"])
def test_what_the_head_does_not_read_is_not_computed_and_changes_nothing(attention: str, positions: str) -> None:
    model, batch = build(attention=attention, positions=positions), padded(pictures())
    short, whole = model(batch), model.answer(model.backbone(batch))
    assert short.memory is None
    torch.testing.assert_close(short.logits, whole.logits, rtol=0, atol=1e-5)
    found = []
    for answer in (short, whole):
        model.zero_grad()
        answer.logits.square().sum().backward()
        found.append({name: each.grad.clone() for name, each in model.named_parameters()})
    for name, expected in found[1].items():
        torch.testing.assert_close(
            found[0][name], expected, rtol=1e-3, atol=1e-4, msg=lambda text, at=name: f"{at} {text}"
        )


@torch.no_grad()
def test_pools() -> None:
    batch = padded(pictures())
    for pool, norm_after_pool in (("class", False), ("mean", True), ("class+mean", False)):
        model = build(pool=pool, norm_after_pool=norm_after_pool)
        found = model.answer(model.backbone(batch))
        assert found.logits.shape == (5, 5)
        torch.testing.assert_close(model(batch).logits, found.logits, rtol=0, atol=1e-5)
        assert found.features.shape == (5, 64 if pool == "class+mean" else 32)
        row = found.memory.patches[1][found.memory.valid[1]]
        assert len(row) == 4
        parts = {"class": [found.memory.prefix[1, 0]], "mean": [row.mean(0)]}
        parts["class+mean"] = parts["class"] + parts["mean"]
        expected = model.pooling.norm(torch.cat(parts[pool]))
        torch.testing.assert_close(found.features[1], expected)


@torch.no_grad()
def test_distillation_answers_by_both_heads() -> None:
    model = build(distillation="head")
    found = model.answer(model.backbone(padded(pictures())))
    torch.testing.assert_close(model(padded(pictures())).logits, found.logits, rtol=0, atol=1e-5)
    assert len(found.by_head) == 2
    torch.testing.assert_close(found.logits, (found.by_head[0] + found.by_head[1]) / 2)
    torch.testing.assert_close(found.by_head[1], model.distill_head(found.memory.prefix[:, 1]))
    assert not build(distillation="token")(padded(pictures())).by_head


@torch.no_grad()
def test_without_classes_the_logits_are_the_features() -> None:
    found = build(num_classes=0)(padded(pictures()))
    assert torch.equal(found.logits, found.features)
    pooled = build(num_classes=0, pooler=True)(padded(pictures()))
    assert pooled.features.abs().max() <= 1


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_every_weight_learns(attention: str) -> None:
    model = build(attention=attention, drop_path=0.1, distillation="head").train()
    model(padded(pictures())).logits.square().sum().backward()
    without = [name for name, each in model.named_parameters() if each.grad is None or not each.grad.abs().sum() > 0]
    assert not without


def test_drop_path_is_for_training_alone() -> None:
    model, batch = build(drop_path=0.5), padded(pictures())
    assert torch.equal(model(batch).logits, model(batch).logits)
    model.train()
    assert not torch.equal(model(batch).logits, model(batch).logits)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"attention": "axial"}, "attention"),
        ({"dim": 33}, "num_heads"),
        ({"depth": 0}, "depth"),
        ({"image_hw": (4, 48)}, "image_hw"),
        ({"class_token": False}, "class token"),
        ({"prefix_positions": 4}, "prefix_positions"),
        ({"positions": "rotary", "num_heads": 16}, "rotary"),
        ({"attention": "linear", "attention_dropout": 0.1}, "attention_dropout"),
        ({"attention": "reduced", "positions": "rotary"}, "reduced"),
        ({"distillation": "head", "pool": "mean"}, "distillation"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"norm_eps": 0.0}, "norm_eps"),
    ],
)
def test_numbers_that_make_no_model_are_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(Exception, match=named):
        replace(SMALL, **changes)
