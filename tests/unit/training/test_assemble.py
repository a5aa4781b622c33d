"""Models from recipes, starting fresh or from given weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sleuth.errors import UserError
from sleuth.training.assemble import build_model, model_card, start_from
from sleuth.training.sources import check_source, open_source

NAMES = ("a", "b", "c")


def weights_file(model, path: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return path


def test_weights_to_start_from(tiny, tmp_path: Path):
    first = build_model(tiny(), NAMES)
    path = weights_file(first, tmp_path / "w.safetensors")
    second = build_model(tiny(f"model.weights={path}"), NAMES)
    assert all(torch.equal(second.state_dict()[name], tensor) for name, tensor in first.state_dict().items())


def test_only_the_class_head_may_be_of_another_size(tiny, tmp_path: Path):
    path = weights_file(build_model(tiny(), NAMES), tmp_path / "w.safetensors")
    assert start_from(build_model(tiny(), ("x",)), path) == ["class_head.weight", "class_head.bias"]
    with pytest.raises(UserError, match=r"weights of another model: .* \[8, 16\] in the file, \[9, 16\] in the recipe"):
        start_from(build_model(tiny("model.num_queries=9"), NAMES), path)
    with pytest.raises(UserError, match=r"the recipe's has no decoder.layers.1"):
        start_from(build_model(tiny("model.decoder_layers=1"), NAMES), path)
    with pytest.raises(UserError, match="is absent in the file"):
        start_from(build_model(tiny("model.decoder_layers=3"), NAMES), path)
    with pytest.raises(UserError, match="no such file"):
        start_from(build_model(tiny(), NAMES), tmp_path / "nowhere.safetensors")


def test_backbone_to_start_from(tiny, tmp_path: Path):
    torch.manual_seed(1)
    first = build_model(tiny(), NAMES)
    path = weights_file(first, tmp_path / "w.safetensors")
    torch.manual_seed(2)
    second = build_model(tiny(f"model.backbone_weights={path}"), NAMES)
    pairs = {name: (tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items()}
    assert all(torch.equal(*pair) for name, pair in pairs.items() if name.startswith("backbone."))
    assert not torch.equal(*pairs["class_head.weight"])


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
    assert card.notes == {"step": 3}


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
