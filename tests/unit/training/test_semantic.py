"""Recipes of pixel classes and their work: the one training function learns masks as it learns boxes."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from sleuth.data.semantic.samples import SemanticSample
from sleuth.errors import UserError
from sleuth.models.segmenter import SegmenterConfig, build_segmenter
from sleuth.models.vit import VitConfig, build_vit
from sleuth.tasks.classification import classifier_preprocess
from sleuth.tasks.semantic import semantic_preprocess
from sleuth.training.kinds import kind_of
from sleuth.training.semantic_recipe import SemanticRecipe, semantic_recipe
from sleuth.training.semantic_work import SemanticWork, open_semantic_source, take_head
from sleuth.training.train import train_work
from sleuth.training.work import Work
from sleuth.weights.classifier import LoadedClassifier, save_classifier
from sleuth.weights.segmenter import LoadedSegmenter, load_segmenter, save_segmenter

QUIET = Console(quiet=True)
SIZES = {"name": "segmenter-street", "dim": 16, "num_heads": 2, "depth": 1, "feedforward_dim": 32, "stem_dim": 4}
SMALL = VitConfig(
    image_hw=(16, 16), patch_size=8, num_classes=3, dim=16, depth=1, num_heads=2, feedforward_dim=32, prefix_positions=1
)


class Corners:
    """Pictures of 16 x 16 pixels with a bright square in one corner."""

    names = ("ground", "square")

    def __len__(self) -> int:
        return 8

    def load(self, index: int) -> SemanticSample:
        labels = torch.zeros(16, 16, dtype=torch.uint8)
        labels[8 * (index % 2) :, :8] = 1
        image = torch.where(labels == 1, 220, 30).to(torch.uint8).expand(3, -1, -1).contiguous()
        return SemanticSample(image, labels, f"picture {index}")


def tables(**sections: dict) -> dict:
    usual = {
        "model": SIZES | {"image_hw": [16, 16]},
        "augmentation": {"scale": [1.0, 1.0], "flip": False, "colour": 0.0},
        "optimizer": {"batch_size": 4, "rate": 5e-3},
        "schedule": {"kind": "constant"},
        "run": {"steps": 4, "workers": 0, "device": "cpu", "log_every": 1, "checkpoint_every": 2},
    }
    return {name: usual.get(name, {}) | sections.get(name, {}) for name in {**usual, **sections}}


def recipe(**sections: dict) -> SemanticRecipe:
    return semantic_recipe(tables(**sections), where="test")


def test_a_resolved_recipe_reads_back_as_itself():
    made = recipe(loss={"class_weights": "root"}, model={"head": "linear"}, data={"ignore": [11]})
    assert semantic_recipe(made.tables(), where="again") == made
    assert kind_of(made.tables()) == "semantic segmentation"
    assert made.size_hw == (16, 16)
    assert made.preprocess == semantic_preprocess((16, 16))
    assert made.optimizer.backbone_rate == made.optimizer.rate == 5e-3
    assert isinstance(SemanticWork(made, Corners()), Work)
    token = recipe(model={"class_token": True, "prefix_positions": 1})
    assert semantic_recipe(token.tables(), where="again") == token


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"dimm": 3}}, "did you mean 'dim'"),
        ({"model": {"name": "segmenter-x16"}}, "did you mean 'segmenter-"),
        ({"model": {"num_classes": 9}}, "unknown key"),
        ({"model": {"head_depth": 0}}, "head_depth = 0"),
        ({"model": {"head": "round"}}, "head"),
        ({"model": {"family": "vit"}}, "is not 'segmenter'"),
        ({"model": {"patch_size": 12}}, "2, 4, 8"),
        ({"data": {"ignore": [-1]}}, "ignore"),
        ({"augmentation": {"crop_hw": [4, 4]}}, "smaller than a patch of 8"),
        ({"augmentation": {"scale": [2.0, 1.0]}}, "scale"),
        ({"loss": {"class_weights": "all"}}, "class_weights"),
        ({"preprocess": {"crop_hw": [8, 8]}}, "every pixel is to have a class"),
        ({"optimizer": {"batch_size": 0}}, "batch_size = 0"),
        ({"lora": {"rank": 2}}, "none is named"),
    ],
)
def test_wrong_recipes_are_refused_with_a_clear_line(sections: dict, message: str):
    with pytest.raises(UserError, match=message):
        recipe(**sections)


def test_a_training_learns_and_resumes_bit_for_bit(tmp_path: Path):
    sections = {"loss": {"class_weights": "median"}, "model": {"head": "linear", "stem_depth": 1}}
    work = SemanticWork(recipe(**sections, run={"steps": 12}), Corners())
    assert work.criterion.given[1] > work.criterion.given[0]
    train_work(work, tmp_path / "whole", console=QUIET)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    short = SemanticWork(recipe(**sections, run={"steps": 2}), Corners())
    train_work(short, tmp_path / "parts", console=QUIET)
    train_work(work, tmp_path / "parts", console=QUIET, resume=True)
    whole, parts = (load_segmenter(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, parts.model.state_dict()[name]), name
    assert whole.names == ("ground", "square")


def classifier(folder: Path, config: VitConfig = SMALL) -> Path:
    names = tuple(f"class {label}" for label in range(config.num_classes))
    loaded = LoadedClassifier(build_vit(config).eval(), config, names, classifier_preprocess(config.image_hw))
    save_classifier(folder / "vit.safetensors", loaded)
    return folder / "vit.safetensors"


def test_the_backbone_of_a_classifier_is_a_start(tmp_path: Path):
    start = classifier(tmp_path)
    weights = {"weights": str(start), "family": "segmenter"}
    larger = {"augmentation": {"crop_hw": [40, 48]}, "model": weights}
    assert semantic_recipe(tables() | larger, where="test").preprocess.shortest == 40
    made = semantic_recipe(tables() | {"model": weights}, where="test")
    assert made.preprocess.shortest == 16
    assert kind_of(made.tables()) == "semantic segmentation"
    assert made.optimizer.backbone_rate == made.optimizer.rate / 10
    model, remarks = SemanticWork(made, Corners()).assemble(resume=False)
    assert any("starts from the backbone of" in line for line in remarks)
    from sleuth.weights.classifiers import open_classifier

    theirs = open_classifier(start).model.backbone.state_dict()
    assert all(torch.equal(model.backbone.state_dict()[name], tensor) for name, tensor in theirs.items())


def test_positions_of_a_classifier_are_resized_and_a_missing_norm_stays_fresh(tmp_path: Path):
    pooled = replace(SMALL, pool="mean", norm_after_pool=True, class_token=False, prefix_positions=0)
    start = classifier(tmp_path, pooled)
    weights = {"weights": str(start), "family": "segmenter", "image_hw": [24, 32]}
    made = semantic_recipe(tables() | {"model": weights}, where="test")
    model, _ = SemanticWork(made, Corners()).assemble(resume=False)
    assert model.backbone.positions.table.shape == (1, 12, 16)
    assert torch.equal(model.backbone.norm.weight, torch.ones(16))
    wrong = SemanticWork(semantic_recipe(tables() | {"model": weights | {"depth": 2}}, where="test"), Corners())
    with pytest.raises(UserError, match="backbone of another make"):
        wrong.assemble(resume=False)


@pytest.mark.parametrize("head", ["linear", "mask"])
def test_classes_of_the_same_name_keep_what_is_known_of_them(head: str, tmp_path: Path):
    config = SegmenterConfig(replace(SMALL, num_classes=0), num_classes=3, head=head, head_depth=1)
    before = LoadedSegmenter(
        build_segmenter(config).eval(), config, ("car", "square", "tree"), semantic_preprocess((32, 32))
    )
    save_segmenter(tmp_path / "m.safetensors", before)
    made = semantic_recipe(tables() | {"model": {"weights": str(tmp_path / "m.safetensors")}}, where="test")
    assert made.preprocess == before.preprocess
    model, remarks = SemanticWork(made, Corners()).assemble(resume=False)
    assert any("1 classes kept, 1 fresh" in line for line in remarks)
    name = "classes.weight" if head == "linear" else "mask_norm.weight"
    ours, theirs = model.head.state_dict(), before.model.head.state_dict()
    assert torch.equal(ours[name][1], theirs[name][1])
    if head == "mask":
        assert torch.equal(ours["queries"][0, 1], theirs["queries"][0, 1])
        assert torch.equal(ours["project.weight"], theirs["project.weight"])
    other = build_segmenter(replace(config, head="mask" if head == "linear" else "linear"))
    assert take_head(other, before, ("car", "square", "tree"), keep_classes=True) == 0


def test_the_backbone_can_be_frozen():
    made = recipe(model={"freeze": ["backbone"]})
    model, remarks = SemanticWork(made, Corners()).assemble(resume=False)
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())
    assert any("frozen: backbone" in line for line in remarks)


def test_adapters_learn_beside_frozen_weights_and_are_merged(tmp_path: Path):
    work = SemanticWork(recipe(), Corners())
    start = train_work(work, tmp_path / "start", console=QUIET).folder / "best.safetensors"
    made = recipe(model={"weights": str(start)}, lora={"rank": 2})
    assert made.optimizer.backbone_rate == made.optimizer.rate
    assert semantic_recipe(tomllib.loads(made.text()), where="test") == made
    result = train_work(SemanticWork(made, Corners()), tmp_path / "lora", console=QUIET)
    before, after = (load_segmenter(path).model.state_dict() for path in (start, result.folder / "best.safetensors"))
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    # The whole head learns, and of the backbone what has adapters.
    assert {name for name in changed if not name.startswith("head.")} == {"backbone.blocks.0.attention.qkv.weight"}
    assert {"head.queries", "head.blocks.0.attention.qkv.weight"} <= changed


def test_scenes_are_built_in():
    source, report = open_semantic_source("scenes", "val", limit=2)
    assert (len(source), report) == (2, None)
    with pytest.raises(UserError, match="scenes have no split 'dev'"):
        open_semantic_source("scenes", "dev")
