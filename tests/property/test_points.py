"""What holds of the points of a dense detector, whatever the objects."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sleuth.matching.points import point_match
from sleuth.types.predictions import Points

SIDE, STRIDES, REACH = 96, (8, 16, 32), 4.0
box = st.tuples(st.floats(0, 90), st.floats(0, 90), st.floats(0.5, 96), st.floats(0.5, 96))


def pyramid() -> Points:
    centres, strides, ranges = [], [], []
    for number, stride in enumerate(STRIDES):
        at = stride * (torch.arange(SIDE // stride) + 0.5)
        centres.append(torch.cartesian_prod(at, at).flip(-1))
        strides.append(torch.full((len(centres[-1]),), float(stride)))
        low = REACH / 2 * stride if number else 0.0
        high = REACH * stride if number < len(STRIDES) - 1 else torch.inf
        ranges.append(torch.tensor([[low, high]]).expand(len(centres[-1]), 2))
    count = sum(map(len, centres))
    zeros = torch.zeros(1, count, 4)
    return Points(
        torch.cat(centres), torch.cat(strides), torch.cat(ranges), zeros, zeros[..., 0], torch.full((1, 2), 1.0 * SIDE)
    )


@given(st.lists(box, min_size=1, max_size=6), st.permutations(range(6)))
def test_every_object_has_points_or_is_told_of(boxes: list, order: list[int]) -> None:
    corners = torch.tensor([(x, y, min(x + w, SIDE), min(y + h, SIDE)) for x, y, w, h in boxes])[None]
    where, present = pyramid(), torch.ones(1, len(boxes), dtype=torch.bool)
    found = point_match(where, corners, present)
    held = torch.zeros(len(boxes), dtype=torch.bool)
    held[found.match.target] = True
    assert torch.equal(held, ~found.missed[0])
    # A point answers once, lies in its object, and is of the level for its size.
    assert len(found.match.query.unique()) == len(found.match.query)
    centre, own = where.centres_px[found.match.query], corners[0, found.match.target]
    edges = torch.cat((centre - own[:, :2], own[:, 2:] - centre), dim=1)
    assert bool((edges > 0).all())
    ranges = where.ranges_px[found.match.query]
    assert bool(((edges.amax(1) > ranges[:, 0]) & (edges.amax(1) < ranges[:, 1])).all())
    assert bool(((found.centreness > 0) & (found.centreness <= 1)).all())
    # An object of two cells of the finest level that is alone has a point of some level.
    for row, (left, top, right, bottom) in enumerate(corners[0].tolist()):
        if min(right - left, bottom - top) >= 2 * STRIDES[0] and max(right - left, bottom - top) < REACH * STRIDES[0]:
            alone = point_match(where, corners[:, row : row + 1], present[:, :1])
            assert not alone.missed.any()
    # The order of objects does not matter, but where two are equally large.
    areas = (corners[0, :, 2] - corners[0, :, 0]) * (corners[0, :, 3] - corners[0, :, 1])
    if len(areas.unique()) == len(areas):
        turned = torch.tensor([row for row in order if row < len(boxes)])
        again = point_match(where, corners[:, turned], present)
        owners, others = (torch.full((len(where.strides),), -1) for _ in range(2))
        owners[found.match.query] = found.match.target
        others[again.match.query] = turned[again.match.target]
        assert torch.equal(owners, others)
