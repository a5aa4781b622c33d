"""What the class token looked at: recorded weights, and their product through all blocks."""

import pytest
import torch

from sleuth.explain.class_attention import look_at_patches
from sleuth.explain.record import record_attention
from sleuth.models.vit import VitConfig, build_vit
from sleuth.types.batches import ImageBatch

SIZES = {"image_hw": (8, 12), "patch_size": 4, "num_classes": 3, "dim": 16, "num_heads": 2, "feedforward_dim": 16}


def pictures(count: int = 2) -> ImageBatch:
    return ImageBatch(torch.randn(count, 3, 8, 12), torch.ones(count, 8, 12, dtype=torch.bool))


@pytest.mark.parametrize("pool", ["class", "mean"])
def test_the_answer_is_the_models_and_the_shares_sum_to_one(pool):
    model, images = build_vit(VitConfig(depth=3, pool=pool, **SIZES)).eval(), pictures()
    prediction, looks = look_at_patches(model, images)
    with torch.no_grad():
        assert torch.allclose(prediction.logits, model(images).logits, atol=1e-6)
    for look in looks:
        assert tuple(look.layers.shape) == (3, 2, 2, 3)
        assert tuple(look.last.shape) == tuple(look.rollout.shape) == (2, 3)
        assert float(look.rollout.sum()) == pytest.approx(1.0, abs=1e-5)
        assert bool((look.layers >= 0).all())
        best = look.best_patches(2)
        assert look.rollout[best[0]] >= look.rollout[best[1]]
        assert float(look.rollout.max()) == float(look.rollout[best[0]])


def test_one_block_passes_on_what_it_looks_at():
    model, images = build_vit(VitConfig(depth=1, **SIZES)).eval(), pictures(1)
    _, (look,) = look_at_patches(model, images)
    with record_attention(model) as maps, torch.no_grad():
        model.backbone(images)
    weights = next(iter(maps.dense.values()))[0]
    assert torch.allclose(look.layers[0].flatten(1), weights[:, 0, 1:])
    mean = weights.mean(0)[0, 1:]
    assert torch.allclose(look.rollout.flatten(), mean / mean.sum(), atol=1e-6)


def test_what_cannot_be_told_is_refused():
    images = pictures()
    images.valid[0, :, 8:] = False
    with pytest.raises(ValueError, match="padded"):
        look_at_patches(build_vit(VitConfig(depth=1, **SIZES)).eval(), images)
    reduced = build_vit(VitConfig(depth=1, attention="reduced", reduction=2, **SIZES)).eval()
    with pytest.raises(ValueError, match="not one of 7 tokens"):
        look_at_patches(reduced, pictures())
