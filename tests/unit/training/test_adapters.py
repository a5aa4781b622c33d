"""LoRA: adapters take effect, they alone are trained, and merging them changes no answer."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from sleuth.errors import UserError
from sleuth.tasks.preprocess import preprocess_images
from sleuth.training.adapter_files import merge_adapters, save_adapters
from sleuth.training.adapters import ANSWERING, LoraSettings, adapter_layers, add_adapters, merged
from sleuth.training.assemble import assemble, build_model, model_card
from sleuth.training.optimizer import build_optimizer
from sleuth.training.parts import train_mode
from sleuth.training.recipe import Recipe
from sleuth.training.sources import open_source
from sleuth.types.predictions import SetPrediction
from sleuth.weights.checkpoint import detector_card, save_model

# The decoder's content starts at zero: in the first layer's self-attention there are no values to attend to.
IDLE = "decoder.layers.0.self_attention."


@pytest.fixture
def lora(tiny, tmp_path: Path):
    """A function from overrides to a recipe with adapters beside a tiny model of two classes."""
    names, plain = ("circle", "dog"), tiny("model.dropout=0.0")
    model = build_model(plain, names)
    nn.init.normal_(model.class_head.weight)
    config = plain.model.config.__class__(**vars(plain.model.config) | {"num_classes": 2})
    card = detector_card(config, names=names, category_ids=(1, 2), preprocess=plain.preprocess)
    save_model(tmp_path / "base.safetensors", model, card)

    def recipe(*overrides: str) -> Recipe:
        start = f"model.weights={tmp_path / 'base.safetensors'}"
        return tiny("model.dropout=0.0", start, *(overrides or ("lora.rank=3",)))

    return recipe


def louder(model: nn.Module) -> None:
    """Adapters start at zero: give them something to say."""
    for _, up, _ in adapter_layers(model).values():
        nn.init.normal_(up, std=0.5)


def answer(model: nn.Module, recipe: Recipe) -> SetPrediction:
    picture = open_source(recipe, "train").load(3).image
    with torch.no_grad():
        return model.eval()(preprocess_images([picture], recipe.preprocess))


def same(one: SetPrediction, other: SetPrediction) -> bool:
    return torch.allclose(one.logits, other.logits, atol=1e-5) and torch.allclose(
        one.boxes_cxcywh, other.boxes_cxcywh, atol=1e-5
    )


def test_adapters_start_silent_and_take_effect(lora):
    recipe = lora()
    model, bare = build_model(recipe, ("a", "b")), build_model(recipe, ("a", "b"))
    bare = merged(bare)
    model.class_head.load_state_dict(bare.class_head.state_dict())
    assert len(adapter_layers(model)) == (1 + 2 * 2) * 2
    assert same(answer(model, recipe), answer(bare, recipe))
    for name, (_, up, _) in adapter_layers(model).items():
        before = answer(model, recipe).logits
        nn.init.normal_(up)
        assert name.startswith(IDLE) == torch.allclose(answer(model, recipe).logits, before, atol=1e-5), name


def test_gradients_reach_adapters_and_whole_parts_only(lora):
    recipe = lora("lora.rank=2", 'lora.full=["class_head"]')
    model = build_model(recipe, ("a", "b"))
    louder(model)
    train_mode(model)
    assert not model.backbone.training
    assert model.decoder.training
    prediction = model(preprocess_images([open_source(recipe, "train").load(0).image], recipe.preprocess))
    (prediction.logits.square().sum() + prediction.boxes_cxcywh.square().sum()).backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    matrices = {f"{name}.lora_{m}.default.weight" for name in adapter_layers(model) for m in "AB"}
    assert reached == matrices | {"class_head.weight", "class_head.bias"}
    idle = {name for name, parameter in model.named_parameters() if name in reached and not parameter.grad.any()}
    assert all(name.startswith(IDLE) for name in idle)
    optimizer = build_optimizer(model, recipe.optimizer)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(reached)


def test_the_merged_model_is_an_ordinary_one_with_the_same_answers(lora):
    recipe = lora('lora.targets=["q_proj", "k_proj", "v_proj", "out_proj", "linear1"]', "lora.alpha=5")
    model = build_model(recipe, ("a", "b"))
    louder(model)
    plain = merged(model)
    assert adapter_layers(model), "the one in training keeps its adapters"
    assert not adapter_layers(plain)
    assert set(plain.state_dict()) == set(build_model(lora("run.seed=1"), ("a", "b")).state_dict())
    assert same(answer(model, recipe), answer(plain, recipe))
    assert merged(plain) is plain


def test_saved_apart_they_make_the_same_model_with_their_base(lora, tmp_path: Path):
    recipe = lora("lora.rank=3", "model.num_queries=11")
    source = open_source(recipe, "train")
    model = build_model(recipe, source.names)
    louder(model)
    card = model_card(recipe, source)
    save_adapters(tmp_path / "adapter", model, recipe.lora, card, base=recipe.model.weights)
    whole = sum(file.stat().st_size for file in (tmp_path / "adapter").iterdir())
    assert whole < (tmp_path / "base.safetensors").stat().st_size / 3
    again = merge_adapters(tmp_path / "adapter")
    assert (again.card.names, again.card.config) == (card.names, card.config)
    assert again.preprocess == recipe.preprocess
    assert same(answer(model, recipe), answer(again.model, recipe))
    expected = merged(model).state_dict()
    assert all(torch.allclose(tensor, expected[name]) for name, tensor in again.model.state_dict().items())


def test_peft_reads_them(lora, tmp_path: Path):
    from peft import PeftModel

    recipe = lora()
    source = open_source(recipe, "train")
    model = build_model(recipe, source.names)
    louder(model)
    save_adapters(tmp_path / "a", model, recipe.lora, model_card(recipe, source), base=recipe.model.weights)
    base = build_model(lora("run.seed=1"), source.names)
    assert not same(answer(model, recipe), answer(base, recipe))
    theirs = PeftModel.from_pretrained(base, tmp_path / "a")
    assert same(answer(model, recipe), answer(theirs, recipe))
    assert theirs.peft_config["default"].r == 3


def test_frozen_parts_get_no_adapters(lora):
    model = build_model(lora("lora.rank=2", 'model.freeze=["encoder", "box_head"]'), ("a",))
    assert {name.split(".")[0] for name in adapter_layers(model)} == {"decoder"}
    assert not any(parameter.requires_grad for parameter in model.box_head.parameters())
    assert model.class_head.weight.requires_grad


def test_remarks_count_what_is_trained(lora):
    assembled = assemble(lora("lora.rank=2"), ("a",))
    trained = sum(parameter.numel() for parameter in assembled.model.parameters() if parameter.requires_grad)
    assert assembled.remarks[-2] == "LoRA of rank 2 in 10 layers"
    assert assembled.remarks[-1].startswith(f"trains {trained:,} of ")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("lora.rank=0",), r"\[lora\] rank = 0 is less than 1"),
        (("lora.alpha=-1",), "alpha"),
        (("lora.dropout=1.0",), "dropout"),
        (("lora.targets=[]",), "names no layer"),
        (("lora.ranks=2",), "did you mean 'rank'"),
        (('lora.targets=["q_prj"]',), "unknown layer: 'q_prj'.*did you mean 'q_proj'"),
        (('lora.targets=["conv1"]',), "unknown layer: 'conv1'"),
        (('lora.full=["clas_head"]',), "unknown part: 'clas_head'.*did you mean 'class_head'"),
        (("lora.rank=2", 'model.freeze=["encoder", "decoder"]'), "every q_proj and v_proj is in a frozen part"),
    ],
)
def test_adapters_that_cannot_be(lora, overrides, says):
    with pytest.raises(UserError, match=says):
        build_model(lora(*overrides), ("a",))


def test_adapters_want_a_model_to_adapt(tiny):
    with pytest.raises(UserError, match=r"\[lora\] adapts a model, and none is named"):
        tiny("lora.rank=2")


def test_a_recipe_without_adapters_says_nothing_of_them(lora, tiny):
    assert "lora" not in tiny().tables()
    assert lora().tables()["lora"] == {
        "rank": 3,
        "alpha": 0.0,
        "dropout": 0.0,
        "targets": ["q_proj", "v_proj"],
        "full": list(ANSWERING),
    }


def test_adapters_of_another_model_are_refused(lora, tmp_path: Path):
    recipe = lora()
    source = open_source(recipe, "train")
    folder = tmp_path / "a"
    card = model_card(recipe, source)
    save_adapters(folder, build_model(recipe, source.names), LoraSettings(rank=3), card, base="nobody")
    with pytest.raises(UserError, match="weights of another model"):
        merge_adapters(folder, "detr-scenes")
    with pytest.raises(UserError, match="nobody"):
        merge_adapters(folder)
    with pytest.raises(UserError, match="there are no adapters"):
        merge_adapters(tmp_path)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"r": 0}))
    with pytest.raises(UserError, match="cannot be read"):
        merge_adapters(folder, recipe.model.weights)
    assert add_adapters(build_model(lora("run.seed=1"), ("a",)), LoraSettings(targets=("out_proj",)))
