"""The union of several layers' matchings."""

import torch

from sleuth.matching.union import matching_union
from sleuth.types.predictions import Match


def match(*rows: tuple[int, int, int]) -> Match:
    return Match(*torch.tensor(rows, dtype=torch.int64).view(-1, 3).unbind(1))


def rows(found: Match) -> set[tuple[int, ...]]:
    return {tuple(row) for row in torch.stack((found.picture, found.query, found.target), dim=1).tolist()}


def test_a_query_keeps_the_object_that_most_layers_gave_it() -> None:
    found = matching_union([match((0, 1, 0), (0, 2, 1)), match((0, 1, 1), (0, 3, 0)), match((0, 1, 1), (0, 2, 0))])
    assert rows(found) == {(0, 1, 1), (0, 2, 0), (0, 3, 0)}


def test_queries_of_other_pictures_are_others() -> None:
    assert rows(matching_union([match((0, 1, 0)), match((1, 1, 2))])) == {(0, 1, 0), (1, 1, 2)}


def test_agreeing_layers_and_no_objects() -> None:
    assert rows(matching_union([match((0, 5, 1))] * 3)) == {(0, 5, 1)}
    assert rows(matching_union([match(), match()])) == set()
