"""Which memory tokens stand on which object."""

import torch

from sleuth.matching.costs import pad_targets
from sleuth.matching.dense import DenseMatch, dense_match, token_centres
from sleuth.types.batches import Target
from sleuth.types.memory import Memory


def memory(height: int, width: int, batch: int = 1) -> Memory:
    tokens = torch.zeros(batch, height * width, 4)
    return Memory(tokens=tokens, pos=tokens, valid=None, grids_hw=((height, width),))


def deal(grid: Memory, *pictures: list[list[float]], core: float = 0.5) -> DenseMatch:
    targets = [
        Target(labels=torch.zeros(len(boxes), dtype=torch.int64), boxes_cxcywh=torch.tensor(boxes).reshape(-1, 4))
        for boxes in pictures
    ]
    return dense_match(grid, pad_targets(targets, torch.device("cpu")), core=core)


def owners(dense: DenseMatch) -> dict[int, int]:
    """Owner of each owned token of the first picture."""
    rows = zip(dense.match.picture.tolist(), dense.match.query.tolist(), dense.match.target.tolist(), strict=True)
    return {token: place for picture, token, place in rows if picture == 0}


def test_centres_are_in_reading_order() -> None:
    assert token_centres(memory(2, 2))[0].tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_an_object_has_the_tokens_in_its_core() -> None:
    dense = deal(memory(4, 4), [[0.5, 0.5, 1.0, 1.0]])  # its core is the middle half
    assert owners(dense) == {5: 0, 6: 0, 9: 0, 10: 0}
    assert dense.weight.tolist() == [0.25] * 4
    assert len(owners(deal(memory(4, 4), [[0.5, 0.5, 1.0, 1.0]], core=1.0))) == 16


def test_an_object_between_the_tokens_has_the_nearest() -> None:
    assert owners(deal(memory(4, 4), [[0.3, 0.9, 0.01, 0.01]])) == {13: 0}


def test_the_smaller_object_has_the_token_where_cores_overlap() -> None:
    found = owners(deal(memory(4, 4), [[0.5, 0.5, 1.0, 1.0], [0.375, 0.375, 0.3, 0.3]]))
    assert found == {5: 1, 6: 0, 9: 0, 10: 0}


def test_objects_with_the_same_nearest_token_get_one_each() -> None:
    found = owners(deal(memory(2, 2), [[0.25, 0.3, 0.02, 0.02], [0.25, 0.25, 0.01, 0.01]]))
    assert found == {0: 1, 2: 0}


def test_with_more_objects_than_tokens_the_largest_goes_without() -> None:
    found = owners(deal(memory(1, 2), [[0.5, 0.5, 0.9, 0.9], [0.4, 0.5, 0.1, 0.1], [0.6, 0.5, 0.2, 0.2]]))
    assert found == {0: 1, 1: 2}


def test_pictures_without_objects_give_nothing_away() -> None:
    assert len(deal(memory(2, 2, batch=2), [], []).weight) == 0
    dense = deal(memory(2, 2, batch=2), [], [[0.25, 0.25, 0.1, 0.1]])
    assert dense.match.picture.tolist() == [1]
