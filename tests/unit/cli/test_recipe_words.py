"""From the words of `sleuth train` to a recipe that can be run."""

import json
from pathlib import Path

import pytest
from PIL import Image

from sleuth.cli import chosen
from sleuth.cli.recipe_words import tables_for_data, with_words
from sleuth.cli.train import detection_recipe, read_tables
from sleuth.cli.train_words import USUAL_STEPS, TrainWords
from sleuth.errors import UserError
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.tasks.detection import Preprocess
from sleuth.training.machine import Machine
from sleuth.training.recipe import Recipe, recipe_from_tables
from sleuth.weights.checkpoint import detector_card, save_model


def write_split(folder: Path, split: str, pictures: int, objects: int = 1) -> None:
    (folder / split).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    for number in range(pictures):
        Image.new("RGB", (60, 40)).save(folder / split / f"{number}.png")
    page = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 60, "height": 40} for n in range(pictures)],
        "annotations": [
            {"id": n * 100 + m, "image_id": n, "category_id": 4, "bbox": [m, 1, 9, 9], "area": 81, "iscrowd": 0}
            for n in range(pictures)
            for m in range(objects)
        ],
        "categories": [{"id": 4, "name": "cell"}],
    }
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(page))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "cells"
    write_split(folder, "train", 20)
    write_split(folder, "val", 2)
    return folder


@pytest.fixture(autouse=True)
def machine(monkeypatch) -> None:
    """A machine of two cores, whatever this one has."""
    monkeypatch.setattr(chosen, "this_machine", lambda device: Machine(cores=2, memory=2**33, fast_bf16=True))


def read_recipe(words: TrainWords) -> tuple[Recipe, str, tuple[str, ...]]:
    """The recipe of the words, the name of its run, and what was chosen."""
    tables, name, where, remarks = read_tables(None, words, None, resume=False)
    return detection_recipe(tables, words, where, chosen=True), name, remarks


def recipe_for(**words) -> Recipe:
    return read_recipe(TrainWords(**words))[0]


def test_a_folder_alone_makes_a_whole_recipe(data: Path):
    recipe, name, remarks = read_recipe(TrainWords(data=str(data)))
    assert name == "cells"
    assert (recipe.data.train, recipe.data.val, recipe.data.cache) == ("train", "val", "auto")
    assert recipe.model.name == "sleuth-n"
    assert (recipe.model.config.num_queries, recipe.loss.classes) == (50, "matchability")
    assert recipe.preprocess == Preprocess(shortest=40, longest=60)
    assert (recipe.augmentation.fit, recipe.augmentation.scales) == ((64, 64), ())
    assert (recipe.run.epochs, recipe.run.evaluate_every, recipe.run.patience) == (300, 15, 7)
    assert recipe.run.precision == "bf16-mixed"
    optimizer = recipe.optimizer
    assert (optimizer.kind, optimizer.rate, optimizer.backbone_rate) == ("muon", 4e-3, 4e-3)
    assert remarks[0] == "sleuth-n: the smallest, as there is no GPU (2 cores)"
    assert any(line.startswith("warning: 20 pictures: ") for line in remarks)


def test_a_model_that_is_named_is_taken_as_before(data: Path):
    recipe, _, remarks = read_recipe(TrainWords(data=str(data), model="detr-small"))
    assert recipe.model.name == "detr-small"
    assert not recipe.model.config.frozen_norm
    assert recipe.preprocess == Preprocess(shortest=256, longest=427)
    assert recipe.augmentation.longest == 427
    assert recipe.run.epochs * (20 // 8) >= USUAL_STEPS
    assert recipe.run.epochs // recipe.run.evaluate_every == 20
    assert remarks == ()


def test_masks_without_a_name_are_a_small_detrs():
    recipe = recipe_for(data="scenes", annotations="instances")
    assert (recipe.model.name, recipe.model.config.masks) == ("detr-small", True)


def test_minutes_are_a_length(data: Path):
    for words in ({}, {"model": "detr-small"}):
        run = recipe_for(data=str(data), minutes=90.5, **words).run
        assert (run.minutes, run.epochs, run.steps, run.evaluate_every) == (90.5, 0, 0, 4)
    said = read_recipe(TrainWords(data=str(data), minutes=90.5))[2]
    assert any(line.startswith("90.5 minutes of 20 pictures") for line in said)
    tables = {"run": {"epochs": 240, "evaluate_every": 20}}
    assert with_words(tables, TrainWords(minutes=30.0))["run"] == {"minutes": 30.0, "evaluate_every": 1}


def test_patience_goes_with_evaluations(data: Path):
    run = recipe_for(data=str(data), overrides=("run.evaluate_every=0",)).run
    assert (run.evaluate_every, run.patience) == (0, 0)
    with pytest.raises(UserError, match="patience"):
        recipe_for(data=str(data), overrides=("run.evaluate_every=0", "run.patience=3"))


def test_a_rate_is_the_backbones_too(data: Path):
    optimizer = recipe_for(data=str(data), rate=3e-4).optimizer
    assert (optimizer.rate, optimizer.backbone_rate) == (3e-4, 3e-4)


def test_faulty_pictures_are_left_out_or_told(data: Path):
    (data / "train" / "0.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"0\.png"):
        recipe_for(data=str(data))
    remarks = read_recipe(TrainWords(data=str(data), skip_faulty=True))[2]
    assert any("19 pictures" in line for line in remarks)


def test_the_paper_sizes_for_a_model_of_the_paper(data: Path):
    recipe = recipe_for(data=str(data), model="detr-r18")
    assert recipe.preprocess == Preprocess()
    assert recipe.optimizer.batch_size == 2
    assert recipe.optimizer.clip == 0.1
    assert not recipe.model.config.frozen_norm, "from scratch, frozen statistics normalise nothing"


def test_words_go_before_what_is_usual_and_set_before_all(data: Path):
    recipe = recipe_for(
        data=str(data),
        epochs=3,
        batch_size=5,
        rate=2e-4,
        scale=64,
        seed=9,
        device="cpu",
        skip_faulty=True,
        tensorboard=True,
        overrides=("run.seed=11", "model.num_queries=5"),
    )
    assert (recipe.run.epochs, recipe.run.steps, recipe.run.seed) == (3, 0, 11)
    assert (recipe.optimizer.batch_size, recipe.optimizer.rate) == (5, 2e-4)
    assert recipe.preprocess.shortest == 64
    assert recipe.model.config.num_queries == 5
    assert recipe.data.skip_faulty
    assert recipe.run.tensorboard


def test_a_length_in_steps_measures_in_steps(data: Path):
    recipe = recipe_for(data=str(data), steps=100)
    assert (recipe.run.steps, recipe.run.epochs, recipe.run.evaluate_every) == (100, 0, 5)


def test_a_recipes_length_in_the_other_unit(data: Path):
    tables = {"run": {"epochs": 240, "evaluate_every": 20}}
    assert with_words(tables, TrainWords(steps=100))["run"] == {"steps": 100, "evaluate_every": 5}
    tables = {"run": {"epochs": 240, "evaluate_every": 20}}
    assert with_words(tables, TrainWords(epochs=60))["run"] == {"epochs": 60, "evaluate_every": 20}


def test_one_split_alone_is_trained_on_and_not_measured(tmp_path: Path):
    write_split(tmp_path / "one", "train", 3)
    recipe = recipe_for(data=str(tmp_path / "one"))
    assert (recipe.data.train, recipe.data.val) == ("train", "")


def test_crowded_pictures_get_more_queries(tmp_path: Path):
    write_split(tmp_path / "full", "train", 2, objects=40)
    assert recipe_for(data=str(tmp_path / "full"), model="detr-small").model.config.num_queries == 60
    # Mosaics of such pictures hold more than any of them, and have queries for it: twice as many at most.
    assert recipe_for(data=str(tmp_path / "full")).model.config.num_queries == 120


def test_scenes_by_name():
    recipe = recipe_for(data="scenes")
    assert recipe.data.path == "scenes"
    assert recipe.run.steps == USUAL_STEPS
    assert (recipe.model.name, recipe.preprocess.shortest) == ("sleuth-n", 192)
    assert (recipe.augmentation.fit, recipe.augmentation.flip) == ((192, 192), False), "signs have a left and a right"
    assert recipe_for(data="scenes", scale=64).augmentation.fit == (64, 64)
    recipe = recipe_for(data="scenes", model="detr-small")
    assert (recipe.preprocess.shortest, recipe.augmentation.scales) == (128, ())


def write_model(path: Path, **changes) -> str:
    config = DetrConfig(
        backbone="resnet10",
        backbone_width=8,
        dim=16,
        num_heads=2,
        encoder_layers=1,
        decoder_layers=1,
        feedforward_dim=16,
        num_queries=6,
        num_classes=2,
        frozen_norm=False,
    )
    preprocess = Preprocess(shortest=96, longest=110, mean=(0.5, 0.5, 0.5), **changes)
    card = detector_card(config, names=("a", "b"), category_ids=(1, 2), preprocess=preprocess)
    save_model(path, build_detr(config), card)
    return str(path)


def test_a_model_file_is_gone_on_from_with_its_own_sizes(data: Path, tmp_path: Path):
    file = write_model(tmp_path / "mine.safetensors")
    for words in ({"model": file}, {"weights": file}):
        recipe = recipe_for(data=str(data), **words)
        assert (recipe.model.weights, recipe.model.name) == (file, "")
        assert (recipe.model.config.dim, recipe.model.config.num_queries) == (16, 6)
        assert recipe.preprocess == Preprocess(shortest=96, longest=110, mean=(0.5, 0.5, 0.5))
        assert (max(recipe.augmentation.scales), recipe.augmentation.longest) == (96, 110)
        assert recipe.optimizer.backbone_rate == recipe.optimizer.rate / 10
    recipe = recipe_for(data=str(data), model=file, scale=64)
    assert recipe.preprocess == Preprocess(shortest=64, longest=107, mean=(0.5, 0.5, 0.5))
    assert recipe.augmentation.longest == 107


def test_pictures_of_one_size_give_the_scale(data: Path, tmp_path: Path):
    file = write_model(tmp_path / "mine.safetensors", resize="exact", size_hw=(80, 64))
    recipe = recipe_for(data=str(data), model=file)
    assert recipe.preprocess.size_hw == (80, 64)
    assert max(recipe.augmentation.scales) == 64
    assert recipe_for(data=str(data), model=file, scale=48).preprocess.resize == "shortest"


def test_a_name_with_weights_is_fine_tuned_and_from_scratch_is_an_architecture(data: Path, tmp_path: Path):
    recipe = recipe_for(data=str(data), model="detr-scenes", freeze="backbone, encoder")
    assert (recipe.model.weights, recipe.model.name) == ("detr-scenes", "")
    assert recipe.model.freeze == ("backbone", "encoder")
    assert recipe.preprocess.shortest == 128
    recipe = recipe_for(data=str(data), model="detr-scenes", scratch=True)
    assert (recipe.model.weights, recipe.model.name) == ("", "detr-scenes")
    assert recipe.preprocess.shortest == 256
    recipe = recipe_for(data=str(data), model=write_model(tmp_path / "mine.safetensors"), scratch=True)
    assert recipe.model.weights == ""
    assert (recipe.model.config.dim, recipe.model.config.num_queries) == (16, 6)


def test_a_crowded_start_gets_more_queries(tmp_path: Path):
    write_split(tmp_path / "full", "train", 2, objects=40)
    recipe = recipe_for(data=str(tmp_path / "full"), model="detr-scenes")
    assert (recipe.model.weights, recipe.model.config.num_queries) == ("detr-scenes", 60)


def test_annotations_say_whether_there_are_masks():
    recipe = recipe_for(data="scenes", model="detr-scenes", annotations="panoptic")
    assert recipe.data.annotations == "panoptic"
    assert recipe.model.config.masks
    assert not recipe_for(data="scenes", model="detr-scenes").model.config.masks
    with pytest.raises(UserError, match="panoptic"):
        recipe_for(data="scenes", annotations="panoptick")


def test_a_model_with_weights_replaces_the_start_of_a_recipe():
    def tables(**words):
        given = {"name": "detr-small", "num_queries": 40, "weights": "old.safetensors"}
        return with_words({"model": given}, TrainWords(**words))["model"]

    assert tables(model="detr-scenes") == {"num_queries": 40, "weights": "detr-scenes"}
    assert tables(model="mine.safetensors") == {"num_queries": 40, "weights": "mine.safetensors"}
    assert tables(model="detr-r18") == {"name": "detr-r18", "num_queries": 40, "weights": "old.safetensors"}
    assert tables(model="detr-scenes", scratch=True) == {"name": "detr-scenes", "num_queries": 40}
    assert tables(weights="new.safetensors")["weights"] == "new.safetensors"
    assert tables(freeze="backbone")["freeze"] == ["backbone"]


def test_the_resolved_recipe_reads_back_as_itself(data: Path):
    import tomllib

    recipe = recipe_for(data=str(data), steps=7)
    assert recipe_from_tables(tomllib.loads(recipe.text()), where="x") == recipe


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"epochs": 1, "steps": 1}, "both --epochs and --steps"),
        ({"steps": 1, "minutes": 1.0}, "both --steps and --minutes"),
        ({"minutes": 0.0}, "above 0"),
        ({"epochs": 0}, "above 0"),
        ({"batch_size": -1}, "batch"),
        ({"scale": -5}, "at least 1"),
        ({"device": "gpu"}, "run.device"),
        ({"model": "detr-r5"}, "did you mean"),
        ({"format": "vic"}, "there is no format"),
        ({"model": "detr-scenes", "weights": "x.safetensors"}, "both --model and --weights"),
        ({"scratch": True}, "--scratch takes"),
        ({"overrides": ("steps=3",)}, "--set steps=3"),
        ({"overrides": ("run.step=3",)}, "did you mean 'steps'"),
    ],
)
def test_words_that_make_no_recipe(words: dict, said: str, data: Path):
    with pytest.raises(UserError, match=said):
        recipe_for(data=str(data), **words)


def test_data_have_to_be_named():
    with pytest.raises(ValueError, match="no data"):
        tables_for_data(TrainWords())


def test_tiles_of_somebodys_pictures(data: Path):
    """A picture of 40 x 60 gives two tiles of 40 x 40, of which the first has the object: an epoch is twice as long."""
    plain = tables_for_data(TrainWords(data=str(data), model="detr-small"))
    words = TrainWords(data=str(data), tile="40", tile_overlap=0.5, model="detr-small")
    tables = tables_for_data(words)
    assert tables["run"]["epochs"] < plain["run"]["epochs"] * 0.6
    assert tables["augmentation"]["scale"] == 40
    settings = recipe_from_tables(with_words(tables, words), where="").data
    assert (settings.tile, settings.tile_overlap) == ((40, 40), 0.5)
    assert settings.tiling is not None


def test_tiles_are_seen_at_their_own_pixels(data: Path):
    recipe, _, remarks = read_recipe(TrainWords(data=str(data), tile="40", tile_overlap=0.5))
    assert recipe.data.tiling is not None
    assert (recipe.preprocess.shortest, recipe.preprocess.longest, recipe.augmentation.fit) == (40, 40, (64, 64))
    assert any("42 pictures" in line for line in remarks), "whole ones, tiles, and a few tiles without an object"


def test_another_overlap_for_the_tiles_of_a_recipe():
    words = TrainWords(tile_overlap=0.4)
    assert with_words({"data": {"tile": 64}, "run": {"steps": 1}}, words)["data"] == {"tile": 64, "tile_overlap": 0.4}
    with pytest.raises(UserError, match="of no use without --tile"):
        with_words({"run": {"steps": 1}}, words)
