"""Frozen parts: no gradient, no optimiser state, and still."""

import pytest
import torch

from sleuth.data.scenes import SceneSource
from sleuth.errors import UserError
from sleuth.tasks.detection import preprocess_images
from sleuth.training.assemble import build_model
from sleuth.training.optimizer import build_optimizer
from sleuth.training.parts import freeze, part_names, train_mode

NAMES = ("a", "b")
PARTS = {"backbone", "input_proj", "encoder", "queries", "decoder", "class_head", "box_head"}


def trained(model) -> set[str]:
    return {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_parts_by_the_models_own_names(tiny):
    assert set(part_names(build_model(tiny(), NAMES))) == PARTS
    assert "positions" in part_names(build_model(tiny("model.positions=learned"), NAMES))


def test_frozen_parts_have_neither_gradient_nor_optimiser_state(tiny):
    recipe = tiny('model.freeze=["backbone", "input_proj", "encoder"]')
    model = build_model(recipe, NAMES)
    assert trained(model) == PARTS - {"backbone", "input_proj", "encoder"}
    optimizer = build_optimizer(model, recipe.optimizer)
    assert [group["name"] for group in optimizer.param_groups] == ["rest"]
    sample = SceneSource(split="train", count=1).load(0)
    prediction = model(preprocess_images([sample.image], recipe.preprocess))
    assert not prediction.memory.tokens.requires_grad, "frozen parts before the first trained one cost no backward pass"
    (prediction.logits.sum() + prediction.boxes_cxcywh.sum()).backward()
    optimizer.step()
    with_gradient = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert with_gradient == trained(model)
    assert len(optimizer.state) == sum(parameter.requires_grad for parameter in model.parameters())


def test_frozen_parts_stay_still_in_training(tiny):
    recipe = tiny('model.freeze=["backbone", "decoder"]', "model.frozen_norm=false", "model.dropout=0.3")
    model = build_model(recipe, NAMES)
    before = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    train_mode(model)
    assert model.encoder.training
    assert not any(part.training for part in (*model.backbone.modules(), *model.decoder.modules()))
    pixels = torch.randn(2, 3, 48, 48)
    assert torch.equal(model.backbone(pixels), model.backbone(pixels))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.backbone.state_dict().items())


def test_a_frozen_stem_leaves_the_rest_of_the_backbone_in_training(tiny):
    model = build_model(tiny("model.freeze_stem=true", "model.frozen_norm=false"), NAMES)
    train_mode(model)
    assert model.backbone.body.layer2.training
    assert model.backbone.body.layer2[0].bn1.training
    assert not model.backbone.body.bn1.training


def test_the_detector_is_all_but_the_mask_head(tiny):
    model = build_model(tiny("model.backbone_stages=4", "model.masks=true", 'model.freeze=["detector"]'), NAMES)
    assert trained(model) == {"mask_head"}


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (["encodr"], "unknown part: 'encodr'.*did you mean 'encoder'"),
        (["xyz"], "valid: backbone, box_head, class_head, decoder, detector, encoder, input_proj, queries"),
        (["mask_head"], "unknown part: 'mask_head'"),
        (["detector"], "nothing is left to train"),
        (sorted(PARTS), "nothing is left to train"),
    ],
)
def test_parts_that_cannot_be_frozen(tiny, parts, says):
    with pytest.raises(UserError, match=says):
        freeze(build_model(tiny(), NAMES), parts)
