"""Masks and panoptic maps from logits that are made by hand."""

import pytest
import torch

from sleuth.tasks.segmentation import MASK_CHUNK, PanopticRule, decode_panoptic, read_masks
from sleuth.types.memory import Memory
from sleuth.types.predictions import SetPrediction

NO_OBJECT = 3


def _prediction(
    labels: list[int], quarter: torch.Tensor | None, *, confidence: float = 8.0, asked: list[int] | None = None
) -> SetPrediction:
    """One picture whose query q has labels[q] and the mask logits quarter[q] at a quarter of the input's size."""
    queries = len(labels)
    logits = torch.zeros(1, 1, queries, NO_OBJECT + 1)
    logits[0, 0, torch.arange(queries), torch.tensor(labels)] = confidence
    tokens = torch.zeros(1, 1, 4)
    size = (0, 0) if quarter is None else (4 * quarter.shape[1], 4 * quarter.shape[2])

    def read(picture: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        assert quarter is not None
        if asked is not None:
            asked.extend(query.tolist())
        return quarter[query]

    return SetPrediction(
        logits=logits,
        boxes_cxcywh=torch.full((1, 1, queries, 4), 0.5),
        memory=Memory(tokens=tokens, pos=tokens, valid=None, grids_hw=((1, 1),), input_hw=size),
        masks=None if quarter is None else read,
    )


def _halves() -> torch.Tensor:
    """Two queries that want the left and the right half of an 8 x 8 grid."""
    left = torch.full((8, 8), -5.0)
    left[:, :4] = 5.0
    return torch.stack([left, -left])


def test_instance_masks_are_enlarged_and_cut() -> None:
    masks = read_masks(_prediction([0, 1], _halves()), 0, torch.tensor([1, 0]), picture_hw=(24, 32), size_hw=(48, 64))
    assert masks.shape == (2, 48, 64)
    assert masks[0, :, 32:].all()
    assert not masks[0, :, :32].any()
    assert torch.equal(masks[1], ~masks[0])


def test_only_the_wanted_masks_are_computed_a_few_at_a_time() -> None:
    asked: list[int] = []
    many = torch.randn(40, 8, 8)
    wanted = torch.arange(0, 40, 2)
    prediction = _prediction([0] * 40, many, asked=asked)
    masks = read_masks(prediction, 0, wanted, picture_hw=(32, 32), size_hw=(32, 32))
    assert asked == wanted.tolist()
    assert len(wanted) > MASK_CHUNK
    one = read_masks(prediction, 0, wanted[-1:], picture_hw=(32, 32), size_hw=(32, 32))
    assert torch.equal(masks[-1:], one)


def test_nothing_is_asked_for() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert read_masks(_prediction([0], _halves()), 0, none, picture_hw=(32, 32), size_hw=(9, 7)).shape == (0, 9, 7)


def test_a_model_without_masks_is_told() -> None:
    with pytest.raises(ValueError, match="no mask head"):
        read_masks(_prediction([0], None), 0, torch.tensor([0]), picture_hw=(4, 4), size_hw=(4, 4))


def test_every_pixel_goes_to_who_wants_it_most() -> None:
    found = decode_panoptic(
        _prediction([0, 2], _halves()), 0, picture_hw=(32, 32), size_hw=(64, 64), is_thing=(True, True, False)
    )
    assert [(each.id, each.label, each.is_thing, each.area) for each in found.segments] == [
        (1, 0, True, 64 * 32),
        (2, 2, False, 64 * 32),
    ]
    assert (found.segment_ids[:, :32] == 1).all()
    assert (found.segment_ids[:, 32:] == 2).all()


def test_queries_of_no_object_and_unsure_ones_take_no_part() -> None:
    found = decode_panoptic(
        _prediction([NO_OBJECT, 1], _halves()), 0, picture_hw=(32, 32), size_hw=(32, 32), is_thing=[True] * 3
    )
    assert [each.label for each in found.segments] == [1]
    assert (found.segment_ids == 1).all()
    unsure = _prediction([0, 1], _halves(), confidence=1.0)
    empty = decode_panoptic(unsure, 0, picture_hw=(32, 32), size_hw=(20, 30), is_thing=[True] * 3)
    assert empty.segments == ()
    assert empty.segment_ids.shape == (20, 30)
    assert not empty.segment_ids.any()


@pytest.mark.parametrize(("label", "segments"), [(0, 2), (2, 1)])
def test_stuff_of_one_class_is_one_segment_and_things_are_not(label: int, segments: int) -> None:
    found = decode_panoptic(
        _prediction([label, label], _halves()), 0, picture_hw=(32, 32), size_hw=(32, 32), is_thing=(True, True, False)
    )
    assert len(found.segments) == segments
    assert sum(each.area for each in found.segments) == 32 * 32


def test_a_speck_steps_back() -> None:
    quarter = torch.cat([_halves(), torch.full((1, 8, 8), -9.0)])
    found = decode_panoptic(
        _prediction([0, 1, 1], quarter), 0, picture_hw=(32, 32), size_hw=(32, 32), is_thing=[True] * 3
    )
    assert [each.id for each in found.segments] == [1, 2]
    assert found.segment_ids.unique().tolist() == [1, 2]


def test_a_pixel_that_nobody_wants_is_void_where_the_rule_says_so() -> None:
    left = torch.full((1, 8, 8), -5.0)
    left[0, :, :4] = 5.0
    where = {"picture_hw": (32, 32), "size_hw": (32, 32), "is_thing": [True] * 3}
    everything = decode_panoptic(_prediction([0], left), 0, **where)
    assert (everything.segment_ids == 1).all()
    half = decode_panoptic(_prediction([0], left), 0, **where, rule=PanopticRule(least_mask=0.5))
    assert [each.area for each in half.segments] == [32 * 16]
    assert not half.segment_ids[:, 16:].any()


def test_a_rule_s_threshold_says_who_takes_part() -> None:
    unsure = _prediction([0, 1], _halves(), confidence=1.0)
    where = {"picture_hw": (32, 32), "size_hw": (32, 32), "is_thing": [True] * 3}
    assert len(decode_panoptic(unsure, 0, **where, rule=PanopticRule(threshold=0.2)).segments) == 2
    with pytest.raises(ValueError, match="from 0 to 1"):
        PanopticRule(threshold=1.5)
