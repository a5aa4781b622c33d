"""Pictures in, masks and panoptic maps out: only what was asked for, the same whatever else is in the run."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from sleuth.errors import UserError
from sleuth.geometry.rle import PackedMasks
from sleuth.runtime.detections import Detections
from sleuth.runtime.predictor import Predictor
from sleuth.runtime.segments import find_masks, keep_masks
from sleuth.tasks.detection import decode_detections, preprocess_images
from sleuth.tasks.segmentation import PanopticRule, decode_panoptic, read_masks
from sleuth.types.memory import Memory
from sleuth.types.predictions import SetPrediction
from sleuth.weights.checkpoint import LoadedModel

RNG = np.random.default_rng(6)
SIZES = ((40, 60), (60, 40), (40, 60), (33, 90), (70, 90))
PICTURES = [
    np.kron(RNG.integers(0, 256, (9, 9, 3)), np.ones((10, 10, 1))).astype(np.uint8)[:height, :width]
    for height, width in SIZES
]


@pytest.fixture(scope="module")
def alone(loaded_panoptic: LoadedModel) -> list[Detections]:
    detector = Predictor(loaded_panoptic)
    return [detector.predict(picture, 0.0, panoptic_threshold=0.3)[0] for picture in PICTURES]


def test_answers_are_those_of_the_task(panoptic_detector: Predictor, alone: list[Detections]):
    for picture, found in zip(PICTURES, alone, strict=True):
        size_hw = picture.shape[:2]
        images = preprocess_images([torch.from_numpy(picture).movedim(-1, 0)], panoptic_detector.preprocess)
        with torch.no_grad():
            prediction = panoptic_detector.model(images)
        (raw,) = decode_detections(prediction, [size_hw])
        sizes = {"picture_hw": tuple(images.pixels.shape[-2:]), "size_hw": size_hw}
        assert torch.equal(found.masks, read_masks(prediction, 0, raw.queries, **sizes))
        parted = decode_panoptic(
            prediction, 0, is_thing=panoptic_detector.is_thing, rule=PanopticRule(threshold=0.3), **sizes
        )
        # The masks are those that were read before, in another order: a pixel on an edge may change.
        assert (found.panoptic != parted.segment_ids).float().mean() < 0.001
        kept = [each for each in parted.segments if each.area]
        assert [(each.id, each.label) for each in found.segments] == [(each.id, each.label) for each in kept]
        assert [each.area for each in found.segments] == [
            int((found.panoptic == each.id).sum()) for each in found.segments
        ]
        assert all(each.name == panoptic_detector.names[each.label] for each in found.segments)
        assert all(each.category_id == panoptic_detector.category_ids[each.label] for each in found.segments)
    assert any(len(found.segments) > 1 for found in alone)
    assert len({found.masks.sum().item() for found in alone}) > 1


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_what_else_is_in_the_run_changes_nothing(
    panoptic_detector: Predictor, alone: list[Detections], batch_size: int
):
    together = panoptic_detector.predict(PICTURES, 0.0, batch_size=batch_size, panoptic_threshold=0.3)
    for one, other in zip(alone, together, strict=True):
        if batch_size == 1:
            assert one.packed_masks == other.packed_masks
            assert one.packed_panoptic == other.packed_panoptic
        # In a batch sums are rounded otherwise: a pixel on the very edge of a mask may change.
        assert (one.masks != other.masks).float().mean() < 0.001
        assert (one.panoptic != other.panoptic).float().mean() < 0.001


def test_masks_are_read_for_what_scores_enough_and_for_nothing_else(panoptic_detector: Predictor, monkeypatch):
    asked = []
    head = panoptic_detector.model.mask_head
    read = type(head).read

    def watched(states, memory, picture, query):
        asked.extend(query.tolist())
        return read(head, states, memory, picture, query)

    monkeypatch.setattr(head, "read", watched)
    (found,) = panoptic_detector.predict(PICTURES[0], 0.55, panoptic=False)
    assert 0 < len(found) < 8
    assert len(asked) == len(found) == len(found.masks)
    asked.clear()
    (found,) = panoptic_detector.predict(PICTURES[0], 0.6, masks=False, panoptic=False)
    assert asked == []
    assert found.masks is None
    assert found.panoptic is None
    assert found.segments is None
    (found,) = panoptic_detector.predict(PICTURES[0], 0.0, panoptic_threshold=0.0)
    assert sorted(asked) == list(range(8)), "the panoptic map reads no mask again"
    (found,) = panoptic_detector.predict(PICTURES[0], 1.0)
    assert found.masks.shape == (0, 40, 60)


def test_models_answer_with_what_they_have(detector: Predictor, panoptic_detector: Predictor, loaded_panoptic):
    assert (detector.has_masks, detector.has_stuff) == (False, False)
    assert (panoptic_detector.has_masks, panoptic_detector.has_stuff) == (True, True)
    assert panoptic_detector.is_thing == (True, True, False, False)
    (boxes,), (everything,) = detector.predict(PICTURES[0]), panoptic_detector.predict(PICTURES[0])
    assert boxes.masks is None
    assert boxes.panoptic is None
    assert everything.masks is not None
    assert everything.panoptic is not None
    things = LoadedModel(loaded_panoptic.model, replace(loaded_panoptic.card, is_thing=(True,) * 4))
    (instances,) = Predictor(things).predict(PICTURES[0])
    assert instances.masks is not None
    assert instances.panoptic is None
    (parted,) = Predictor(things).predict(PICTURES[0], panoptic=True, panoptic_threshold=0.3)
    assert all(each.is_thing for each in parted.segments)


def test_masks_of_a_model_without_them(detector: Predictor, panoptic_detector: Predictor):
    for words in ({"masks": True}, {"panoptic": True}):
        with pytest.raises(UserError, match="no mask head"):
            detector.predict(PICTURES[0], **words)
    with pytest.raises(UserError, match="panoptic_threshold"):
        panoptic_detector.predict(PICTURES[0], panoptic_threshold=1.5)


def test_masks_that_are_not_finite_are_left_out(panoptic_detector: Predictor, alone, monkeypatch):
    head = panoptic_detector.model.mask_head
    read = type(head).read

    def broken(states, memory, picture, query):
        logits = read(head, states, memory, picture, query).clone()
        logits[query == 2, 0, 0] = torch.nan
        logits[query == 5] = torch.inf
        return logits

    monkeypatch.setattr(head, "read", broken)
    (found,) = panoptic_detector.predict(PICTURES[0], 0.0, panoptic_threshold=0.0)
    assert len(found) == len(found.masks) == 6
    kept = {round(score, 5) for score in found.scores.tolist()}
    assert kept < {round(score, 5) for score in alone[0].scores.tolist()}
    assert found.segments
    assert {round(each.score, 5) for each in found.segments} <= kept
    monkeypatch.setattr(head, "read", lambda *args: torch.full_like(read(head, *args), torch.nan))
    (found,) = panoptic_detector.predict(PICTURES[0], 0.0, panoptic_threshold=0.0)
    assert len(found) == 0
    assert found.segments == ()
    assert not found.panoptic.any()


def test_a_line_of_pixels_is_a_picture_too(panoptic_detector: Predictor):
    for size_hw in ((1, 1), (1, 300), (300, 1)):
        (found,) = panoptic_detector.predict(np.zeros((*size_hw, 3), np.uint8), 0.0, panoptic_threshold=0.0)
        assert found.masks.shape == (8, *size_hw)
        assert {each.id for each in found.segments} == set(found.panoptic.unique().tolist()) - {0}
        found.plot(enlarge=4)


def test_half_precision(loaded_panoptic: LoadedModel):
    from copy import deepcopy

    half = Predictor(LoadedModel(deepcopy(loaded_panoptic.model).to(torch.bfloat16), loaded_panoptic.card))
    (found,) = half.predict(PICTURES[0], 0.0, panoptic_threshold=0.0)
    assert len(found.masks) == 8
    assert found.segments


def test_many_masks_of_a_large_picture_are_never_there_together():
    """A hundred masks at 540 x 960 take 52 MB; packed as they come, a few of them at a time."""
    wide = torch.linspace(-1, 1, 48)[None] + torch.linspace(-1, 1, 32)[:, None]
    memory = Memory(
        tokens=torch.zeros(1, 1, 4), pos=torch.zeros(1, 1, 4), valid=None, grids_hw=((1, 1),), input_hw=(128, 192)
    )
    prediction = SetPrediction(
        logits=torch.zeros(1, 1, 100, 2),
        boxes_cxcywh=torch.zeros(1, 1, 100, 4),
        memory=memory,
        masks=lambda picture, query: wide - query[:, None, None] / 100,
    )
    tracemalloc.start()  # of NumPy's memory; PyTorch's is not traced
    packed, finite = find_masks(keep_masks(prediction), 0, torch.arange(100), size_hw=(540, 960))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(packed, PackedMasks)
    assert finite.tolist() == list(range(100))
    assert peak < 8e6
    assert sum(map(len, packed.counts)) < 1e6
    assert list(packed.areas) == sorted(packed.areas, reverse=True)
    assert packed.areas[0] > packed.areas[-1] > 0
