"""The bundled panoptic model does what its card says, on scenes that it has never seen."""

import numpy as np

import sleuth
from sleuth.data.scenes import SceneSource
from sleuth.evaluation.detection import evaluate_model
from sleuth.weights.catalog import CATALOG
from sleuth.weights.checkpoint import load_model

NAME = "detr-scenes-panoptic"


def test_quality_on_some_held_out_scenes():
    path = CATALOG[NAME].weights
    assert path is not None
    loaded = load_model(path)
    source = SceneSource("test", 40, annotations="panoptic")
    assert loaded.card.names == source.names
    assert loaded.card.is_thing == source.is_thing
    found = evaluate_model(
        loaded.model, source, loaded.preprocess, batch_size=10, panoptic_rule=loaded.panoptic_rule
    ).numbers
    claimed = loaded.card.notes["scores"]["200 held-out scenes (test)"]
    # Forty scenes are fewer than the two hundred of the card: their figure spreads by some hundredths.
    for name in ("PQ", "mask AP50", "AP50"):
        assert abs(found[name] - claimed[name]) < 0.1, name


def test_maps_and_masks_of_a_picture():
    source = SceneSource("test", 1, annotations="panoptic")
    found = sleuth.load(NAME, device="cpu").predict(source.render(0).image)[0]
    assert found.masks is not None
    assert found.panoptic is not None
    assert found.masks.shape == (len(found), 128, 128)
    assert {each.id for each in found.segments} | {0} >= set(np.unique(found.panoptic))
    assert any(each.is_thing for each in found.segments)
    assert not all(each.is_thing for each in found.segments)
