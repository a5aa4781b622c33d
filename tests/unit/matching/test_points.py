"""Points of a dense detector and the objects they answer for."""

import torch
from torch import Tensor

from sleuth.matching.points import PointMatch, centreness, point_match
from sleuth.types.predictions import Points


def points(*strides: int, side: int = 64, reach: float = 4.0) -> Points:
    centres, each, ranges = [], [], []
    for number, stride in enumerate(strides):
        at = stride * (torch.arange(side // stride) + 0.5)
        centres.append(torch.cartesian_prod(at, at).flip(-1))
        each.append(torch.full((len(centres[-1]),), float(stride)))
        low = reach / 2 * stride if number else 0.0
        high = reach * stride if number < len(strides) - 1 else torch.inf
        ranges.append(torch.tensor([[low, high]]).expand(len(centres[-1]), 2))
    places = torch.cat(centres)
    count = len(places)
    zeros = torch.zeros(1, count, 4)
    return Points(places, torch.cat(each), torch.cat(ranges), zeros, zeros[..., 0], torch.full((1, 2), float(side)))


def matched(where: Points, *boxes: tuple[float, float, float, float]) -> PointMatch:
    true = torch.tensor(boxes).view(1, -1, 4)
    return point_match(where, true, torch.ones(1, len(boxes), dtype=torch.bool))


def places(where: Points, found: PointMatch, target: int) -> list[list[float]]:
    return where.centres_px[found.match.query[found.match.target == target]].tolist()


def test_points_near_the_centre_answer() -> None:
    where = points(8)
    found = matched(where, (8.0, 8.0, 56.0, 56.0))
    # The centre is 32, and 12 is as far as points may be from it: of 20, 28, 36 and 44, those in the middle two.
    assert places(where, found, 0) == [[28.0, 28.0], [36.0, 28.0], [28.0, 36.0], [36.0, 36.0]]
    assert not found.missed.any()


def test_points_outside_of_a_box_never_answer() -> None:
    where = points(8)
    found = matched(where, (27.0, 0.0, 29.0, 64.0))
    assert places(where, found, 0) == [[28.0, 28.0], [28.0, 36.0]]


def test_the_smaller_of_two_objects_has_the_point() -> None:
    where = points(8)
    found = matched(where, (0.0, 0.0, 64.0, 64.0), (20.0, 20.0, 36.0, 36.0))
    assert places(where, found, 1) == [[28.0, 28.0]]
    assert places(where, found, 0) == [[36.0, 28.0], [28.0, 36.0], [36.0, 36.0]]


def test_levels_are_for_sizes() -> None:
    where = points(8, 16, 32)
    found = matched(where, (24.0, 24.0, 40.0, 40.0), (4.0, 4.0, 60.0, 60.0))
    stride = where.strides[found.match.query]
    assert set(stride[found.match.target == 0].tolist()) == {8.0}, "up to 32 pixels to the farthest edge"
    assert set(stride[found.match.target == 1].tolist()) == {16.0}


def test_what_no_point_lies_in_is_missed() -> None:
    where = points(16)
    found = matched(where, (17.0, 17.0, 22.0, 22.0), (20.0, 20.0, 30.0, 30.0))
    assert found.missed.tolist() == [[True, False]]
    # So is what is hidden behind a smaller object.
    assert matched(where, (18.0, 18.0, 30.0, 30.0), (20.0, 20.0, 28.0, 28.0)).missed.tolist() == [[True, False]]


def test_pictures_without_objects_and_filled_up_places() -> None:
    where = points(8)
    assert len(matched(where).match.query) == 0
    present = torch.zeros(1, 1, dtype=torch.bool)
    found = point_match(where, torch.tensor([[[0.0, 0.0, 64.0, 64.0]]]), present)
    assert len(found.match.query) == 0
    assert not found.missed.any()


def test_centreness_is_one_in_the_middle_and_falls_to_the_edges() -> None:
    edges: Tensor = torch.tensor([[3.0, 5.0, 3.0, 5.0], [1.0, 2.0, 4.0, 2.0], [1.0, 1.0, 9.0, 9.0]])
    torch.testing.assert_close(centreness(edges), torch.tensor([1.0, 0.5, 1 / 9]))
