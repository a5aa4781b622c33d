"""Every recipe of the project parses, and what it names can be built."""

from dataclasses import replace
from pathlib import Path

import pytest

from sleuth.data.classes.digits import DigitPictures
from sleuth.data.scenes import SceneSource
from sleuth.data.semantic.scenes import SemanticScenes
from sleuth.models.segmenter import build_segmenter
from sleuth.models.seq2seq import build_seq2seq
from sleuth.models.vit import build_vit
from sleuth.tasks.detection import build_criterion
from sleuth.training.assemble import build_model
from sleuth.training.classification_recipe import classification_recipe
from sleuth.training.kinds import kind_of
from sleuth.training.optimizer import build_optimizer
from sleuth.training.recipe import Recipe, load_recipe, recipe_from_tables
from sleuth.training.sections import read_toml
from sleuth.training.semantic_recipe import semantic_recipe
from sleuth.training.translation_recipe import translation_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
KINDS = {path: kind_of(read_toml(path)) for path in RECIPES}


@pytest.fixture(params=RECIPES, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture(params=[path for path in RECIPES if KINDS[path] == "detection"], ids=lambda path: path.stem)
def recipe(request) -> Recipe:
    return load_recipe(request.param)


@pytest.mark.parametrize("text", [path for path in RECIPES if KINDS[path] == "translation"], ids=lambda path: path.stem)
def test_translation_recipes_read_back_and_build(text: Path):
    made = translation_recipe(read_toml(text), where=text)
    assert translation_recipe(made.tables(), where="again") == made
    assert sum(parameter.numel() for parameter in build_seq2seq(made.model.config).parameters()) > 100_000


@pytest.mark.parametrize(
    "classes", [path for path in RECIPES if KINDS[path] == "classification"], ids=lambda path: path.stem
)
def test_classification_recipes_read_back_and_build(classes: Path):
    made = classification_recipe(read_toml(classes), where=classes)
    assert classification_recipe(made.tables(), where="again") == made
    model = build_vit(made.model.config)
    assert 100_000 < sum(parameter.numel() for parameter in model.parameters()) <= 4_000_000
    sample = DigitPictures("val").load(0)
    assert made.augmentation.one(sample.image, made.size_hw, (0.5, 0.5, 0.5)).shape[1:] == made.size_hw


@pytest.mark.parametrize(
    "masks", [path for path in RECIPES if KINDS[path] == "semantic segmentation"], ids=lambda path: path.stem
)
def test_semantic_recipes_read_back_and_build(masks: Path):
    made = semantic_recipe(read_toml(masks), where=masks)
    assert semantic_recipe(made.tables(), where="again") == made
    model = build_segmenter(made.model.config)
    assert 100_000 < sum(parameter.numel() for parameter in model.parameters()) <= 4_000_000
    sample = SemanticScenes("val", 1).load(0)
    image, labels = made.augmentation(
        sample.image, sample.labels, base_hw=(200, 200), size_hw=made.size_hw, mean=(0.5, 0.5, 0.5)
    )
    assert image.shape[1:] == labels.shape == made.size_hw


def test_the_three_recipes_are_there():
    assert {"detr-r50-coco", "detr-scenes", "detr-bccd"} <= {path.stem for path in RECIPES}


def test_header_states_command_hardware_time_and_score(path: Path):
    header = path.read_text().partition("[")[0]
    for word in ("Command:", "Hardware:", "Time:", "Score:"):
        assert f"# {word}" in header
    assert f"recipes/{path.name}" in header


def test_resolved_text_reads_back_as_the_same_recipe(recipe: Recipe, tmp_path: Path):
    resolved = tmp_path / "recipe.toml"
    resolved.write_text(recipe.text())
    assert load_recipe(resolved) == recipe
    assert recipe_from_tables(read_toml(resolved), where="again") == recipe


def test_model_criterion_and_optimizer_build(recipe: Recipe):
    model = build_model(replace(recipe, model=replace(recipe.model, backbone_weights="", weights="")), ("a", "b"))
    heads = [model.class_head] if hasattr(model, "class_head") else model.class_heads
    # One score a class, and with softmax no-object.
    assert {head.out_features for head in heads} == {2 + (recipe.loss.classes == "softmax")}
    assert build_criterion(recipe.loss).config == recipe.loss
    optimizer = build_optimizer(model, recipe.optimizer)
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert rates["rest"] == recipe.optimizer.rate
    frozen = recipe.lora is not None or not {"backbone", "detector"}.isdisjoint(recipe.model.freeze)
    assert ("backbone" in rates) != frozen


def test_augmentation_runs(recipe: Recipe):
    sample = recipe.augmentation(SceneSource(split="train", count=1).load(0))
    assert len(sample.labels) == len(sample.boxes_xyxy_px)


def test_coco_recipe_has_the_numbers_of_the_paper():
    recipe = load_recipe(next(path for path in RECIPES if path.stem == "detr-r50-coco"))
    optimizer, run = recipe.optimizer, recipe.run
    assert (optimizer.rate, optimizer.backbone_rate, optimizer.weight_decay, optimizer.clip) == (1e-4, 1e-5, 1e-4, 0.1)
    assert optimizer.batch_size * optimizer.accumulate * run.devices == 64
    assert (run.epochs, recipe.schedule.drop_at) == (500, (400,))
    assert (recipe.model.config.num_queries, recipe.model.config.dropout) == (100, 0.1)
