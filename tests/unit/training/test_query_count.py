"""Whether there are queries enough for what augmentation makes of pictures."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from sleuth.models.fcos import FcosConfig
from sleuth.training.query_count import crowding_notes, queries_for
from sleuth.training.sources import check_source, training_source


@pytest.fixture
def crowd(tmp_path, monkeypatch):
    """A data set of two pictures with twelve objects each, as overrides of a recipe; few are drawn."""
    monkeypatch.setattr("sleuth.training.query_count.DRAWN", 12)
    images = [{"id": id, "file_name": f"{id}.png", "height": 60, "width": 80} for id in (1, 2)]
    boxes = [[18 * (n % 4) + 2, 18 * (n // 4) + 2, 12, 12] for n in range(12)]
    annotations = [
        {"id": 12 * image + n, "image_id": image, "category_id": 1, "bbox": box, "iscrowd": 0}
        for image in (1, 2)
        for n, box in enumerate(boxes)
    ]
    page = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
    (tmp_path / "x.json").write_text(json.dumps(page))
    for image in images:
        Image.new("RGB", (80, 60)).save(tmp_path / image["file_name"])
    return f"data.path={tmp_path}", "data.train=", "augmentation.scales=[]", "augmentation.fit=[60, 80]"


def test_a_mosaic_that_is_fuller_than_any_picture_is_told(tiny, crowd):
    recipe = tiny(*crowd, "augmentation.mosaic=1.0", "model.num_queries=14")
    source = training_source(recipe)
    assert not any("num_queries" in note for note in check_source(recipe, source)[1])
    (note,) = crowding_notes(recipe, source)
    assert note.startswith("warning: with mosaic, ")
    assert "of the training pictures have more objects than the model has queries (14)" in note
    # What it asks for is enough.
    asked = note.split("raise model.num_queries to ")[1].split(",")[0]
    assert crowding_notes(tiny(*crowd, "augmentation.mosaic=1.0", f"model.num_queries={asked}"), source) == []


def test_nothing_is_told_of_pictures_that_stay_as_they_are(tiny, crowd):
    recipe = tiny(*crowd, "model.num_queries=12")
    assert crowding_notes(recipe, training_source(recipe)) == []


def test_a_dense_detector_learns_from_all(tiny, crowd):
    recipe = tiny(*crowd, "augmentation.mosaic=1.0", "model.num_queries=2")
    assert crowding_notes(recipe, training_source(recipe))
    dense = replace(recipe, model=replace(recipe.model, family="fcos", config=FcosConfig(num_queries=2)))
    assert crowding_notes(dense, training_source(recipe)) == []


def test_scenes_that_have_too_many_objects(tiny):
    recipe = tiny("scenes.max_objects=9", "model.num_queries=8")
    _, (note,) = check_source(recipe, training_source(recipe))
    assert note == "warning: a scene has 9 objects, the model finds 8 at most: raise model.num_queries"


def test_mosaics_raise_the_number_of_queries_up_to_twice():
    assert queries_for(28, in_training=50) == queries_for(28) == 50
    assert queries_for(28, in_training=51) == 60
    assert queries_for(100, in_training=270) == 270
    assert queries_for(100, in_training=10_000) == 300
