"""Recipes: what they say, what they refuse, and that they read back as written."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from sleuth.data.transforms import Augmentation
from sleuth.errors import UserError
from sleuth.training.recipe import load_recipe, recipe_from_tables
from sleuth.training.run_settings import differences
from sleuth.weights.catalog import CATALOG, names_of

RUN = {"run": {"steps": 10}}


def recipe(**sections):
    return recipe_from_tables({**RUN, **sections}, where="r.toml")


def test_defaults_come_from_the_catalog():
    given = recipe(model={"name": "detr-small", "dim": 64})
    assert given.model.config.dim == 64
    assert given.model.config.backbone == CATALOG["detr-small"].config.backbone
    assert given.preprocess == CATALOG["detr-small"].preprocess
    assert recipe(model={"name": "detr-small"}, preprocess={"shortest": 96}).preprocess.longest == 128


def test_sides_that_are_given_are_meant():
    exact = recipe(model={"name": "rtdetr-r18"}).preprocess
    assert (exact.resize, exact.size_hw) == ("exact", (640, 640))
    given = recipe(model={"name": "rtdetr-r18"}, preprocess={"shortest": 192, "longest": 256}).preprocess
    assert given.resize == "shortest"
    assert given.size_for((300, 400)) == (192, 256)
    said = recipe(model={"name": "rtdetr-r18"}, preprocess={"shortest": 192, "resize": "exact"}).preprocess
    assert said.resize == "exact"


def test_scale_is_short_for_the_paper_at_another_size():
    assert recipe(augmentation={"scale": 256}).augmentation == Augmentation.for_scale(256)
    changed = recipe(augmentation={"scale": 256, "flip": False}).augmentation
    assert changed == Augmentation.for_scale(256, flip=False)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"modle": {}}, r"unknown section: 'modle'. did you mean 'model'\?"),
        ({"model": 3}, "model is not a section"),
        ({"model": {"name": "detr-r5"}}, r"unknown model: 'detr-r5'. did you mean 'detr-r50'\?"),
        ({"model": {"encoder_layer": 3}}, r"unknown key in \[model\]: 'encoder_layer'. did you mean 'encoder_layers'"),
        ({"model": {"num_classes": 3}}, "num_classes is not set in a recipe. it comes from the data"),
        ({"model": {"backbone": "resnet51"}}, r"\"resnet51\" is none of: .*did you mean 'resnet50'"),
        ({"optimizer": {"lr": 1e-4}}, r"unknown key in \[optimizer\]: 'lr'"),
        ({"optimizer": {"batch_size": -1}}, "batch_size must not be negative"),
        ({"optimizer": {"rate": -1.0}}, "rate must be above 0"),
        ({"augmentation": {"scale": "big"}}, "not a size in pixels"),
        ({"run": {}}, r"r.toml: \[run\] needs either steps, epochs or minutes"),
        ({"run": {"steps": 3, "epochs": 3}}, "needs either steps, epochs or minutes"),
        ({"run": {"steps": 3, "ema_decay": 1.0}}, "ema_decay must be at least 0 and below 1"),
        ({"run": {"steps": 3, "workers": -1}}, "workers must not be negative"),
        ({"run": {"steps": 3, "devices": 0}}, "devices must be at least 1"),
        ({"run": {"steps": 3, "precision": "bf16"}}, r"none of: 32-true, bf16-mixed, 16-mixed. did you mean"),
        ({"data": {"val_limit": -1}}, "limits must not be negative"),
        ({"schedule": {"drop_at": 3}}, "not a list"),
        ({"schedule": {"drop_factor": 0.0}}, "drop_factor must be above 0"),
        ({"augmentation": {"mosaik": 1.0}}, r"unknown key in \[augmentation\]: 'mosaik'. did you mean 'mosaic'"),
        ({"augmentation": {"fit": [64, 64], "scale": 64}}, "both fit and scales say how large"),
        ({"augmentation": {"mosaic": 0.5}, "data": {"annotations": "panoptic"}}, "do not know stuff"),
        (
            {"schedule": {"kind": "flat_cosine"}, "run": {"steps": 3, "close_augmentation": 0.1}},
            "would learn at a rate of 0. set schedule.floor",
        ),
    ],
)
def test_mistakes_are_user_errors(sections, message):
    with pytest.raises(UserError, match=message):
        recipe(**sections)


def test_fit_takes_the_place_of_the_papers_sizes_and_crop():
    fitted = recipe(augmentation={"fit": [240, 320], "mosaic": 0.5})
    assert fitted.augmentation == Augmentation.fitted((240, 320), mosaic=0.5)
    again = recipe_from_tables(tomllib.loads(fitted.text()), where="again")
    assert again.augmentation == fitted.augmentation
    assert recipe(augmentation={"fit": [64, 64], "crop_prob": 0.5}).augmentation.crop_prob == 0.5


def test_overrides_win_and_are_checked(tmp_path: Path):
    path = tmp_path / "r.toml"
    path.write_text("[run]\nsteps = 10\n")
    assert load_recipe(path, ["run.steps=20", "model.name=detr-r18"]).run.steps == 20
    with pytest.raises(UserError, match="did you mean 'steps'"):
        load_recipe(path, ["run.step=20"])


def test_text_reads_back(tmp_path: Path):
    given = recipe(
        model={"name": "detr-small", "dropout": 0.25},
        data={"path": 'a "quoted" \\ path'},
        optimizer={"backbone_rate": 3e-5, "betas": [0.8, 0.9]},
        schedule={"drop_at": [3, 5]},
        scenes={"size_hw": [48, 64]},
    )
    path = tmp_path / "r.toml"
    path.write_text(given.text())
    assert load_recipe(path) == given


def test_differences_leave_out_what_changes_nothing():
    one = recipe(schedule={"kind": "step"}).tables()
    faster = recipe_from_tables({"run": {"steps": 20, "workers": 3, "threads": 2}}, where="x").tables()
    assert differences(one, faster) == {}
    other = recipe(optimizer={"rate": 1e-3}).tables()
    assert differences(one, other) == {"optimizer.rate": (1e-4, 1e-3)}


def test_a_cosine_run_cannot_be_made_longer():
    one = recipe(schedule={"kind": "cosine"}).tables()
    longer = recipe_from_tables({"run": {"steps": 20}, "schedule": {"kind": "cosine"}}, where="x").tables()
    assert differences(one, longer) == {"run.steps": (10, 20)}


def test_a_run_that_closes_is_as_long_as_it_was_begun():
    def longer(**run) -> dict:
        return differences(*(recipe(run={"steps": steps, **run}).tables() for steps in (10, 20)))

    assert longer() == {}
    assert longer(close_augmentation=0.1) == {"run.steps": (10, 20)}
    chosen = recipe(optimizer={"batch_size": 8}).tables(), recipe(optimizer={"batch_size": 0}).tables()
    assert differences(*chosen) == {}


def test_the_family_follows_from_the_name_and_a_resolved_recipe_says_it():
    name = names_of("dino")[0]
    given = recipe(model={"name": name, "num_queries": 7})
    assert given.model.family == "dino"
    assert given.tables()["model"]["family"] == "dino"
    assert given.loss == CATALOG[name].loss
    assert recipe(model={"name": name}, loss={"l1_weight": 3.0}).loss == replace(CATALOG[name].loss, l1_weight=3.0)
    assert recipe_from_tables(given.tables(), where="again") == given


def test_a_recipe_from_before_there_were_families_is_a_detr():
    tables = recipe(model={"name": "detr-small"}).tables()
    del tables["model"]["family"]
    assert recipe_from_tables(tables, where="old").model.family == "detr"
    started = {**tables["model"], "name": "", "weights": "a file that is gone"}
    assert recipe_from_tables({**tables, "model": started}, where="old").model.config.dim == 128


def test_a_family_that_the_name_contradicts():
    with pytest.raises(UserError, match=r"model.family = dino, but detr-r50 is a detr. models of that family: dino"):
        recipe(model={"name": "detr-r50", "family": "dino"})
    with pytest.raises(UserError, match=r"unknown key in \[model\]: 'pre_norm'"):
        recipe(model={"name": names_of("dino")[0], "pre_norm": True})
