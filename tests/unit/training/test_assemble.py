"""Models from recipes, starting fresh or from given weights."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from sleuth.errors import UserError
from sleuth.training.assemble import build_model, model_card
from sleuth.training.recipe import Recipe
from sleuth.training.sources import check_source, open_source
from sleuth.weights.checkpoint import detector_card, save_model
from sleuth.weights.resolve import open_model

NAMES = ("a", "b", "c")


def model_file(path: Path, recipe: Recipe, names: tuple[str, ...] = NAMES) -> Path:
    """Write the recipe's model, with weights as they were drawn."""
    model, config = build_model(recipe, names), replace(recipe.model.config, num_classes=len(names))
    card = detector_card(config, names=names, category_ids=tuple(range(len(names))), preprocess=recipe.preprocess)
    save_model(path, model, card)
    return path


def test_weights_to_start_from(tiny, tmp_path: Path):
    path = model_file(tmp_path / "w.safetensors", tiny())
    first, second = open_model(path).model, build_model(tiny(f"model.weights={path}"), NAMES)
    assert all(torch.equal(second.state_dict()[name], tensor) for name, tensor in first.state_dict().items())


def test_a_start_of_another_architecture_is_refused(tiny, tmp_path: Path):
    path = model_file(tmp_path / "w.safetensors", tiny())
    for change, says in (
        ("decoder_layers=1", r"decoder.layers.1\S* is \[.*\] there, absent in the recipe"),
        ("decoder_layers=3", r"decoder.layers.2\S* is absent there"),
        ("feedforward_dim=16", r"feedforward.linear1.weight is \[32, 16\] there, \[16, 16\] in the recipe"),
        ("dim=32", "is .* there, .* in the recipe"),
        ("num_heads=4", "num_heads is 2 there, 4 in the recipe"),
        ("decoder_num_heads=4", "decoder_num_heads is 2 there, 4 in the recipe"),
        ("pre_norm=true", "pre_norm is False there"),
    ):
        with pytest.raises(UserError, match=says):
            build_model(tiny(f"model.weights={path}", f"model.{change}"), NAMES)
    with pytest.raises(UserError, match="nowhere"):
        build_model(tiny(f"model.weights={tmp_path / 'nowhere.safetensors'}"), NAMES)


def test_backbone_to_start_from(tiny, tmp_path: Path):
    torch.manual_seed(1)
    path = model_file(tmp_path / "w.safetensors", tiny())
    torch.manual_seed(2)
    first, second = open_model(path).model, build_model(tiny(f"model.backbone_weights={path}"), NAMES)
    pairs = {name: (tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items()}
    assert all(torch.equal(*pair) for name, pair in pairs.items() if name.startswith("backbone."))
    assert not torch.equal(*pairs["class_head.weight"])
    with pytest.raises(UserError, match=r"backbone\.\S+ is .* there"):
        build_model(tiny(f"model.backbone_weights={path}", "model.backbone_width=16"), NAMES)
    # Trainable norms count their batches, frozen ones do not: the rest of the backbone fits all the same.
    free = build_model(tiny(f"model.backbone_weights={path}", "model.frozen_norm=false"), NAMES)
    assert torch.equal(free.backbone.body.conv1.weight, first.backbone.body.conv1.weight)


def test_frozen_stem(tiny):
    model = build_model(tiny("model.freeze_stem=true"), NAMES)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert any("conv1" in name for name in frozen)
    assert not any("layer2" in name for name in frozen)


def test_sizes_that_do_not_fit_are_a_user_error(tiny):
    with pytest.raises(UserError, match=r"\[model\]"):
        build_model(tiny("model.dim=18", "model.num_heads=4"), NAMES)


def test_card_knows_the_classes(tiny):
    recipe = tiny()
    source = open_source(recipe, "train")
    card = model_card(recipe, source, step=3)
    assert (card.names, card.category_ids) == (source.names, source.category_ids)
    assert card.config["num_classes"] == len(source.names)
    assert card.notes == {"step": 3, "loss": asdict(recipe.loss)}


def test_limits_and_splits_of_scenes(tiny):
    recipe = tiny("data.train_limit=7", "data.val_limit=3")
    assert [len(open_source(recipe, split)) for split in ("train", "val", "test")] == [7, 3, 500]
    assert open_source(recipe, "train").config == recipe.scenes
    assert check_source(recipe, open_source(recipe, "train")) == (None, [])
    with pytest.raises(UserError, match=r"unknown split of the scenes: 'training'. did you mean 'train'"):
        open_source(recipe, "training")


def test_real_pictures_are_checked_first(tiny, shared_data):
    recipe = tiny(f"data.path={shared_data('bccd')}", "data.train_limit=20")
    source = open_source(recipe, "train")
    assert len(source) == 20
    report, notes = check_source(recipe, source)
    assert report.pictures == 20
    assert notes[0].startswith("20 pictures, ")
    assert "raise model.num_queries" in notes[-1]
    assert open_source(recipe, "val", like=source).names == source.names
