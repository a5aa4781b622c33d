"""Classification recipes and their work: the one training function learns classes as it learns boxes."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from sleuth.data.classes.digits import DigitPictures
from sleuth.data.classes.samples import FirstPictures
from sleuth.errors import UserError
from sleuth.evaluation.classification import evaluate_classifier
from sleuth.training.classification_recipe import ClassificationRecipe, classification_recipe
from sleuth.training.classification_work import ClassificationWork, open_class_source
from sleuth.training.kinds import kind_of
from sleuth.training.train import train_work
from sleuth.training.work import Work
from sleuth.weights.classifier import load_classifier

QUIET = Console(quiet=True)
SIZES = {"name": "vit-digits", "dim": 32, "num_heads": 2, "depth": 1, "feedforward_dim": 64}


def tables(**sections: dict) -> dict:
    usual = {
        "model": SIZES,
        "augmentation": {"crop": "none", "flip": False},
        "optimizer": {"batch_size": 40, "rate": 5e-3},
        "schedule": {"kind": "constant"},
        "run": {"steps": 6, "workers": 0, "device": "cpu", "log_every": 1, "checkpoint_every": 2},
    }
    return {name: usual.get(name, {}) | sections.get(name, {}) for name in {**usual, **sections}}


def recipe(**sections: dict) -> ClassificationRecipe:
    return classification_recipe(tables(**sections), where="test")


def trained(folder: Path, source=None, **sections: dict):
    work = ClassificationWork(recipe(**sections), source)
    return train_work(work, folder, console=QUIET)


def test_a_resolved_recipe_reads_back_as_itself():
    made = recipe(loss={"smoothing": 0.0}, augmentation={"mixup": 0.3}, model={"layer_scale": 0.1})
    assert classification_recipe(made.tables(), where="again") == made
    assert kind_of(made.tables()) == "classification"
    assert made.size_hw == (8, 8)
    # The whole model learns at one rate.
    assert made.optimizer.backbone_rate == made.optimizer.rate == 5e-3
    assert isinstance(ClassificationWork(made), Work)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"dimm": 3}}, "did you mean 'dim'"),
        ({"model": {"name": "vit-digit"}}, "did you mean 'vit-digits'"),
        ({"model": {"num_classes": 9}}, "comes from the data"),
        ({"model": {"dim": 33}}, "not a multiple"),
        ({"model": {"freeze": ["tail"]}}, "unknown part"),
        ({"augmentation": {"crop": "wild"}}, "augmentation.crop"),
        ({"augmentation": {"erase": 2.0}}, "erase must be"),
        ({"optimizer": {"batch_size": 0}}, "batch_size = 0"),
        ({"lora": {"rank": 2}}, "none is named"),
        ({"preprocess": {"crop_hw": [1, 1]}}, "smaller than a patch"),
        ({"datas": {}}, "unknown section"),
        ({"data": {"train": "test"}}, "no split 'test'"),
    ],
)
def test_what_is_wrong_is_one_line(sections: dict, message: str, tmp_path: Path):
    with pytest.raises(UserError, match=message):
        trained(tmp_path / "run", **sections)


def test_it_learns_digits_and_keeps_their_names(tmp_path: Path):
    few = FirstPictures(DigitPictures("train"), 200)
    result = trained(tmp_path / "run", few, run={"steps": 120}, optimizer={"rate": 3e-3})
    assert result.finished
    loaded = load_classifier(result.folder / "best.safetensors")
    assert loaded.names == tuple("0123456789")
    assert loaded.notes["step"] == 120
    assert evaluate_classifier(loaded.model, few, loaded.preprocess).numbers["top-1"] > 0.5
    lines = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["parts"].keys() == {"class", "accuracy"}
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path: Path):
    mixed = {"augmentation": {"crop": "padded", "mixup": 0.3}, "model": {"drop_path": 0.2, "dropout": 0.1}}
    whole = trained(tmp_path / "whole", **mixed)
    trained(tmp_path / "part", **mixed, run={"steps": 4})
    again = train_work(ClassificationWork(recipe(**mixed)), tmp_path / "part", resume=True, console=QUIET)
    assert again.step == 6
    ours, theirs = (load_classifier(each.folder / "best.safetensors").model.state_dict() for each in (again, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_two_heads_are_both_trained(tmp_path: Path):
    result = trained(tmp_path / "run", model={"distillation": "head", "prefix_positions": 2})
    loaded = load_classifier(result.folder / "best.safetensors")
    fresh = ClassificationWork(recipe(model={"distillation": "head", "prefix_positions": 2})).assemble(resume=False)[0]
    assert loaded.model.distill_head is not None
    assert not torch.equal(loaded.model.distill_head.weight, fresh.distill_head.weight)


def test_the_head_alone_learns_where_the_rest_is_frozen(tmp_path: Path):
    start = trained(tmp_path / "start").folder / "best.safetensors"
    before = load_classifier(start).model.state_dict()
    weights = {"weights": str(start), "freeze": ["backbone"]}
    made = classification_recipe(tables() | {"model": weights}, where="test")
    assert made.model.config.dim == 32
    result = train_work(ClassificationWork(made), tmp_path / "head", console=QUIET)
    after = load_classifier(result.folder / "best.safetensors").model.state_dict()
    changed = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"head"}


def test_classes_that_the_start_knows_keep_what_it_knows(tmp_path: Path):
    start = trained(tmp_path / "start").folder / "best.safetensors"
    before = load_classifier(start).model

    class Others(FirstPictures):
        names = ("7", "new", "1")

        def load(self, index):
            sample = super().load(index)
            return type(sample)(sample.image, sample.label % 3, sample.name)

    source = Others(DigitPictures("train"), 40)
    made = classification_recipe(tables() | {"model": {"weights": str(start)}}, where="test")
    model, remarks = ClassificationWork(made, source).assemble(resume=False)
    assert any("2 classes kept, 1 fresh" in remark for remark in remarks)
    assert torch.equal(model.head.weight[[0, 2]], before.head.weight[[7, 1]])
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(model.backbone.parameters(), before.backbone.parameters(), strict=True)
    )
    anew = classification_recipe(tables() | {"model": {"weights": str(start), "keep_classes": False}}, where="test")
    model, remarks = ClassificationWork(anew, source).assemble(resume=False)
    assert any("0 classes kept, 3 fresh" in remark for remark in remarks)
    assert not torch.equal(model.head.weight[[0, 2]], before.head.weight[[7, 1]])


def test_adapters_learn_beside_frozen_weights_and_are_merged(tmp_path: Path):
    start = trained(tmp_path / "start").folder / "best.safetensors"
    before = load_classifier(start).model.state_dict()
    made = classification_recipe(tables() | {"model": {"weights": str(start)}, "lora": {"rank": 2}}, where="test")
    result = train_work(ClassificationWork(made), tmp_path / "lora", console=QUIET)
    after = load_classifier(result.folder / "best.safetensors").model.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"backbone.blocks.0.attention.qkv.weight", "head.weight", "head.bias"}


def test_another_size_is_no_start(tmp_path: Path):
    start = trained(tmp_path / "start").folder / "best.safetensors"
    made = classification_recipe(tables() | {"model": {"weights": str(start), "feedforward_dim": 32}}, where="test")
    with pytest.raises(UserError, match="weights of another model"):
        ClassificationWork(made).assemble(resume=False)


def test_one_class_is_refused_before_training(tmp_path: Path):
    class One(FirstPictures):
        names = ("only",)

    with pytest.raises(UserError, match="one class only, 'only'"):
        ClassificationWork(recipe(), One(DigitPictures("train"), 3))


def test_digits_of_another_model_are_refused():
    with pytest.raises(UserError, match="not the ten digits"):
        open_class_source("digits", "val", names=("cat", "dog"))
    assert len(open_class_source("digits", "val", limit=7)) == 7
